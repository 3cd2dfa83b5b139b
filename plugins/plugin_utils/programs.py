"""Process definitions as programs of supervisor's: rendered on the control node, as units are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRAM_FOLDER = "/etc/supervisor/conf.d"
LIBRARY = "/usr/local/lib/stockpot"
# Event listener that ends programs as their definitions say.
LISTENER = "stockpot-stop"
# The phase before all others.
FIRST = "supervisor"
# In which order supervisor starts the phases at boot.
PRIORITIES = {"workers": 100, "scheduler": 200, "web": 300}
# Above what the programs need to stop; seconds.
STOP_MARGIN = 30


def program_name(definition: Mapping[str, Any], application: str) -> str:
    """The program of a process definition."""
    return f"{application}-{definition['name']}"


def scope_name(definition: Mapping[str, Any], application: str) -> str:
    """The unit of systemd's in which a program's processes are."""
    return f"{program_name(definition, application)}.scope"


def is_program(definition: Mapping[str, Any], backend: str) -> bool:
    """Whether supervisor runs a process: a socket that systemd holds loses no connection while its process restarts."""
    return backend == "supervisor" and not definition.get("socket")


def plain(text: Any) -> str:
    """A text as the value of one of supervisor's settings: nothing in it is expanded or taken for a comment.

    Args:
        text: any text on one line that does not begin or end with a blank.
    """
    return str(text).replace("%", "%%")


def setting(text: Any) -> str:
    """A text as one literal word of a command in supervisor's configuration.

    Args:
        text: any text on one line.
    """
    # After a blank they begin a comment, in quotes too; with a quote before them they do not.
    word = re.sub(r"(?<=\s)[;#]", r"""'"\g<0>"'""", shlex.quote(str(text)))
    # %(here)s is replaced before %% is looked at.
    return plain(word).replace("%%(", "%%''(")


def supervisor_services(
    application: str, role: Path, seconds: int, drop_in: str, tmpfiles: str
) -> list[dict[str, Any]]:
    """What runs before an application's programs: supervisor itself, with the programs' folders, and the event listener.

    Args:
        application: the application.
        role: the role's folder.
        seconds: how long the longest stop of a program takes.
        drop_in: the text of the drop-in for supervisor's unit.
        tmpfiles: the text of the file that makes the folders.
    """

    def program(name: str) -> dict[str, Any]:
        text = (role / "files" / name).read_text(encoding="utf-8")
        return {"path": f"{LIBRARY}/{name}", "content": text, "mode": "0755"}

    return [
        {
            "name": "supervisor.service",
            "phase": FIRST,
            "stop_seconds": seconds,
            "files": [
                {
                    # Zeros in front: the longest time comes last by name, too.
                    "path": f"/etc/systemd/system/supervisor.service.d/stop-{seconds:06}-{application}.conf",
                    "content": drop_in,
                    "loaded_by": "nothing",
                },
                {
                    "path": f"/etc/tmpfiles.d/{application}-processes.conf",
                    "content": tmpfiles,
                    "validate": "systemd-tmpfiles --create %s",
                    "loaded_by": "nothing",
                },
                *({**program(name), "loaded_by": "nothing"} for name in ("run-process", "stop-process")),
            ],
        },
        {
            "name": LISTENER,
            "manager": "supervisor",
            "phase": FIRST,
            "stop_seconds": 10,
            "files": [
                {
                    "path": f"{PROGRAM_FOLDER}/{LISTENER}.conf",
                    "content": (role / "files" / f"{LISTENER}.conf").read_text(encoding="utf-8"),
                },
                program("supervisor-stop"),
            ],
        },
    ]
