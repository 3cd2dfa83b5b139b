"""A file with its owner and mode, written in one step, or foretold."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Of what a command says.
SHOWN_LINES = 30

# What a module takes as a file.
OPTIONS = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "secret_content": {"type": "str", "no_log": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str", "default": "0644"},
    "validate": {"type": "str", "default": ""},
}


class FileError(Exception):
    """What an operator has to be told; the message is complete and holds no secret."""


@dataclass(frozen=True)
class File:
    """A file as it should be.

    Attributes:
        path: where; its folder is made when it is missing.
        content: its text; not looked at when it is `made_by` something.
        secret: whether the text must not be shown.
        owner: a user's name.
        group: a group's name.
        mode: four octal digits with the zero in front, as in "0644".
        validate: a command, in which %s is the new file; what it refuses does not take the old one's place. Empty for none.
        made_by: a command, in which %s is the file, that makes it where it is missing; it stays as it is then.
        kept_while: a command, in which %s is the file, that succeeds as long as it may stay; empty for ever.
    """

    path: str
    content: str = ""
    secret: bool = False
    owner: str = "root"
    group: str = "root"
    mode: str = "0644"
    validate: str = ""
    made_by: str = ""
    kept_while: str = ""

    @classmethod
    def given(cls, entry: Mapping[str, Any]) -> File | None:
        """The file that a module's argument of OPTIONS describes, if it is one to write."""
        secret, made_by = entry["secret_content"] is not None, entry.get("made_by") or ""
        content = entry["secret_content"] if secret else entry["content"]
        if content is None and not made_by:
            return None
        attributes = {key: entry[key] for key in ("path", "owner", "group", "mode", "validate")}
        made = {"made_by": made_by, "kept_while": entry.get("kept_while", "")}
        return cls(content=content or "", secret=secret or bool(made_by), **made, **attributes)


@dataclass
class Outcome:
    """What became of a file.

    Attributes:
        written: its content was another.
        adjusted: its owner, group or mode was another.
        diff: for Ansible.
    """

    written: bool = False
    adjusted: bool = False
    diff: list[dict[str, str]] = field(default_factory=list)


def write(file: File, *, scratch: str, check_mode: bool = False) -> Outcome:
    """Make a file what it should be.

    Args:
        file: as it should be.
        scratch: a folder of this process alone; the new file is validated there.
        check_mode: say what would be done. Nothing is validated then: what the file refers to may not be there yet.

    Raises:
        FileError: the owner, group or mode does not exist, or the new content was refused; the old file is left as it was.
    """
    uid, gid, mode = _attributes(file, check_mode)
    path = Path(file.path)
    try:
        before, status = path.read_bytes(), path.stat()
    except (FileNotFoundError, NotADirectoryError):
        before, status = None, None
    except IsADirectoryError as error:
        raise FileError(f"{path} is a folder, where a file is to be written.") from error
    if file.made_by:
        data = before if before is not None and _is_kept(file) else None
    else:
        data = file.content.encode("utf-8", "surrogateescape")
    outcome = Outcome(written=before is None or before != data)
    if outcome.written:
        outcome.diff.append(_difference(file, before))
        if not check_mode:
            if data is None:
                data = _made(file, scratch)
            _validate(file, data, scratch, uid, gid, mode)
            _make_folders(path.parent)
            _place(path, data, uid, gid, mode)
    if status:
        _adjust(file, status, (uid, gid, mode), outcome, act=not (check_mode or outcome.written))
    return outcome


def written_at(path: str) -> float:
    """When a file, or the youngest of a folder and all that is below it, was written, in seconds since 1970; 0 if it is missing."""
    paths = [path]
    for folder, folders, files in os.walk(path):
        paths += [os.path.join(folder, name) for name in [*folders, *files]]
    times = [0.0]
    for found in paths:
        # A link is as young as what it points to, and as itself.
        for look in (os.stat, os.lstat):
            with contextlib.suppress(OSError):
                times.append(look(found).st_mtime)
    return max(times)


def _attributes(file: File, check_mode: bool) -> tuple[int, int, int]:
    """User id, group id and mode; -1 for a name that an earlier task would have created in check mode."""
    ids = []
    for kind, name, find in (("user", file.owner, pwd.getpwnam), ("group", file.group, grp.getgrnam)):
        try:
            ids.append(find(name)[2])
        except KeyError as error:
            if not check_mode:
                raise FileError(f"{file.path} is to belong to the {kind} {name}, which does not exist here.") from error
            ids.append(-1)
    if not (file.mode.startswith("0") and 4 <= len(file.mode) <= 5 and set(file.mode) <= set("01234567")):
        raise FileError(
            f'{file.path}: the mode {file.mode!r} is not written as in "0644": quoted, with a zero in front.'
        )
    return ids[0], ids[1], int(file.mode, 8)


def _difference(file: File, before: bytes | None) -> dict[str, str]:
    if file.secret:
        return {"prepared": f"{file.path}: {'new' if before is None else 'other'} content, which is secret\n"}
    return {
        "before_header": file.path,
        "after_header": file.path,
        "before": (before or b"").decode("utf-8", "replace"),
        "after": file.content,
    }


def _is_kept(file: File) -> bool:
    """Whether what a command once made may stay."""
    return not file.kept_while or _run(file.kept_while, Path(file.path), f"{file.path} cannot be looked at")[0] == 0


def _made(file: File, scratch: str) -> bytes:
    """What the file's command makes."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        new = Path(folder, Path(file.path).name)
        code, said = _run(file.made_by, new, f"{file.path} cannot be made")
        if code != 0 or not new.exists():
            raise FileError(f"{file.path} cannot be made, `{file.made_by}` ended with {code}:\n{said}")
        return new.read_bytes()


def _validate(file: File, data: bytes, scratch: str, uid: int, gid: int, mode: int) -> None:
    if not file.validate:
        return
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        new = Path(folder, Path(file.path).name)
        _place(new, data, uid, gid, mode)
        code, said = _run(file.validate, new, f"{file.path} cannot be validated")
    if code != 0:
        raise FileError(
            f"{file.path} is left as it was, for `{file.validate}` refused its new content ({code})"
            + (". What it said may quote the content, which is secret." if file.secret else f":\n{said}")
        )


def _run(command: str, new: Path, otherwise: str) -> tuple[int, str]:
    """The exit code and the last lines of a command in which %s is a new file; `otherwise` says what does not work without it."""
    words = shlex.split(command)
    if not any("%s" in word for word in words):
        raise FileError(f"{otherwise}: the command has no %s, where the new file would be named: {command}")
    try:
        done = subprocess.run(
            [word.replace("%s", str(new)) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise FileError(f"{otherwise}: {error}") from error
    return done.returncode, "\n".join(done.stdout.strip().splitlines()[-SHOWN_LINES:])


def _make_folders(folder: Path) -> None:
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(exist_ok=True)
        # Whatever the umask is.
        parent.chmod(0o755)


def _place(path: Path, data: bytes, uid: int, gid: int, mode: int) -> None:
    """Hidden and in the same folder until it is complete, so that no reader ever sees half of it."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as new:
            new.write(data)
            new.flush()
            os.fchown(handle, uid, gid)
            os.fchmod(handle, mode)
            os.fsync(handle)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _adjust(file: File, status: os.stat_result, wanted: tuple[int, int, int], outcome: Outcome, *, act: bool) -> None:
    uid, gid, mode = wanted
    before = (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
    after = (uid if uid >= 0 else before[0], gid if gid >= 0 else before[1], mode)
    if before == after:
        return
    outcome.adjusted = True
    header = f"{file.path} (user, group, mode)"
    texts = [f"{owner} {group} {bits:04o}\n" for owner, group, bits in (before, after)]
    outcome.diff.append({"before_header": header, "after_header": header, "before": texts[0], "after": texts[1]})
    if act:
        os.chown(file.path, after[0], after[1])
        os.chmod(file.path, mode)
