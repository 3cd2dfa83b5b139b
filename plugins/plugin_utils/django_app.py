"""Filter of the role django_app."""

from __future__ import annotations

import posixpath
from typing import Any


def process_definition(definition: dict[str, Any], base: dict[str, Any], programs: str) -> dict[str, Any]:
    """A process definition completed by what all processes of the application share.

    The command's program is looked up in the folder `programs` unless it is an absolute path.
    """
    program, *arguments = definition["command"]
    return {**base, **definition, "command": [posixpath.join(programs, program), *arguments]}
