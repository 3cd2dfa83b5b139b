"""Workers are told what they are to do, whoever runs them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.module_utils.supervisor import Program, Supervisor
from ansible_collections.stockpot.stack.plugins.modules.celery_workers import Programs, Workers
from supervisord import Running, supervisord

UNIT = "shop-worker-mail.scope"
# Ends only on SIGQUIT.
DEAF = f"{sys.executable} -c 'import signal; signal.signal(15, signal.SIG_IGN); print(0, flush=True); signal.pause()'"
PROGRAM = """[program:shop-worker-mail]
command={command}
startsecs=0
stopwaitsecs=30
"""


@pytest.fixture
def umask() -> Iterator[None]:
    """As strict as a hardened server's root has it."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def running() -> Iterator[Running]:
    """A supervisord that runs a worker which does not end when it is told to."""
    with supervisord(**{"shop-worker-mail": PROGRAM.format(command=DEAF)}) as running:
        running.wait_for("shop-worker-mail", "RUNNING")
        until_it_is_deaf(running, 1)
        yield running
        until_it_is_deaf(running, 2)
        Programs(running.supervisor).stop([UNIT])
        Programs(running.supervisor).signal(UNIT, "SIGQUIT")


def until_it_is_deaf(running: Running, times: int) -> None:
    """Until its process says so, for the so-manieth time: before, supervisor has forked it, and it takes no signal in earnest."""
    deadline = time.monotonic() + 60
    while (said := running.supervisor.log("shop-worker-mail")).split() != ["0"] * times:
        assert time.monotonic() < deadline, said
        time.sleep(0.05)


def until(programs: Programs, state: str) -> None:
    deadline = time.monotonic() + 60
    while (found := programs.states([UNIT])[UNIT]) != state:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_a_program_is_stopped_without_waiting_told_to_give_back_and_started(running: Running) -> None:
    programs = Programs(running.supervisor)
    until(programs, "active")
    before = running.pid("shop-worker-mail")
    programs.stop([UNIT])
    until(programs, "deactivating")
    programs.signal(UNIT, "SIGQUIT")
    until(programs, "inactive")
    # It may have ended just before.
    programs.signal(UNIT, "SIGQUIT")
    programs.start([UNIT])
    until(programs, "active")
    assert running.pid("shop-worker-mail") not in (0, before)


class Late(Supervisor):
    """Says of the first look that a program has just ended; supervisor has started it again since."""

    looks = 0

    def show(self, names: Iterable[str]) -> dict[str, Program]:
        self.looks += 1
        shown = super().show(names)
        return {name: replace(each, state="EXITED") for name, each in shown.items()} if self.looks == 1 else shown


ENDING = "[program:shop-worker-mail]\ncommand=/bin/true\nstartsecs=0\nautorestart=false\n"
IDLE = "[program:shop-worker-mail]\ncommand=/usr/bin/sleep 3600\nstartsecs=0\n"


def test_a_program_that_has_just_ended_is_about_to_be_started() -> None:
    with supervisord(**{"shop-worker-mail": ENDING}) as running:
        running.wait_for("shop-worker-mail", "EXITED")
        assert Programs(running.supervisor).states([UNIT]) == {UNIT: "activating"}


def test_a_program_that_ends_or_starts_meanwhile_is_no_failure() -> None:
    with supervisord(**{"shop-worker-mail": IDLE}) as running:
        programs = Programs(running.supervisor)
        until(programs, "active")
        programs.start([UNIT])
        programs.stop([UNIT])
        until(programs, "inactive")
        programs.stop([UNIT])


def test_a_program_that_is_started_again_while_it_is_removed_is_stopped_and_removed() -> None:
    with supervisord(**{"shop-worker-mail": IDLE}) as running:
        running.wait_for("shop-worker-mail", "RUNNING")
        Late(running.supervisor.path).stop(["shop-worker-mail"])
        assert running.supervisor.show(["shop-worker-mail"])["shop-worker-mail"].state == ""


def module(*names: str, **told: list[str]) -> dict[str, Any]:
    """The module's parameters."""
    workers = [{"name": name, "unit": f"shop-worker-{name}.service", "mark_seconds": 60} for name in names]
    return {"workers": workers, "app": "shop", **{word: told.get(word, []) for word in ("cancel", "stop", "start")}}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("exists", [False, True])
def test_the_watch_can_read_a_mark_whatever_the_umask(tmp_path: Path, exists: bool) -> None:
    marks = tmp_path / "stockpot/stopping"
    if exists:
        marks.mkdir(parents=True)
    Workers(module("mail", cancel=["mail"]) | {"quit": []}, marks).tell()
    mark = marks / "shop-worker-mail"
    assert float(mark.read_text()) > time.time()
    assert [mode(path) for path in (marks.parent, marks, mark)] == [0o755, 0o755, 0o644]
