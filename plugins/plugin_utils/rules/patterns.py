"""What the rules of several roles take alike."""

from __future__ import annotations

import ipaddress
import re

# The major versions that are supported.
DEBIANS = ("12", "13")
APPLICATION = re.compile(r"[a-z][a-z0-9-]{0,24}")


def application_problems(variable: str, name: str) -> list[str]:
    """What is wrong with an application's name; the sentence begins with the variable."""
    if APPLICATION.fullmatch(name):
        return []
    return [
        f"{variable} is {name!r}: it names a system user and units; take at most 25 lower-case letters, digits and dashes, "
        "a letter first."
    ]


def is_network(text: str) -> bool:
    """Whether a text is an IP address or a network."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
