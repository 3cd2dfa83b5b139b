"""The project's TOML and JSON files."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from .archive import Entry
from .source import ProjectError


def table(files: Mapping[str, Entry], name: str) -> dict[str, Any]:
    """A file's content; empty without the file.

    Raises:
        ProjectError: it is no TOML, or no JSON.
    """
    if name not in files:
        return {}
    text = files[name].data.decode(errors="replace")
    try:
        return json.loads(text) if name.endswith("Pipfile.lock") else tomllib.loads(text)
    except ValueError as error:
        raise ProjectError(f"django_app_requirements: {name} cannot be read: {error}. Mend it.") from error


def text_at(content: Mapping[str, Any], *keys: str) -> str:
    """The text below these keys; empty without one."""
    found: Any = content
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""
