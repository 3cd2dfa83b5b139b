"""The units that an application's processes run in, for the canary and the watch: how they are, and what mends them.

A process that systemd runs is a service, `shop-beat.service`; one that supervisor runs as the program `shop-beat` is in a scope,
`shop-beat.scope`, which is there as long as the process is.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROPERTIES = "ActiveState,MainPID,NRestarts,InvocationID,ControlGroup"
# The unified hierarchy, and systemd's own on a host that has the older ones.
CGROUPS = tuple(Path("/sys/fs/cgroup", name) for name in ("", "systemd", "unified"))
PROC = Path("/proc")
# systemctl answers at once or is not well itself; seconds.
TIMEOUT = 10


@dataclass(frozen=True)
class State:
    """A unit at one moment.

    Attributes:
        active: systemd's ActiveState.
        pid: the main process, 0 for none.
        restarts: how often systemd has started it again; always 0 for a scope.
        invocation: names this run of it.
    """

    active: str
    pid: int = 0
    restarts: int = 0
    invocation: str = ""

    @property
    def is_up(self) -> bool:
        """Whether its process runs and is not being stopped."""
        return self.active == "active" and self.pid > 0


@dataclass(frozen=True)
class Process:
    """A process as /proc has it, which is another one when another was given its number.

    Attributes:
        state: the letter of `ps`; T is stopped by a signal.
        started: in ticks of the clock since the host's start.
    """

    pid: int
    state: str
    parent: int
    group: int
    started: int

    @classmethod
    def read(cls, pid: int) -> Process | None:
        """The process of a number; None where there is none."""
        try:
            text = (PROC / str(pid) / "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name before may hold anything.
        fields = text.rpartition(")")[2].split()
        return cls(pid, fields[0], int(fields[1]), int(fields[2]), int(fields[19]))


def states(units: Iterable[str]) -> dict[str, State]:
    """How units are, by unit, with one question to systemd.

    Raises:
        subprocess.SubprocessError: systemd did not answer.
    """
    units = list(units)
    if not units:
        return {}
    command = ["/usr/bin/systemctl", "show", f"--property={PROPERTIES}", "--", *units]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT).stdout
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in output.strip().split("\n\n")]
    return {unit: _state(unit, block) for unit, block in zip(units, blocks, strict=True)}


def _state(unit: str, shown: dict[str, str]) -> State:
    group = shown.get("ControlGroup", "")
    pid = int(shown.get("MainPID", "0")) if unit.endswith(".service") else main_pid(group) if group else 0
    return State(shown["ActiveState"], pid, int(shown.get("NRestarts", "0")), shown.get("InvocationID", ""))


def main_pid(group: str) -> int:
    """The main process of a control group: the one that leads its process group and was not started by another one in it; 0 for none.

    Args:
        group: the control group's path, as systemd names it.
    """
    processes = [found for pid in _members(group) if (found := Process.read(pid))]
    members = {process.pid for process in processes}
    first = [each for each in processes if each.parent not in members and each.group == each.pid]
    return min(first, key=lambda process: process.started).pid if first else 0


def _members(group: str) -> list[int]:
    for folder in CGROUPS:
        try:
            return [int(pid) for pid in (folder / group.lstrip("/") / "cgroup.procs").read_text().split()]
        except FileNotFoundError:
            continue
    return []


def program(unit: str) -> str:
    """What supervisor calls the process of a scope; empty for a service, which systemd runs."""
    return unit.removesuffix(".scope") if unit.endswith(".scope") else ""


def manager(unit: str) -> str:
    """Who runs a unit's process."""
    return "supervisor" if program(unit) else "systemd"


def log_command(unit: str) -> str:
    """The command that shows what a unit's process has written."""
    return f"supervisorctl tail {program(unit)}" if program(unit) else f"journalctl -u {unit}"


def start_command(unit: str) -> str:
    """The command that starts a unit's process."""
    return f"supervisorctl start {program(unit)}" if program(unit) else f"systemctl start {unit}"


def restart_command(unit: str) -> str:
    """The command that restarts a unit's process, which waits for what it does."""
    return f"supervisorctl restart {program(unit)}" if program(unit) else f"systemctl restart {unit}"


def mend_by_killing(units: list[str]) -> str:
    """The fix for processes that do not answer: a restart would wait for as long as a task may take."""
    programs = [program(unit) for unit in units]
    if all(programs):
        return (
            f"mend with: supervisorctl signal KILL {' '.join(programs)} (supervisor starts it again; supervisorctl restart might wait "
            "for long)"
        )
    return f"mend with: systemctl kill --signal=KILL {' '.join(units)} (systemd starts it again; systemctl restart might wait for long)"


def redacted(text: str) -> str:
    """Text without the passwords of any URL in it."""
    return re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1********@", text)
