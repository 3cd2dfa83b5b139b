#!/usr/bin/python3
"""Remove old releases, never the current one nor one that a process still runs from."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: release_prune
short_description: Remove old releases that nothing runs from
description:
  - Keeps the current release, those a process runs from, and of the complete others the newest.
  - What an interrupted build left, a folder without C(.complete), goes.
options:
  path:
    description: Folder of the releases.
    type: path
    required: true
  keep:
    description: How many releases stay, the current one included.
    type: int
    required: true
  current:
    description: Name of the current release.
    type: str
    required: true
"""

RETURN = r"""
removed:
  description: Names of the releases that were removed.
  type: list
  elements: str
  returned: success
"""


def releases_in_use(path: Path, proc: Path = Path("/proc")) -> set[str]:
    """The names of the releases that a process was started from or stands in."""
    prefix = re.compile(re.escape(f"{path}/").encode() + rb"([^/\0]+)")
    names = set()
    for process in proc.glob("[0-9]*"):
        try:
            seen = (process / "cmdline").read_bytes() + b"\0" + os.fsencode(os.readlink(process / "cwd"))
        except OSError:  # it has ended
            continue
        names.update(os.fsdecode(name) for name in prefix.findall(seen))
    return names


def removable_releases(path: Path, *, keep: int, current: str) -> list[Path]:
    """The release folders to remove, oldest first."""
    if not path.is_dir():
        return []
    needed = releases_in_use(path) | {current}
    others = [release for release in path.iterdir() if release.name not in needed]
    built = {release: (release / ".complete").stat().st_mtime for release in others if (release / ".complete").exists()}
    newest = sorted(built, key=built.__getitem__, reverse=True)[: max(keep - 1, 0)]
    return sorted((release for release in others if release not in newest), key=lambda release: built.get(release, 0))


def main() -> None:
    """The Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "keep": {"type": "int", "required": True},
            "current": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    releases = removable_releases(
        Path(module.params["path"]), keep=module.params["keep"], current=module.params["current"]
    )
    for release in releases:
        if not module.check_mode:
            shutil.rmtree(release)
    module.exit_json(changed=bool(releases), removed=[release.name for release in releases])


if __name__ == "__main__":
    main()
