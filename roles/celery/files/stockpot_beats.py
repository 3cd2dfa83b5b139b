"""Beats beside the unit's own: each would send every schedule once more."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path

import stockpot_units as units


class SecondBeats:
    """Ends them, and counts.

    Args:
        app: what `celery -A` is given.
        beat_unit: where this host's Beat runs; empty when it runs on another host.
    """

    def __init__(self, app: str, beat_unit: str) -> None:
        self.app = app
        self.where = f"Beat is {beat_unit}" if beat_unit else "Beat runs on another host"
        self.asked_to_end: set[tuple[int, int]] = set()

    @property
    def count(self) -> int:
        """How many there were."""
        return len(self.asked_to_end)

    def end(self, own: Collection[str]) -> Iterator[str]:
        """Ask those of this process's user and project to end, and kill those that did not; says which are new.

        Args:
            own: the units of this application's workers and Beat.
        """
        project = home(Path.cwd())
        found = {
            process.pid: (process, words)
            for process, words in own_processes()
            if is_beat(words, self.app) and is_below(process, project)
        }
        # The units' own, as they are by now: one may just have been started.
        kept = {state.pid for state in units.states(list(own)).values()} if found else set()
        for process, words in found.values():
            # Children end with their parent.
            if process.pid not in kept and process.group not in kept and process.parent not in found:
                yield from self._end(process, words)

    def _end(self, process: units.Process, words: list[str]) -> Iterator[str]:
        key = (process.pid, process.started)
        # A worker with a Beat inside ends its tasks first.
        how = signal.SIGKILL if key in self.asked_to_end and "worker" not in words else signal.SIGTERM
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, how)
        if key not in self.asked_to_end:
            self.asked_to_end.add(key)
            yield f"A second Beat ran, process {process.pid} ({' '.join(words)}): it is ended. {self.where}."


def own_processes() -> Iterator[tuple[units.Process, list[str]]]:
    """The processes of this one's user, each with the words of its command."""
    for folder in units.PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            words = (folder / "cmdline").read_text(errors="replace").split("\0")[:-1]
        except OSError:
            continue
        if words and (process := units.Process.read(int(folder.name))):
            yield process, words


def home(folder: Path) -> Path:
    """The folder of all of a project's releases, where it is one of several; else its own."""
    parts = folder.parts
    return Path(*parts[: parts.index("releases")]) if "releases" in parts else folder


def is_below(process: units.Process, folder: Path) -> bool:
    """Whether a process runs in a folder, or in one below it: another project may have the same user."""
    try:
        return (units.PROC / str(process.pid) / "cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


def is_beat(words: list[str], app: str) -> bool:
    """Whether a command is a Celery Beat, or a worker with one inside, of an app.

    Args:
        words: of the command.
        app: what `celery -A` is given.
    """
    names = [Path(word).name for word in words]
    if "celery" not in names:
        return False
    options = words[names.index("celery") + 1 :]
    given = [option.partition("=")[2] for option in options if option.startswith("--app=")]
    given += [value for option, value in itertools.pairwise(options) if option in ("-A", "--app")]
    if given and app not in given:
        return False
    return "beat" in options or ("worker" in options and not {"-B", "--beat"}.isdisjoint(options))
