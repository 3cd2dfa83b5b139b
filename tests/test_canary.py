"""The canary's sentences: what is wrong with a worker, and a fix that does not wait for what hangs."""

from __future__ import annotations

from typing import Any

import canary
import pytest
from stockpot_units import State

NODE = "mail@one"
UNIT = "shop-worker-mail.service"
SCOPE = "shop-worker-mail.scope"


def problem(pool: str = "prefork", state: str = "active", unit: str = UNIT, **answers: Any) -> str:
    """What is said of the worker mail, which answered nothing unless `pid` and `queues` are given."""
    worker = {"name": "mail", "unit": unit, "queues": ["mail"], "pool": pool}
    stats = {NODE: {"pid": answers["pid"]}} if "pid" in answers else {}
    queues = {NODE: answers["queues"]} if "queues" in answers else {}
    return canary.worker_problem(NODE, worker, stats, queues, State(state, 7, 4))


def test_a_worker_that_answers_as_its_unit_is_right() -> None:
    assert problem(pid=7, queues={"mail"}) == ""


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_one_that_does_not_answer_is_to_be_killed_not_restarted(pool: str) -> None:
    """Its stop could take as long as its tasks may."""
    said = problem(pool)
    assert "does not answer as mail@one" in said
    assert f"mend with: systemctl kill --signal=KILL {UNIT} " in said


def test_a_solo_worker_that_does_not_answer_is_not_to_be_killed() -> None:
    """It answers nothing while a task runs."""
    said = problem("solo")
    assert "while a task runs" in said
    assert "systemctl kill" not in said


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"state": "failed"}, f"start it with: systemctl start {UNIT}"),
        ({"state": "activating"}, "its process ends and is started again (4 times so far). Look at: journalctl -u"),
        ({"pid": 8, "queues": {"mail"}}, "a second worker of that name runs outside systemd"),
        ({"pid": 7, "queues": {"letters"}}, f"consumes letters instead of mail. Mend with: systemctl restart {UNIT}"),
    ],
)
def test_every_other_mistake_comes_with_its_own_fix(answers: dict[str, Any], said: str) -> None:
    assert said in problem(**answers)


def test_what_supervisor_runs_is_mended_with_its_commands() -> None:
    assert "mend with: supervisorctl signal KILL shop-worker-mail (" in problem(unit=SCOPE)
    assert "Look at: supervisorctl tail shop-worker-mail;" in problem(unit=SCOPE)
    assert "start it with: supervisorctl start shop-worker-mail" in problem(unit=SCOPE, state="inactive")
    assert "runs outside supervisor" in problem(unit=SCOPE, pid=8, queues={"mail"})


@pytest.mark.parametrize(
    ("looks", "is_given_up"),
    [
        ([State("activating", restarts=0), State("activating", restarts=1)], False),
        ([State("activating", restarts=0), State("activating", restarts=2)], True),
        ([State("activating", restarts=7), State("activating", restarts=8)], False),
        ([State("activating", restarts=0), State("active", restarts=5)], True),
        # supervisor's: each run is another scope.
        ([State("active", invocation="a"), State("inactive"), State("active", invocation="b")], False),
        ([State("active", invocation="a"), State("active", invocation="b"), State("active", invocation="c")], True),
    ],
)
def test_a_worker_that_ends_again_and_again_is_not_waited_for(looks: list[State], is_given_up: bool) -> None:
    assert canary.ends_again_and_again(looks) is is_given_up


def test_a_program_of_supervisor_may_still_be_started() -> None:
    """Between two of its tries there is no scope."""
    assert canary.is_down(UNIT, State("inactive"))
    assert not canary.is_down(SCOPE, State("inactive"))
