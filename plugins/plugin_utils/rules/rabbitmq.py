"""Rules of the role rabbitmq."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils import rabbitmq

SECRETS = ("rabbitmq_admin_password", "rabbitmq_celery_password", "rabbitmq_monitoring_password")
# RabbitMQ's own names.
RESERVED = ("guest", "rabbitmq", "restart")
LARGEST_PORT = 65535


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of the role rabbitmq; a sentence each, without a secret in it."""
    return [*_names(given), *_numbers(given), *_settings(given), *_tls(given)]


def _names(given: Mapping[str, Any]) -> list[str]:
    name = given["rabbitmq_application"]
    found = [f"{secret} is empty: give it a long random value." for secret in SECRETS if not given[secret]]
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or name in RESERVED:
        found.append(
            f"rabbitmq_application is {name!r}: it names a virtual host and files; take lower-case letters, digits and any of _ -, a letter first, "
            f"and none of {', '.join(RESERVED)}."
        )
    if "127.0.0.1" not in given["rabbitmq_bind_addresses"]:
        found.append(
            "rabbitmq_bind_addresses lacks 127.0.0.1: this host's own processes and its administrator come by it; add it."
        )
    return found


def _numbers(given: Mapping[str, Any]) -> list[str]:
    found = [
        f"{name}: bytes, or a number with kB, MB, GB, MiB or GiB, not {given[name]!r}."
        for name in ("rabbitmq_memory", "rabbitmq_disk_free")
        if given[name] and not rabbitmq.AMOUNT.fullmatch(given[name])
    ]
    if not given["rabbitmq_disk_free"]:
        found.append("rabbitmq_disk_free is empty: say how much of its disk has to be free, such as 1GB.")
    if not 1 <= given["rabbitmq_memory_percent"] <= 80:
        found.append(f"rabbitmq_memory_percent is {given['rabbitmq_memory_percent']}: it has to be between 1 and 80.")
    ports: dict[int, str] = {}
    for name in ("rabbitmq_port", "rabbitmq_management_port", "rabbitmq_tls_port"):
        port = given[name]
        if not 1 <= port <= LARGEST_PORT:
            found.append(f"{name} is {port}: it has to be between 1 and {LARGEST_PORT}.")
        elif (other := ports.setdefault(port, name)) != name:
            found.append(f"{name} is {port}, which is {other}: give it another one.")
    if given["rabbitmq_consumer_timeout"] < 60:
        found.append(
            f"rabbitmq_consumer_timeout is {given['rabbitmq_consumer_timeout']}: it has to be at least 60 seconds, and longer than any task."
        )
    if given["rabbitmq_delivery_limit"] < 1:
        found.append(f"rabbitmq_delivery_limit is {given['rabbitmq_delivery_limit']}: it has to be above 0.")
    return found


def _tls(given: Mapping[str, Any]) -> list[str]:
    """A certificate that cannot be, or nowhere to answer."""
    found = []
    if not given["rabbitmq_certificate"].startswith("/"):
        found.append(
            f"rabbitmq_certificate is {given['rabbitmq_certificate']!r}: name a file on the server by its whole path."
        )
    if not (given["rabbitmq_tls"] or given["rabbitmq_clear_text"]):
        found.append("rabbitmq_clear_text is false and rabbitmq_tls too: set rabbitmq_tls: true.")
    return found


def _settings(given: Mapping[str, Any]) -> list[str]:
    found = [
        f"rabbitmq_settings: {name} belongs to the role; take the variable for it, if there is one."
        for name in given["rabbitmq_settings"]
        if rabbitmq.OWN_SETTINGS.fullmatch(name)
    ]
    return found + [
        f"rabbitmq_settings: {name} has several lines: give one for a setting."
        for name, value in given["rabbitmq_settings"].items()
        if "\n" in f"{name}{value}"
    ]
