"""Addresses without their logins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit


def without_credentials(text: str, addresses: Iterable[str]) -> str:
    """A text that shows no login of these addresses, nor of any other."""
    for address in filter(None, addresses):
        parts = urlsplit(address)
        for secret in filter(None, (parts.password, parts.username)):
            for spelling in (secret, unquote(secret)):
                text = text.replace(spelling, "***")
    return re.sub(r"(?<=://)[^/\s@]+(?=@)", "***", text)
