"""supervisor, by its socket: the state of programs, which run something older than their files, and waiting until they are up."""

from __future__ import annotations

import http.client
import os
import socket
import time
import xmlrpc.client
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.stockpot.stack.plugins.module_utils.systemctl import POLL_SECONDS, ServiceError

SOCKET = "/run/supervisor.sock"
# Of the end of a program's log.
LOG_BYTES = 4000
# Above the time that a program itself has to stop; seconds.
STOP_MARGIN = 30
# Of supervisor.xmlrpc.Faults.
BAD_NAME, NO_FILE, ALREADY_STARTED, NOT_RUNNING, ALREADY_ADDED, STILL_RUNNING = 10, 20, 60, 70, 90, 91


class Connection(http.client.HTTPConnection):
    """HTTP through a socket file."""

    def __init__(self, path: str) -> None:
        """Takes the socket's path."""
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        """Open it."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Transport(xmlrpc.client.Transport):
    """XML-RPC through a socket file."""

    def __init__(self, path: str) -> None:
        """Takes the socket's path."""
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> Connection:
        """One for each call."""
        return Connection(self.path)


@dataclass(frozen=True)
class Program:
    """A program as supervisor sees it.

    Attributes:
        name: supervisor's.
        state: supervisor's, such as RUNNING; empty for one that it does not know.
        pid: of its main process, 0 for none.
        started: when that was started, in seconds since 1970; 0 for never.
        is_new: whether supervisor has not tried to start it yet.
        exit_status: of the last run that ended.
        problem: what supervisor says of a start in vain.
    """

    name: str
    state: str = ""
    pid: int = 0
    started: float = 0.0
    is_new: bool = False
    exit_status: int = 0
    problem: str = ""

    @property
    def is_up(self) -> bool:
        """Whether its process runs, be it only just."""
        return self.state in ("RUNNING", "STARTING")

    @property
    def is_settled(self) -> bool:
        """Whether it has been up for its `startsecs`."""
        return self.state == "RUNNING"

    @property
    def has_process(self) -> bool:
        """Whether it has to be stopped before another one is started; waiting for another try counts."""
        return self.is_up or self.state in ("STOPPING", "BACKOFF")

    @property
    def end(self) -> str:
        """How it ended; supervisor keeps no exit status of a start in vain."""
        status = f"exit status {self.exit_status}" if self.state == "EXITED" else ""
        return ", ".join(filter(None, (f"state {self.state or 'unknown'}", status, self.problem)))

    def action(self, written: float) -> str:
        """What it needs: start, restart, or nothing ("").

        Args:
            written: when the youngest file that it reads was written, in seconds since 1970.
        """
        if self.is_up:
            return "restart" if self.started < written else ""
        return "restart" if self.has_process else "start"


def started_at(pid: int) -> float:
    """When a process was started, in seconds since 1970: the end of the tick in which it was; 0 for one that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # The name before may hold anything.
    ticks = int(text.rpartition(")")[2].split()[19]) + 1
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


class Supervisor:
    """Speaks to supervisor.

    Args:
        path: its socket.
    """

    def __init__(self, path: str = SOCKET) -> None:
        self.path = path

    def is_running(self) -> bool:
        """Whether it answers."""
        try:
            self.call("getState")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of supervisor's answers.

        Raises:
            OSError: it does not answer.
            xmlrpc.client.Fault: it refuses.
        """
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=Transport(self.path))
        return getattr(proxy.supervisor, method)(*arguments)

    def show(self, names: Iterable[str]) -> dict[str, Program]:
        """The states of programs, by name, in one call; while supervisor does not run it knows none of them."""
        names = list(names)
        try:
            known = {each["name"]: each for each in self.call("getAllProcessInfo")} if names else {}
        except (OSError, http.client.HTTPException):
            known = {}
        return {name: _program(name, known.get(name, {})) for name in names}

    def wait_until_running(self, timeout: float) -> None:
        """Until it answers.

        Raises:
            ServiceError: it did not in `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not self.is_running():
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"supervisor does not answer at {self.path} after {timeout:.0f} s. Look at: journalctl -u supervisor"
                )
            time.sleep(POLL_SECONDS)

    def stop(self, names: Iterable[str]) -> None:
        """Stop programs side by side, each within the time that it was started with, and have supervisor forget them.

        Args:
            names: programs; those that supervisor does not know are passed over.

        Raises:
            ServiceError: one did not stop.
        """
        known = self._known(names)
        if not known:
            return
        times = [each["stopwaitsecs"] for each in self.call("getAllConfigInfo") if each["name"] in known]
        timeout = max(times, default=0) + STOP_MARGIN
        deadline = time.monotonic() + timeout
        while known:
            if time.monotonic() > deadline:
                said = ", ".join(f"{state.name} ({state.state})" for state in known.values())
                raise ServiceError(f"Not stopped after {timeout:.0f} s: {said}. Look at: supervisorctl status")
            if any(state.has_process for state in known.values()):
                self._tell_to_stop(known.values())
                time.sleep(POLL_SECONDS)
            else:
                for name in known:
                    # One that had just ended may have been started again: the next look stops it.
                    self.unless({BAD_NAME, STILL_RUNNING}, "removeProcessGroup", name)
            known = self._known(known)

    def _known(self, names: Iterable[str]) -> dict[str, Program]:
        """The programs that supervisor knows."""
        return {name: state for name, state in self.show(names).items() if state.state}

    def _tell_to_stop(self, programs: Iterable[Program]) -> None:
        """Each that is up or about to be; what is stopping already has been told."""
        for program in programs:
            if program.has_process and program.state != "STOPPING":
                self.unless({NOT_RUNNING}, "stopProcess", program.name, False)

    def start(self, names: Iterable[str]) -> None:
        """Start programs, which supervisor does not run, as their files say now.

        Raises:
            ServiceError: it cannot read its configuration.
        """
        try:
            self.call("reloadConfig")
            for name in names:
                self.unless({ALREADY_ADDED}, "addProcessGroup", name)
        except xmlrpc.client.Fault as fault:
            raise ServiceError(
                f"supervisor does not take its configuration: {fault.faultString}. Look at: supervisorctl reread"
            ) from fault

    def wait(self, names: Iterable[str], *, timeout: float) -> None:
        """Until every program has been up for its `startsecs`.

        Args:
            names: programs that supervisor was told to start.
            timeout: seconds until giving up.

        Raises:
            ServiceError: a process ended or never came up; with the end of its log.
        """
        deadline = time.monotonic() + timeout
        states = self.show(names)
        while waiting := [state for state in states.values() if not state.is_settled]:
            for state in waiting:
                if not (state.is_up or state.is_new):
                    raise ServiceError(
                        f"{state.name} ended right after it was started ({state.end}). Its log ends with:\n{self.log(state.name)}"
                    )
            if time.monotonic() > deadline:
                said = ", ".join(f"{state.name} ({state.state})" for state in waiting)
                raise ServiceError(
                    f"Not up after {timeout:.0f} s: {said}.\nThe log of {waiting[0].name} ends with:\n{self.log(waiting[0].name)}"
                )
            time.sleep(POLL_SECONDS)
            states = self.show(states)

    def log(self, name: str) -> str:
        """The end of what a program has written."""
        try:
            text, _size, _overflow = self.call("tailProcessStdoutLog", name, 0, LOG_BYTES)
        except xmlrpc.client.Fault as fault:
            return f"(there is none: {fault.faultString})"
        return text.strip() or "(the log has nothing)"

    def unless(self, codes: Container[int], method: str, *arguments: Any) -> None:
        """A call that may be refused, as there is nothing to do or not yet.

        Args:
            codes: of the refusals that are none.
            method: supervisor's.
            arguments: the method's.

        Raises:
            OSError: supervisor does not answer.
            ServiceError: it refuses.
        """
        try:
            self.call(method, *arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in codes:
                raise ServiceError(f"supervisor: {method}: {fault.faultString}") from fault


def _program(name: str, given: Mapping[str, Any]) -> Program:
    """A program as getAllProcessInfo has it."""
    if not given:
        return Program(name)
    pid = given["pid"]
    return Program(
        name=name,
        state=given["statename"],
        pid=pid,
        started=started_at(pid) if pid else 0.0,
        is_new=given["statename"] == "STOPPED" and not given["start"],
        exit_status=given["exitstatus"],
        problem=given["spawnerr"],
    )
