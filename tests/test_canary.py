"""The canary's sentences: what is wrong with a worker, and a fix that does not wait for what hangs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("canary", ROOT / "roles/celery/files/canary.py")
assert spec
assert spec.loader
canary = importlib.util.module_from_spec(spec)
spec.loader.exec_module(canary)

NODE = "mail@one"
UNIT = "shop-worker-mail.service"


def problem(pool: str = "prefork", state: str = "active", **answers: Any) -> str:
    """What is said of the worker mail, which answered nothing unless `pid` and `queues` are given."""
    worker = {"name": "mail", "unit": UNIT, "queues": ["mail"], "pool": pool}
    stats = {NODE: {"pid": answers["pid"]}} if "pid" in answers else {}
    queues = {NODE: answers["queues"]} if "queues" in answers else {}
    return canary.worker_problem(NODE, worker, stats, queues, {"ActiveState": state, "MainPID": "7", "NRestarts": "4"})


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


@pytest.mark.parametrize(
    ("first", "state", "now", "is_given_up"),
    [
        ("0", "activating", "1", False),
        ("0", "activating", "2", True),
        ("7", "activating", "8", False),
        ("0", "active", "5", True),
    ],
)
def test_a_worker_that_ends_again_and_again_is_not_waited_for(
    first: str, state: str, now: str, is_given_up: bool
) -> None:
    before = {"ActiveState": "activating", "MainPID": "0", "NRestarts": first}
    after = {"ActiveState": state, "MainPID": "0", "NRestarts": now}
    assert canary.ends_again_and_again(before, after) is is_given_up
