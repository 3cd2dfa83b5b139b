"""Rules of the role flower."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import environment_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.patterns import limit_problems


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the login, the broker's address or the numbers; a sentence each, without a secret in it."""
    found = []
    if not re.fullmatch(r"[^,\r\n]{8,}", given["flower_basic_auth_password"]):
        found.append("flower_basic_auth_password: give it at least 8 characters, without commas and line breaks.")
    if not re.fullmatch(r"[A-Za-z0-9._@-]+", given["flower_basic_auth_user"]):
        found.append(
            f"flower_basic_auth_user is {given['flower_basic_auth_user']!r}: use letters, digits and any of . _ @ -"
        )
    if not re.fullmatch(r"[a-z][a-z0-9+]*://\S+", given["flower_broker_url"]):
        found.append("flower_broker_url is no URL: write it as redis://user:password@address:port/number.")
    if not 1024 <= given["flower_port"] <= 65535:
        found.append(f"flower_port is {given['flower_port']}: it has to be between 1024 and 65535.")
    if not re.fullmatch(r"/?([A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*/?)?", given["flower_url_prefix"]):
        found.append(
            f"flower_url_prefix is {given['flower_url_prefix']!r}: use letters, digits, dashes and underscores, with slashes between."
        )
    found += limit_problems(given, "flower_")
    found += environment_problems(given["flower_environment"], "flower_environment")
    if given["flower_max_tasks"] < 1:
        found.append(f"flower_max_tasks is {given['flower_max_tasks']}: it has to be above 0.")
    return found
