"""The project's own build steps on the control node: what they make of its files is packed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import posixpath
import re
import shlex
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .archive import LEFT_OUT, Entry, digest_of, entries_of_archive, forget_old_archives, write_archive
from .source import ProjectError

# Another number builds everything anew.
FORMAT = "1"
TIMEOUT = 1800  # seconds, for each command
SHOWN_LINES = 40
# What a build may know of the shell it is started from: no token or password that happens to stand there.
ENVIRONMENT = re.compile(
    r"(?i:https?_proxy|no_proxy)|PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|SSL_CERT_(FILE|DIR)|XDG_\w+_HOME"
    r"|(?i:npm_config_(?!.*(auth|password|token))\w+)|NODE_(?!AUTH)\w+|NVM_\w+|COREPACK_\w+|PNPM_HOME|VOLTA_HOME"
)


@dataclass(frozen=True)
class Command:
    """A program with its arguments, and the folder it runs in, relative to manage.py's."""

    words: tuple[str, ...]
    directory: str = "."

    @classmethod
    def given(cls, entry: Any) -> Command:
        """What an operator wrote: a list of words, or a dict with `command` and `directory`; see `command_problems`."""
        words, directory = (entry["command"], entry.get("directory")) if isinstance(entry, Mapping) else (entry, "")
        return cls(tuple(map(str, words)), posixpath.normpath(directory or "."))


def command_problems(variable: str, entries: Iterable[Any]) -> list[str]:
    """What is wrong with build commands as they are written, a sentence each that begins with the variable."""
    found = []
    for entry in entries:
        keys = set(entry) if isinstance(entry, Mapping) else set()
        words = entry.get("command") if isinstance(entry, Mapping) else entry
        directory = entry.get("directory", "") if isinstance(entry, Mapping) else ""
        if (
            keys - {"command", "directory"}
            or not isinstance(words, list | tuple)
            or not all(isinstance(word, str | int) and not isinstance(word, bool) for word in words)
            or not re.fullmatch(r"\S+", str([*words, ""][0]))
        ):
            found.append(
                f"{variable} holds {entry!r}: write a program as a list of words, such as [npm, ci], or with its folder, "
                "{command: [npm, ci], directory: frontend}."
            )
        elif not isinstance(directory, str) or directory.startswith("/"):
            found.append(f"{variable}: the directory {directory!r} has to be relative to manage.py's folder.")
    return found


def built(
    entries: Mapping[str, Entry], commands: Sequence[Command], *, inside: str, excludes: Sequence[str], cache: Path
) -> dict[str, Entry]:
    """The source's files as its build leaves them. The same source, commands and excludes are built once and then remembered.

    Args:
        entries: the files of the whole source; the build works on a copy of them.
        commands: what is run, one after the other.
        inside: manage.py's folder inside the source; "." for its top.
        excludes: names of folders that the build makes and servers do not need.
        cache: folder for what was built.

    Raises:
        ProjectError: a command fails, takes too long or is not there; with the end of what it said.
    """
    asked = json.dumps([FORMAT, digest_of(entries), [[*c.words, c.directory] for c in commands], inside, [*excludes]])
    kept = cache / f"{hashlib.sha256(asked.encode()).hexdigest()}.built"
    with (cache / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kept.exists():
            os.utime(kept)
        else:
            with tempfile.TemporaryDirectory(prefix="stockpot-build-") as folder:
                top = Path(folder, "source")
                _lay_out(entries, top)
                for command in commands:
                    _run(command, top, inside)
                write_archive(_made(top, entries, excludes), kept)
            forget_old_archives(cache)
    with tarfile.open(kept) as archive:
        return entries_of_archive(archive)


def _lay_out(entries: Mapping[str, Entry], top: Path) -> None:
    top.mkdir()
    for name, entry in entries.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.link:
            path.symlink_to(os.fsdecode(entry.data))
        else:
            path.write_bytes(entry.data)
            path.chmod(0o755 if entry.executable else 0o644)


def _run(command: Command, top: Path, inside: str) -> None:
    directory = posixpath.normpath(posixpath.join(inside, command.directory))
    said_as = shlex.join(command.words)
    if directory.split("/")[0] == ".." or not (top / directory).is_dir():
        raise ProjectError(
            f"django_app_build_commands: there is no folder {command.directory} in the project, where `{said_as}` is to run. Name one."
        )
    environment = {name: value for name, value in os.environ.items() if ENVIRONMENT.fullmatch(name)}
    # Into a file: what a command leaves running would hold a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command.words,
                cwd=top / directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ProjectError(
                f"django_app_build_commands: `{said_as}` cannot be run on the control node, {command.words[0]}: {error.strerror}. "
                f"Install {command.words[0]} there, or build on the servers with django_app_host_build_commands."
            ) from error
        try:
            code = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise ProjectError(
                f"django_app_build_commands: `{said_as}` did not end within {TIMEOUT} s. Mend the command."
            ) from error
        finally:
            # With all that it started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        lines = output.read().decode(errors="replace").replace(f"{top}/", "").strip().splitlines()
    if code:
        raise ProjectError(
            "\n".join(
                [
                    f"django_app_build_commands: `{said_as}` ended with {code} in {command.directory} and said:",
                    *lines[-SHOWN_LINES:],
                    "Mend the project or the command.",
                ]
            )
        )


def _made(top: Path, source: Mapping[str, Entry], excludes: Sequence[str]) -> dict[str, Entry]:
    """What lies there after the build: the source's own files, and of the others all but virtualenvs, caches and excludes."""
    never = LEFT_OUT - {"node_modules"}
    found = {}
    for folder, folders, files in os.walk(top):
        here = Path(folder).relative_to(top)
        if "pyvenv.cfg" in files and f"{here}/pyvenv.cfg" not in source:
            folders.clear()
            continue
        folders[:] = sorted(set(folders) - never)
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for file in (*files, *links):
            name = str(here / file)
            path = Path(folder, file)
            if name not in source and {*excludes} & {*Path(name).parts}:
                continue
            if path.is_symlink():
                found[name] = Entry(os.fsencode(os.readlink(path)), link=True)
            elif path.is_file():
                found[name] = Entry(path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))
    return found
