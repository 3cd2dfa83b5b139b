#!/usr/bin/python3
"""Make a release the current one and remove old ones, never one that a process still runs from."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: release_current
short_description: Switch an application to a release and remove old ones
description:
  - Points links beside the folder of the releases to a release, each in one step.
  - With C(current) among them, keeps the current release, those a process runs from, and of the complete others the newest.
  - What an interrupted build left, a folder without C(.complete), goes.
  - Files that no release is given any more go last, for the one before may have needed them until now.
options:
  path:
    description: Folder of the releases.
    type: path
    required: true
  release:
    description: Name of the release to be current.
    type: str
    required: true
  links:
    description:
      - The links. C(current) is what runs, and C(shown) whose static files visitors are shown.
    type: list
    elements: str
    default: [shown, current]
  keep:
    description: How many releases stay, the current one included.
    type: int
    required: true
  files_path:
    description: Folder of files that releases are given; empty for none.
    type: path
    default: ""
  files:
    description: Those of them that stay.
    type: list
    elements: path
    default: []
author: Stockpot
"""

EXAMPLES = r"""
- name: Switch to the release
  stockpot.stack.release_current:
    path: /srv/library/releases
    release: 1f3a9c2b7d60
    keep: 3
"""

RETURN = r"""
removed:
  description: Names of the releases, and paths of the files, that were removed.
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


def removable_files(folder: Path, kept: Iterable[str]) -> list[Path]:
    """The files below a folder that are not among those to be kept."""
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(path for path in found if str(path) not in {*kept})


def remove_file(path: Path, top: Path) -> None:
    """Remove a file, and the folders that this leaves empty, but for the topmost."""
    path.unlink()
    for folder in path.parents:
        if folder == top or any(folder.iterdir()):
            break
        folder.rmdir()


def switch(link: Path, release: Path) -> None:
    """Point a link to a release, in one step: at no moment is there none.

    Raises:
        OSError: the release is not complete, or something that is no link is in the way.
    """
    if not (release / ".complete").exists():
        raise FileNotFoundError(f"{release} is not there or was not built to its end, so {link} stays as it is.")
    if link.exists() and not link.is_symlink():
        raise FileExistsError(f"{link} is no link. Move it away: it is where the current release is found.")
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(release)
    new.replace(link)


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "links": {"type": "list", "elements": "str", "default": ["shown", "current"]},
            "keep": {"type": "int", "required": True},
            "files_path": {"type": "path", "default": ""},
            "files": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    release = path / module.params["release"]
    links = [path.parent / name for name in module.params["links"]]
    before = {link: os.readlink(link) if link.is_symlink() else "" for link in links}
    moved = [link for link in links if before[link] != str(release)]
    runs = "current" in module.params["links"]
    old = removable_releases(path, keep=module.params["keep"], current=release.name) if runs else []
    files = Path(module.params["files_path"]) if module.params["files_path"] and runs else None
    unused = removable_files(files, module.params["files"]) if files else []
    if not module.check_mode:
        try:
            for link in moved:
                switch(link, release)
            for folder in old:
                shutil.rmtree(folder)
            for file in unused:
                remove_file(file, files)
        except OSError as error:
            module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(moved or old or unused),
        removed=[*(folder.name for folder in old), *map(str, unused)],
        diff={
            "before": "".join(
                f"{line}\n" for line in [*(f"{link} -> {before[link]}" for link in links), *map(str, [*old, *unused])]
            ),
            "after": "".join(f"{link} -> {release}\n" for link in links),
        },
    )


if __name__ == "__main__":
    main()
