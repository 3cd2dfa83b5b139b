"""Rules of the role rabbitmq."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils import addresses, rabbitmq

SECRETS = ("rabbitmq_admin_password", "rabbitmq_celery_password", "rabbitmq_monitoring_password")
# RabbitMQ's own names.
RESERVED = ("guest", "members", "rabbitmq", "restart")
LARGEST_PORT = 65535
MEMBERS = 3


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of the role rabbitmq; a sentence each, without a secret in it."""
    return [*_names(given), *_numbers(given), *_settings(given), *_tls(given), *_members(given)]


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


def _members(given: Mapping[str, Any]) -> list[str]:
    """Several servers that are one."""
    members, own = given["rabbitmq_members"], given["rabbitmq_member"]
    if not members:
        return []
    names, found = [member["name"] for member in members], []
    if len({name.replace(".", "-") for name in names}) != MEMBERS or len(members) != MEMBERS:
        found.append(
            f"rabbitmq_members names {', '.join(names)}: {MEMBERS} servers are one RabbitMQ, each with a name of its own."
        )
    if own not in names:
        found.append(f"rabbitmq_member is {own!r}, which is none of rabbitmq_members: name this server.")
    for member in members:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", member["name"]):
            found.append(f"rabbitmq_members: the name {member['name']!r}: take letters, digits and any of . _ -")
        if not addresses.is_ipv4(member["address"]):
            found.append(
                f"rabbitmq_members: {member['name']} has the address {member['address']!r}: give its IPv4 address."
            )
        elif member["name"] == own and member["address"] not in given["rabbitmq_bind_addresses"]:
            found.append(
                f"rabbitmq_bind_addresses lacks {member['address']}, at which the others know this server: add it."
            )
    if not re.fullmatch(r"[!-~]{16,255}", given["rabbitmq_cookie"]):
        found.append("rabbitmq_cookie: give members at least 16 characters to know each other by, without spaces.")
    if given["rabbitmq_tls"] and not given["rabbitmq_authority"].startswith("/"):
        found.append("rabbitmq_authority is no whole path: name the file of the authority that members trust.")
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
