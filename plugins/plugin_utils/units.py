"""Names of systemd units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def unit_name(definition: Mapping[str, Any], application: str, kind: str = "service") -> str:
    """The unit of a process definition; `kind` is service or socket."""
    return f"{application}-{definition['name']}.{kind}"
