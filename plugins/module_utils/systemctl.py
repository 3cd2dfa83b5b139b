"""systemctl and journalctl: the state of units, which run something older than their files, and waiting until they are up."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

SUFFIXES = (".service", ".socket", ".timer", ".path", ".mount", ".target", ".slice")
JOURNAL_LINES = 20
POLL_SECONDS = 0.2

# What `systemctl show` is asked for.
PROPERTIES = (
    "LoadState",
    "FragmentPath",
    "DropInPaths",
    "ActiveState",
    "SubState",
    "Result",
    "UnitFileState",
    "NeedDaemonReload",
    "InvocationID",
    "ExecMainStartTimestamp",
    "InactiveExitTimestamp",
    "StateChangeTimestamp",
    "ActiveEnterTimestampMonotonic",
    "ExecMainStatus",
    "Job",
)


class ServiceError(Exception):
    """What an operator has to be told; the message is complete."""


def unit_name(name: str) -> str:
    """The unit that a name means: `redis-server` is redis-server.service."""
    return name if name.endswith(SUFFIXES) else f"{name}.service"


def timestamp(text: str) -> float:
    """A time as `systemctl show --timestamp=us+utc` writes it, in seconds since 1970; 0 for never."""
    found = re.search(r"(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2})(?:\.(\d{1,6}))? UTC", text)
    if not found:
        return 0.0
    seconds = datetime.datetime.strptime(f"{found[1]} +0000", "%Y-%m-%d %H:%M:%S %z").timestamp()
    return seconds + float(f"0.{found[2] or 0}")


@dataclass(frozen=True)
class State:
    """A unit as systemd sees it, read from the files `paths`.

    Times are seconds since 1970, 0 for never; `active_since` is of the monotonic clock.
    """

    unit: str
    load: str = "loaded"
    paths: tuple[str, ...] = ()
    active: str = "active"
    sub: str = "running"
    result: str = "success"
    enabled: str = "enabled"
    needs_daemon_reload: bool = False
    invocation: str = ""
    started: float = 0.0
    changed: float = 0.0
    active_since: float = 0.0
    exit_status: str = "0"
    has_job: bool = False

    @classmethod
    def read(cls, unit: str, properties: str) -> State:
        """The state that a block of `systemctl show` describes."""
        given = dict(line.split("=", 1) for line in properties.splitlines() if "=" in line)
        return cls(
            unit=unit,
            load=given.get("LoadState", ""),
            paths=(given.get("FragmentPath", ""), *given.get("DropInPaths", "").split()),
            active=given.get("ActiveState", ""),
            sub=given.get("SubState", ""),
            result=given.get("Result", ""),
            enabled=given.get("UnitFileState", ""),
            needs_daemon_reload=given.get("NeedDaemonReload") == "yes",
            invocation=given.get("InvocationID", ""),
            # A socket has no process: it began to listen.
            started=timestamp(given.get("ExecMainStartTimestamp") or given.get("InactiveExitTimestamp", "")),
            changed=timestamp(given.get("StateChangeTimestamp", "")),
            active_since=int(given.get("ActiveEnterTimestampMonotonic") or 0) / 1e6,
            exit_status=given.get("ExecMainStatus", "?"),
            has_job=given.get("Job", "0") not in ("", "0"),
        )

    @property
    def is_down(self) -> bool:
        """Whether nothing runs and nothing is about to."""
        return self.active in ("inactive", "failed", "")

    @property
    def is_up(self) -> bool:
        """Whether it runs, be it while it reloads."""
        return self.active in ("active", "reloading", "refreshing")

    @property
    def is_coming(self) -> bool:
        """Whether it is being started: Redis loads its data, PostgreSQL its log. Waiting for another try is not it."""
        return self.active == "activating" and not self.sub.startswith("auto-restart")

    def action(self, written: Mapping[str, float]) -> str:
        """What it needs: start, restart, reload, or nothing ("").

        Args:
            written: when the youngest file that a `restart` or a `reload` loads was written, in seconds since 1970.
        """
        if self.is_down:
            return "start"
        if not (self.is_up or self.is_coming) or self.started < written.get("restart", 0):
            return "restart"
        # systemd moves the time of the last change of state with every reload.
        if max(self.started, self.changed) < written.get("reload", 0):
            return "reload"
        return ""


class Plan(NamedTuple):
    """Which units are to be enabled, started, restarted, reloaded; sockets come first in each."""

    enable: list[str]
    start: list[str]
    restart: list[str]
    reload: list[str]


def plan(states: Mapping[str, State], written: Mapping[str, Mapping[str, float]]) -> Plan:
    """What there is to do for units.

    Args:
        states: by unit.
        written: by unit, as in State.action.
    """
    actions = {unit: state.action(written.get(unit, {})) for unit, state in states.items()}
    for unit in states:
        service = f"{unit.removesuffix('.socket')}.service"
        # A socket cannot be opened anew below a running service.
        if unit.endswith(".socket") and actions[unit] and actions.get(service, "start") != "start":
            actions[service] = "restart"
    ordered = sorted(states, key=lambda unit: not unit.endswith(".socket"))
    return Plan(
        [unit for unit in ordered if states[unit].enabled in ("", "disabled", "linked")],
        *([unit for unit in ordered if actions[unit] == action] for action in ("start", "restart", "reload")),
    )


@dataclass
class Watch:
    """Watches units that were asked to start: each has to come up, once, and stay up for the settle time.

    Attributes:
        previous: the invocation before the start, of the units that were asked to start or restart.
        settle_seconds: how long a service has to be up.
    """

    previous: Mapping[str, str]
    settle_seconds: float
    first: dict[str, str] = field(default_factory=dict)

    def is_new(self, state: State) -> bool:
        """Whether this is no longer the process from before the start."""
        return state.unit not in self.previous or state.invocation != self.previous[state.unit]

    def ended(self, state: State) -> bool:
        """Whether it ran and is down, for good or until systemd tries again."""
        if state.has_job:
            return False
        return state.is_down or (self.is_new(state) and state.sub.startswith("auto-restart"))

    def started_twice(self, state: State) -> bool:
        """Whether it came up, ended and came up again between two looks."""
        if not (self.is_new(state) and state.is_up):
            return False
        return self.first.setdefault(state.unit, state.invocation) != state.invocation

    def settled(self, state: State, now: float) -> bool:
        """Whether it has been up long enough; `now` in seconds of the monotonic clock."""
        stays = now - state.active_since >= self.settle_seconds or not state.unit.endswith(".service")
        return self.is_new(state) and state.is_up and stays


class Systemctl:
    """Runs systemctl and journalctl."""

    def run(self, *arguments: str) -> str:
        """The output of `systemctl arguments`.

        Raises:
            ServiceError: it failed.
        """
        code, output, errors = self._call("systemctl", *arguments)
        if code != 0:
            raise ServiceError(f"systemctl {' '.join(arguments)} failed ({code}): {errors.strip() or output.strip()}")
        return output

    def show(self, units: Iterable[str]) -> dict[str, State]:
        """The states of units, by unit, in one call."""
        units = list(units)
        if not units:
            return {}
        output = self.run("show", "--timestamp=us+utc", f"--property={','.join(PROPERTIES)}", "--", *units)
        blocks = output.strip().split("\n\n")
        return {unit: State.read(unit, block) for unit, block in zip(units, blocks, strict=True)}

    def journal(self, unit: str) -> str:
        """The last lines that a unit wrote or that systemd wrote about it."""
        options = ("--no-pager", "--quiet", "--output=cat", f"--lines={JOURNAL_LINES}", f"--unit={unit}")
        _code, output, errors = self._call("journalctl", *options)
        return output.strip() or errors.strip() or "(the journal has nothing)"

    def wait(self, states: Mapping[str, State], watch: Watch, *, timeout: float) -> None:
        """Until every unit has settled.

        Args:
            states: the units, as last seen.
            watch: what counts.
            timeout: seconds until giving up.

        Raises:
            ServiceError: a process ended or never came up; with the end of its journal.
        """
        deadline = time.monotonic() + timeout
        while waiting := self._not_settled(states.values(), watch):
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"Not up after {timeout:.0f} s: "
                    + ", ".join(f"{state.unit} ({state.active}, {state.sub})" for state in waiting)
                    + f".\nThe journal of {waiting[0].unit} ends with:\n{self.journal(waiting[0].unit)}"
                )
            time.sleep(POLL_SECONDS)
            states = self.show(states)

    def _not_settled(self, states: Iterable[State], watch: Watch) -> list[State]:
        waiting = []
        for state in states:
            if state.load != "loaded":
                raise ServiceError(f"{state.unit} is {state.load}. Look at: systemctl status {state.unit}")
            if watch.ended(state) or watch.started_twice(state):
                raise ServiceError(
                    f"{state.unit} ended right after it was started (result {state.result}, state {state.sub}, "
                    f"exit status {state.exit_status}). Its journal ends with:\n{self.journal(state.unit)}\n"
                    f"What it runs is shown by: systemctl cat {state.unit}"
                )
            if not watch.settled(state, time.monotonic()):
                waiting.append(state)
        return waiting

    @staticmethod
    def _call(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
            check=False,
        )
        return done.returncode, done.stdout, done.stderr
