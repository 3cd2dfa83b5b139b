#!/usr/bin/python3
"""Link into a release what stands outside of it and outlives it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: release_links
short_description: Link folders and files that outlive a release into its source
description:
  - Puts a link in the place of each path, for a release that nothing runs from yet.
  - A folder's target gets what the release ships there, if the target is empty; else what is shipped there goes.
options:
  path:
    description: The release's source.
    type: path
    required: true
  links:
    description: What is linked.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where, relative to O(path).
        type: str
        required: true
      target:
        description: What the link points to.
        type: path
        required: true
      folder:
        description: Whether the target is a folder. It has to be there; its owner and group get what is moved into it.
        type: bool
        default: false
author: Stockpot
"""

EXAMPLES = r"""
- name: Keep the exports, and take the settings from where they are written
  stockpot.stack.release_links:
    path: /srv/library/releases/1f3a9c2b7d60/source
    links:
      - {path: exports, target: /srv/library/shared/exports, folder: true}
      - {path: library/local_settings.py, target: /etc/library/files/library/local_settings.py}
"""

RETURN = r"""
linked:
  description: The paths whose link is new.
  type: list
  elements: str
  returned: success
"""


class LinkError(Exception):
    """What an operator has to be told."""


def link(source: Path, path: str, target: Path, *, folder: bool) -> bool:
    """Put a link in the place of a path; returns whether it is new.

    Args:
        source: the release's source, which belongs to root.
        path: relative to it.
        target: what the link points to.
        folder: whether that is a folder that gets what is in the link's place.

    Raises:
        LinkError: something is in the way, or the folder is missing.
    """
    place = source / path
    if place.is_symlink() and os.readlink(place) == str(target):
        return False
    if not place.parent.resolve().is_relative_to(source.resolve()):
        raise LinkError(f"{place} leaves the release. Name a folder that is no link.")
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        if not folder:
            raise LinkError(f"{place} is a folder of the project, where a file is to stand. Name another path.")
        fill(target, place)
    else:
        if folder and not target.is_dir():
            raise LinkError(f"{target} is no folder. Make it one.")
        place.unlink(missing_ok=True)
    place.symlink_to(target)
    return True


def fill(target: Path, shipped: Path) -> None:
    """Move a folder to the place of an empty one, as whose owner and group it then is; remove it if that is not empty.

    Raises:
        LinkError: there is no such empty folder.
    """
    try:
        status = target.stat()
        is_empty = not any(target.iterdir())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LinkError(f"{target} is no folder. Make it one.") from error
    if is_empty:
        # Nobody but root reaches it until it is moved.
        for parent, folders, files in os.walk(shipped):
            for name in (*folders, *files):
                _give(Path(parent, name), status)
        os.chown(shipped, status.st_uid, status.st_gid)
        shipped.chmod(stat.S_IMODE(status.st_mode))
        try:
            # In one step: it stays empty or is complete.
            shipped.rename(target)
            return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EBUSY, errno.ENOTEMPTY, errno.EEXIST):
                raise
            if error.errno in (errno.EXDEV, errno.EBUSY):
                _copy(shipped, target, status)
    shutil.rmtree(shipped)


def _give(path: Path, to: os.stat_result) -> None:
    os.lchown(path, to.st_uid, to.st_gid)
    if not path.is_symlink():
        is_open = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o750 if is_open else 0o640)


def _copy(shipped: Path, target: Path, owner: os.stat_result) -> None:
    """Into a file system of its own; as the owner, for it may be writing there."""
    subprocess.run(
        ["cp", "--recursive", "--no-dereference", "--preserve=mode,timestamps,links", f"{shipped}/.", str(target)],
        user=owner.st_uid,
        group=owner.st_gid,
        extra_groups=[],
        check=True,
        capture_output=True,
        text=True,
    )


def main() -> None:
    """Ansible's entry point."""
    links: dict[str, Any] = {
        "path": {"type": "str", "required": True},
        "target": {"type": "path", "required": True},
        "folder": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "links": {"type": "list", "elements": "dict", "required": True, "options": links},
        },
    )
    try:
        linked = [
            entry["path"]
            for entry in module.params["links"]
            if link(Path(module.params["path"]), entry["path"], Path(entry["target"]), folder=entry["folder"])
        ]
    except subprocess.CalledProcessError as error:
        module.fail_json(msg=error.stderr.strip())
    except (LinkError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(linked), linked=linked)


if __name__ == "__main__":
    main()
