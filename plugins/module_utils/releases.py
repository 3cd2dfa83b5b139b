"""A release's own Python, run as the project's user with the project's variables."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

# Importing a project may take its time; seconds.
TIMEOUT = 120
# Where the program is and how it is run; its values are in no output.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "app": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "release_path": {"type": "path", "required": True},
    "environment_files": {"type": "list", "elements": "path", "required": True},
    "script": {"type": "str", "required": True},
}


class ScriptError(Exception):
    """A script failed; the message is what it said."""


def run_script(given: Mapping[str, Any], argument: Mapping[str, Any], environment_files: Sequence[str] = ()) -> Any:
    """What a script prints, as JSON, that the project's Python runs in its folder.

    Args:
        given: as in ARGUMENTS.
        argument: the script's one argument.
        environment_files: files with further variables; a later one wins.

    Raises:
        ScriptError: it failed.
        subprocess.TimeoutExpired: it took too long.
    """
    release = given["release_path"]
    done = subprocess.run(
        [
            *(
                "systemd-run",
                "--quiet",
                "--pipe",
                "--wait",
                "--collect",
                "--service-type=exec",
                f"--uid={given['user']}",
            ),
            *(f"--property=EnvironmentFile={path}" for path in (*given["environment_files"], *environment_files)),
            f"--property=WorkingDirectory={release}/source",
            # It ends, too, when nobody waits for it any more.
            f"--property=RuntimeMaxSec={TIMEOUT}",
            # A dollar would be a variable of systemd's.
            *(f"{release}/venv/bin/python", "-", json.dumps(argument).replace("$", "$$")),
        ],
        input=given["script"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise ScriptError(done.stdout.strip() or done.stderr.strip())
    return json.loads(done.stdout)
