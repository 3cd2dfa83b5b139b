"""Rules of the role certificates."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of the role certificates; a sentence each, without a secret in it."""
    days, renewed, found = given["certificates_days"], given["certificates_renewed_days"], []
    if not 1 <= renewed < days <= 398:
        found.append(
            f"certificates_days is {days} and certificates_renewed_days {renewed}: the first is at most 398, and more than the second, which is at "
            "least 1."
        )
    addresses = [name for name in given["certificates_names"] if _is_address(name)]
    if not addresses or len(addresses) == len(given["certificates_names"]):
        found.append(
            f"certificates_names is {given['certificates_names']}: name at least one host name and one IP address; of a kind that is missing, "
            "the server could make any."
        )
    if not given["certificates_folder"].startswith("/"):
        found.append(f"certificates_folder is {given['certificates_folder']!r}: name a folder by its whole path.")
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
