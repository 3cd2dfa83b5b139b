"""Commands of a project that run once ever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any


def once_commands(commands: Iterable[list[Any]], application: str, database: str) -> list[dict[str, Any]]:
    """Commands that run once ever for a database, each with the file that remembers it.

    Args:
        commands: `django_app_once_commands`.
        application: `django_app_name`.
        database: `django_app_database`.

    Returns:
        A dict with `command`, its words, and `marker`, a path; by a hash, as names of files are for everybody.
    """
    return [
        {
            "command": words,
            "marker": f"/srv/{application}/once/{hashlib.sha256(json.dumps([database, *words]).encode()).hexdigest()}",
        }
        for words in (list(map(str, command)) for command in commands)
    ]
