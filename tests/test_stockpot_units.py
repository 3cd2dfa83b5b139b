"""The main process of a unit, from real processes: what canary and watch go by."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stockpot_units as units

PARENT = (
    "import subprocess, sys; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); child.wait()"
)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that leads a group, as supervisor and systemd do; its group ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*command: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0))
        return started[-1]

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A control group's file, on a host with systemd's own hierarchy, that lists processes."""
    monkeypatch.setattr(units, "CGROUPS", (tmp_path / "none", tmp_path))

    def write(*pids: int) -> str:
        (tmp_path / "system.slice/shop.scope").mkdir(parents=True, exist_ok=True)
        (tmp_path / "system.slice/shop.scope/cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        return "/system.slice/shop.scope"

    return write


def test_the_main_process_of_a_scope_is_the_one_that_started_the_others(
    start: Callable[..., subprocess.Popen[str]], group: Callable[..., str]
) -> None:
    main = start(sys.executable, "-c", PARENT)
    assert main.stdout
    child = int(main.stdout.readline())
    assert units.main_pid(group(child, main.pid)) == main.pid


def test_what_a_dead_main_process_left_is_none(
    start: Callable[..., subprocess.Popen[str]], group: Callable[..., str]
) -> None:
    main = start(sys.executable, "-c", PARENT)
    assert main.stdout
    child = int(main.stdout.readline())
    assert units.main_pid(group(child)) == 0
    assert units.main_pid(group()) == 0
    assert units.main_pid("/system.slice/other.scope") == 0


def test_a_stopped_process_is_seen_and_one_that_is_gone_is_none(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("sleep", "600")
    first = units.Process.read(process.pid)
    assert first
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    now = units.Process.read(process.pid)
    assert now
    assert (now.state, now.started, now.group) == ("T", first.started, process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert units.Process.read(process.pid) is None
