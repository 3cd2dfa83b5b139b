"""Workers are told what they are to do, whoever runs them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ask_workers
import pytest
from ansible_collections.stockpot.stack.plugins.module_utils.supervisor import Program, Supervisor
from ansible_collections.stockpot.stack.plugins.module_utils.systemctl import State, Systemctl
from ansible_collections.stockpot.stack.plugins.modules.celery_workers import Programs, Services, Workers
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
        give_back(running)


def give_back(running: Running) -> None:
    """As the worker's stop does it when its time is over."""
    running.supervisor.call("signalProcess", "shop-worker-mail", "QUIT")


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


def test_a_program_is_stopped_without_waiting_and_started(running: Running) -> None:
    programs = Programs(running.supervisor)
    until(programs, "active")
    before = running.pid("shop-worker-mail")
    programs.stop([UNIT])
    until(programs, "deactivating")
    give_back(running)
    until(programs, "inactive")
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
    Workers(module("mail", cancel=["mail"]), marks).tell()
    mark = marks / "shop-worker-mail"
    assert float(mark.read_text()) > time.time()
    assert [mode(path) for path in (marks.parent, marks, mark)] == [0o755, 0o755, 0o644]


class Control:
    """Celery's remote control over nodes; `deaf` ones miss the first message to take no more."""

    def __init__(self, deaf: tuple[str, ...] = (), **queues: list[str]) -> None:
        self.deaf, self.queues = set(deaf), queues
        self.told: list[tuple[str, str]] = []

    def inspect(self, *, destination: list[str], timeout: float) -> Inspect:
        return Inspect(self, destination)

    def cancel_consumer(self, queue: str, *, destination: list[str], **options: Any) -> None:
        for node in destination:
            self.told.append((node, queue))
            if node not in self.deaf:
                self.queues[node].remove(queue)
        self.deaf -= set(destination)


class Inspect:
    """What some nodes answer."""

    def __init__(self, control: Control, nodes: list[str]) -> None:
        self.control, self.nodes = control, nodes

    def active_queues(self) -> dict[str, list[dict[str, str]]]:
        return {node: [{"name": queue} for queue in self.control.queues[node]] for node in self.nodes}

    def active(self) -> dict[str, list[dict[str, Any]]]:
        return {node: [] for node in self.nodes}

    reserved = scheduled = active


def queues(asked: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    return {name: answer["queues"] for name, answer in asked.items()}


def test_a_worker_that_missed_it_says_that_it_consumes_until_it_is_told_again() -> None:
    nodes = {"mail": "mail", "sms": "sms"}
    control = Control(("mail",), mail=["mail"], sms=["sms"])
    assert queues(ask_workers.ask(control, nodes, ["mail", "sms"])) == {"mail": ["mail"], "sms": []}
    assert queues(ask_workers.ask(control, nodes, [])) == {"mail": ["mail"], "sms": []}
    assert queues(ask_workers.ask(control, nodes, ["mail"])) == {"mail": [], "sms": []}
    assert control.told == [("mail", "mail"), ("sms", "sms"), ("mail", "mail")]


def test_only_those_that_are_to_take_no_more_are_told_so() -> None:
    """Beside one that is told again, another may have been started already."""
    control = Control(mail=["mail"], sms=["sms"])
    assert queues(ask_workers.ask(control, {"mail": "mail", "sms": "sms"}, ["mail"])) == {"mail": [], "sms": ["sms"]}


class Asked(Workers):
    """Whose units are active, and of whom the broker keeps the answers."""

    cancelled: list[str]

    def _ask(self, names: list[str], cancel: list[str]) -> tuple[dict[str, Any], str]:
        self.cancelled = cancel
        return {}, "OperationalError: the broker is away"


class Active(Systemctl):
    """systemd, of which all units are active that it knows."""

    def __init__(self, unknown: str = "") -> None:
        self.unknown = unknown

    def show(self, units: Iterable[str]) -> dict[str, State]:
        return {
            unit: State(unit, load="not-found", active="inactive") if unit == self.unknown else State(unit)
            for unit in units
        }


def asked(parameters: dict[str, Any], marks: Path, unknown: str = "") -> tuple[Asked, dict[str, Any]]:
    """One call of the module, in which nobody can be asked."""
    workers = Asked(parameters, marks)
    workers.managers = [(Services(Active(unknown)), [worker["unit"] for worker in parameters["workers"]])]
    return workers, workers.run(told=True)


def test_the_mark_of_a_worker_that_took_no_more_before_stays_when_it_cannot_be_told_again(tmp_path: Path) -> None:
    marks = tmp_path / "stockpot/stopping"
    marks.mkdir(parents=True)
    (marks / "shop-worker-mail").write_text("1\n")
    workers, _ = asked(module("mail", "sms", "web", cancel=["mail", "sms"]), marks)
    assert workers.cancelled == ["mail", "sms"]
    assert [mark.name for mark in marks.iterdir()] == ["shop-worker-mail"]


def test_nobody_is_told_anything_when_one_of_them_is_not_on_the_host(tmp_path: Path) -> None:
    marks = tmp_path / "stockpot/stopping"
    parameters = module("mail", "sms", cancel=["mail", "sms"])
    workers, said = asked(parameters, marks, unknown="shop-worker-sms.service")
    assert said == {"changed": False, "seen": {}, "problem": "", "unknown": ["sms"]}
    assert not hasattr(workers, "cancelled")
    assert not marks.exists()


def test_a_program_that_supervisor_does_not_know_is_none_that_is_down() -> None:
    with supervisord(**{"shop-worker-mail": IDLE}) as running:
        states = Programs(running.supervisor).states([UNIT, "shop-worker-sms.scope"])
        assert states["shop-worker-sms.scope"] == "absent"
    assert Programs(running.supervisor).states([UNIT]) == {UNIT: "inactive"}
