"""What workers that are drained are told, in which order, and what an operator sees of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.stockpot.stack.plugins.action.celery_drain import Host, Unasked
from ansible_collections.stockpot.stack.plugins.plugin_utils import draining
from ansible_collections.stockpot.stack.plugins.plugin_utils.draining import Seen, Task, Worker

ACTIVE, STOPPING, DOWN, SILENT = Seen("active", answers=True), Seen("deactivating"), Seen("inactive"), Seen("active")
UP = Seen("active", answers=True, queues=frozenset({"mail"}))


def busy(*tasks: Task, **keys: Any) -> Seen:
    return Seen("active", answers=True, tasks=tasks, **keys)


class Fleet:
    """A host whose workers are as a script says, a look after the other; ten seconds pass between two."""

    def __init__(self, **looks: list[Seen]) -> None:
        self.looks, self.now = looks, 0.0
        self.told: list[dict[str, list[str]]] = []
        self.shown: list[str] = []

    def tell(self, todo: Mapping[str, list[str]], names: list[str]) -> dict[str, Seen]:
        self.told.append(dict(todo))
        self.now += 10
        return {name: self.looks[name].pop(0) for name in names}

    def drain(self, *, start: bool = False, stop_timeout: int = 30) -> list[dict[str, Any]]:
        workers = [Worker(name, frozenset({"mail"}), stop_timeout, start, 0.0) for name in self.looks]
        draining.drain(workers, self.tell, self.shown.append, poll_seconds=0, clock=lambda: self.now)
        assert not any(self.looks.values()), "nothing is asked in vain, and nothing is missed"
        self.failed = [worker.name for worker in workers if worker.failed]
        return [worker.row() for worker in workers]


def test_a_worker_is_stopped_when_its_tasks_have_ended() -> None:
    one, two = Task("1", "mail.send", 5), Task("2", "mail.send", 0)
    fleet = Fleet(mail=[busy(one), busy(two), ACTIVE, STOPPING, DOWN])
    (row,) = fleet.drain(stop_timeout=90)
    assert fleet.told == [{"cancel": ["mail"]}, {}, {}, {"stop": ["mail"]}, {}]
    assert row == {"worker": "mail", "running": 1, "ended": 2, "given back": 0, "seconds": 50, "outcome": "stopped"}
    assert fleet.shown[:2] == [
        "mail: 80 s left; 1 running: mail.send 1 since 5 s",
        "mail: 70 s left; 1 running: mail.send 2 since 0 s",
    ]
    assert fleet.shown[3] == "mail: being stopped, 80 s left; nothing runs"


def test_what_a_worker_has_taken_ahead_it_runs_and_what_has_a_time_goes_back() -> None:
    fleet = Fleet(mail=[busy(waiting=1, scheduled=2), Seen("active", answers=True, scheduled=2), DOWN])
    (row,) = fleet.drain()
    assert "1 taken ahead" in fleet.shown[0]
    assert (row["running"], row["ended"], row["given back"]) == (0, 0, 2)


def test_what_runs_when_the_time_of_the_stop_is_over_too_is_given_back() -> None:
    long, other = Task("1", "mail.send", 5), Task("2", "mail.send", 9)
    fleet = Fleet(mail=[busy(long, other), busy(long), busy(long, waiting=1), STOPPING, STOPPING, DOWN])
    (row,) = fleet.drain(stop_timeout=30)
    assert fleet.told == [{"cancel": ["mail"]}, {}, {}, {"stop": ["mail"]}, {}, {}]
    assert fleet.shown[2:4] == [
        "mail: being stopped, 30 s left; 1 running: mail.send 1 since 5 s; 1 taken ahead",
        "mail: being stopped, 20 s left; 1 running: mail.send 1 since 5 s; 1 taken ahead",
    ]
    assert (row["running"], row["ended"], row["given back"], row["outcome"]) == (2, 1, 2, "stopped")


def test_a_worker_that_missed_it_is_told_again_and_stopped_when_it_consumes_no_more() -> None:
    fleet = Fleet(mail=[UP, UP, ACTIVE, DOWN])
    fleet.drain(stop_timeout=90)
    assert fleet.told == [{"cancel": ["mail"]}, {"cancel": ["mail"]}, {"cancel": ["mail"]}, {"stop": ["mail"]}]


def test_a_worker_that_was_started_again_meanwhile_is_told_again() -> None:
    """Beside one that heard it."""
    one, two = Task("1", "mail.send", 5), Task("2", "mail.send", 0)
    fleet = Fleet(
        mail=[busy(one), Seen("activating"), busy(two, queues=UP.queues), busy(two), ACTIVE, DOWN],
        sms=[busy(one)] * 4 + [ACTIVE, DOWN],
    )
    fleet.drain(stop_timeout=90)
    assert fleet.told == [{"cancel": ["mail", "sms"]}, {}, {}, {"cancel": ["mail"]}, {}, {"stop": ["mail", "sms"]}]


def test_a_worker_that_never_hears_it_has_the_time_of_its_stop() -> None:
    """What it took last began a moment ago."""
    new = busy(Task("1", "mail.send", 0), queues=UP.queues)
    fleet = Fleet(mail=[new, new, new, STOPPING, DOWN])
    (row,) = fleet.drain(stop_timeout=30)
    assert fleet.told == [{"cancel": ["mail"]}, {"cancel": ["mail"]}, {"cancel": ["mail"]}, {"stop": ["mail"]}, {}]
    assert (row["ended"], row["given back"], row["outcome"]) == (1, 0, "stopped")


def test_a_worker_that_is_started_again_while_it_is_told_to_stop_is_told_again() -> None:
    fleet = Fleet(mail=[ACTIVE, Seen("activating"), SILENT, STOPPING, DOWN])
    fleet.drain()
    assert fleet.told == [{"cancel": ["mail"]}, {"stop": ["mail"]}, {"stop": ["mail"]}, {"stop": ["mail"]}, {}]


def test_a_task_whose_message_was_acknowledged_is_told_as_lost() -> None:
    fleet = Fleet(mail=[busy(Task("1", "mail.send", 5, acknowledged=True)), STOPPING, DOWN])
    (row,) = fleet.drain(stop_timeout=10)
    assert (row["given back"], row["outcome"]) == (0, "stopped; up to 1 cut whose message was acknowledged: lost")


def test_a_worker_that_does_not_answer_is_stopped_as_it_is() -> None:
    fleet = Fleet(mail=[SILENT, SILENT, STOPPING, DOWN])
    (row,) = fleet.drain(stop_timeout=90)
    assert fleet.told == [{"cancel": ["mail"]}, {}, {"stop": ["mail"]}, {}]
    assert row["outcome"] == "stopped, without having answered"
    assert "does not answer" in fleet.shown[0]


def test_one_answer_that_is_late_does_not_count() -> None:
    fleet = Fleet(mail=[busy(Task("1", "a", 1)), SILENT, busy(Task("1", "a", 1)), SILENT, ACTIVE, DOWN])
    (row,) = fleet.drain(stop_timeout=90)
    assert row["outcome"] == "stopped"


def test_a_worker_that_does_not_run_is_left_alone() -> None:
    fleet = Fleet(mail=[DOWN])
    (row,) = fleet.drain()
    assert fleet.told == [{"cancel": ["mail"]}]
    assert row["outcome"] == "was not running"


def test_each_worker_is_started_as_soon_as_it_is_down_and_has_to_consume() -> None:
    waits = [busy(Task("1", "a", 1))] * 4
    fleet = Fleet(mail=[ACTIVE, DOWN, SILENT, UP], sms=[*waits, ACTIVE, DOWN, UP], off=[DOWN, UP])
    rows = fleet.drain(start=True, stop_timeout=90)
    assert fleet.told[1:] == [
        {"start": ["off"], "stop": ["mail"]},
        {"start": ["mail"]},
        {},
        {},
        {"stop": ["sms"]},
        {"start": ["sms"]},
    ]
    assert [row["outcome"] for row in rows] == [
        "stopped, consumes again",
        "stopped, consumes again",
        "was not running, consumes again",
    ]
    assert fleet.failed == []


def test_a_worker_that_does_not_come_up_is_named() -> None:
    fleet = Fleet(mail=[ACTIVE, DOWN, *[SILENT] * 10])
    (row,) = fleet.drain(start=True)
    assert "DOES NOT CONSUME" in row["outcome"]
    assert fleet.failed == ["mail"]


class Action:
    """An action whose module answers as a script says."""

    def __init__(self, *results: dict[str, Any] | Exception) -> None:
        self.results = list(results)
        self.shown: list[str] = []
        self._display = SimpleNamespace(display=self.shown.append)

    def _execute_module(self, **given: Any) -> dict[str, Any]:
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


def looked(unknown: tuple[str, ...] = (), problem: str = "", **seen: Seen) -> dict[str, Any]:
    """What the module answers."""
    return {
        "seen": {
            name: {**each._asdict(), "tasks": [task._asdict() for task in each.tasks]} for name, each in seen.items()
        },
        "unknown": list(unknown),
        "problem": problem,
    }


def refusal(*results: dict[str, Any] | Exception) -> dict[str, Any]:
    """How the drain of mail and sms ends, each of which has a task at first."""
    action: Any = Action(*results)
    given = dict.fromkeys(("celery_app", "celery_user", "celery_release_path"), "shop")
    names = ("mail", "sms")
    host = Host(action, {"inventory_hostname": "one"}, given, [], {name: {"name": name} for name in names})
    workers = [Worker(name, UP.queues, 90, True, time.monotonic()) for name in names]
    with pytest.raises(Unasked) as raised:
        host.drain(workers, 0)
    assert not action.results
    return dict(raised.value.result)


def test_a_worker_that_is_not_on_the_host_yet_is_refused_by_name() -> None:
    said = refusal(looked(unknown=("sms",)))
    assert said == {"failed": True, "msg": "sms is not on this host yet: run site.yml first. Nothing was touched."}


def test_workers_that_are_not_there_are_known_before_anybody_is_told() -> None:
    """On a host that the application leaves, they are left out."""
    action: Any = Action(looked(unknown=("sms",)), {"failed": True, "msg": "away"})
    given = dict.fromkeys(("celery_app", "celery_user", "celery_release_path"), "shop")
    host = Host(action, {"inventory_hostname": "one"}, given, [], {name: {"name": name} for name in ("mail", "sms")})
    assert host.missing() == {"sms"}
    with pytest.raises(Unasked) as raised:
        host.missing()
    assert raised.value.result["msg"] == "away"


def test_nobody_is_touched_when_nobody_can_be_asked() -> None:
    said = refusal(looked(problem="the broker is away", mail=SILENT, sms=SILENT))
    assert said == {"failed": True, "msg": "Nothing was touched: the workers cannot be asked. the broker is away"}


BUSY = busy(Task("1", "a", 1), queues=UP.queues)


@pytest.mark.parametrize(
    "problem", [{"failed": True, "msg": "No space left."}, AnsibleConnectionFailure("No space left.")]
)
def test_a_drain_that_breaks_off_says_what_was_told_and_what_to_do(problem: dict[str, Any] | Exception) -> None:
    said = refusal(looked(mail=ACTIVE, sms=BUSY), problem)
    assert said["msg"] == (
        "No space left. Told by then, as far as it arrived: sms to take no more; mail to stop. "
        "Mend that, then: make restart WORKERS=mail,sms HOSTS=one, with the same ENV."
    )
    assert said["changed"]
    assert said.get("failed") or said.get("unreachable")


def test_a_broker_that_goes_away_after_they_were_told_breaks_nothing_off() -> None:
    """It is told again; those who do not answer are stopped."""
    away = looked(problem="the broker is away", mail=SILENT, sms=SILENT)
    said = refusal(looked(mail=BUSY, sms=BUSY), away, {"failed": True, "msg": "Full."})
    assert said["msg"].startswith("Full. Told by then")


WORKERS = [{"name": "mail"}, {"name": "sms", "instances": 2}]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [([], {"mail", "sms-1", "sms-2"}), (["sms"], {"sms-1", "sms-2"}), (["sms-2", "mail"], {"sms-2", "mail"})],
)
def test_workers_are_named_as_they_are_defined_or_by_instance(wanted: list[str], names: set[str]) -> None:
    assert draining.chosen(wanted, WORKERS) == (names, "")


def test_a_name_that_no_worker_has_is_refused_with_those_that_are_known() -> None:
    names, problem = draining.chosen(["mail", "mali"], WORKERS)
    assert names == set()
    assert problem == "WORKERS names mali, which is no worker. Known are: mail, sms, sms-1, sms-2."


def test_the_table_has_a_line_for_each_worker_under_its_headings() -> None:
    row = {"worker": "mail@one", "running": 12, "ended": 11, "given back": 1, "seconds": 95, "outcome": "stopped"}
    assert draining.table([row, {**row, "worker": "a@two", "running": 3}]).splitlines() == [
        "worker    running  ended  given back  seconds  outcome",
        "mail@one       12     11           1       95  stopped",
        "a@two           3     11           1       95  stopped",
    ]
