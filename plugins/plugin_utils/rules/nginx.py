"""Rules of the role nginx."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.nginx import nginx_certificate_problems


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the certificate."""
    certificate, key = given["nginx_certificate"], given["nginx_certificate_key"]
    return nginx_certificate_problems(_pem(certificate), _pem(key), certificate, key, given["nginx_server_names"])


def _pem(value: str) -> str:
    if "-----BEGIN" in value:
        return value
    return Path(value).read_text() if value and Path(value).is_file() else ""
