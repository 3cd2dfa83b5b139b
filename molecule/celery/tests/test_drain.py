"""Workers are taken down without losing a task, and up again; what an operator sees is what happened."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_celery import press, printed
from test_changes import main_pids
from testinfra.host import Host

VALUES = Path(__file__).parents[1] / "vars/main.yml"
Wait = Callable[..., Any]
Play = Callable[[str, str], Any]


@pytest.fixture
def play(host_name: str, converge_again: Callable[..., Any]) -> Play:
    """Runs playbooks/drain.yml or restart.yml for some workers: `play("drain", "letters,pages")`."""

    def run(playbook: str, workers: str) -> Any:
        given = ("-e", f"@{VALUES}", "-e", json.dumps({"workers": workers}))
        return converge_again(*given, limit=host_name, playbook=f"../../playbooks/{playbook}.yml")

    return run


def row(run: Any, worker: str) -> list[str]:
    """A worker's line of the table: running, ended, given back, seconds and outcome."""
    table = run.stdout.partition("worker ")[2]
    (line,) = re.findall(rf"^ *{worker}@\S+ +(.*)$", table, re.MULTILINE)
    return line.split(maxsplit=4)


def state(host: Host, name: str) -> str:
    return host.check_output("systemctl show -P ActiveState press-worker-%s.service", name)


def send(host: Host, seconds: int, queue: str, **options: Any) -> str:
    """The name of a page that was sent to be printed."""
    name = uuid.uuid4().hex
    press(host, f"page.apply_async(args=['{name}', {seconds}], queue='{queue}', **{options})")
    return name


def test_a_name_that_no_worker_has_is_refused_before_anything_is_touched(
    host: Host, play: Play, wait_until: Wait
) -> None:
    before = main_pids(host)
    run = play("drain", "letters,leters")
    assert run.returncode != 0
    assert "WORKERS names leters, which is no worker" in run.stdout
    assert "letters, pages, solo, threads, whole, whole-1, whole-2" in " ".join(run.stdout.split())
    assert main_pids(host) == before
    wait_until(lambda: len(press(host, "print(*app.control.inspect(timeout=5).active_queues())").split()) == 8)


@pytest.mark.long
def test_a_drained_worker_ends_its_tasks_and_takes_no_more_until_it_is_started(
    host: Host, host_name: str, play: Play, wait_until: Wait
) -> None:
    """Two tasks run, one has its time in an hour, one is sent while the worker is down."""
    before = main_pids(host)
    later = send(host, 0, "letters", countdown=3600)
    running = [send(host, 40, "letters") for _ in range(2)]
    wait_until(lambda: all(printed(host, name) == ["begin"] for name in running))
    kept = int(
        press(
            host,
            f"print(len(app.control.inspect(['letters@{host_name}'], timeout=10).scheduled()['letters@{host_name}']))",
        )
    )
    drained = play("drain", "letters")
    assert drained.returncode == 0, drained.stdout
    assert [printed(host, name) for name in running] == [["begin", "end"]] * 2
    assert re.search(r"letters: \d+ s left; 2 running: press.page \S+ since \d+ s", drained.stdout)
    found = row(drained, "letters")
    assert kept >= 1
    assert (found[:3], found[4]) == (["2", "2", str(kept)], "stopped")
    assert state(host, "letters") == "inactive"
    assert host.check_output("ls /run/stockpot/stopping") == ""
    waiting = send(host, 0, "letters")
    after = main_pids(host)
    assert {name for name in before if before[name] != after.get(name)} == {"worker-letters"}

    restarted = play("restart", "letters")
    assert restarted.returncode == 0, restarted.stdout
    assert row(restarted, "letters")[4] == "was not running, consumes again"
    assert wait_until(lambda: printed(host, waiting) == ["begin", "end"])
    # Its time is kept by the worker again.
    scheduled = (
        "print([task['request']['args'][0] for tasks in app.control.inspect().scheduled().values() for task in tasks])"
    )
    assert wait_until(lambda: later in press(host, scheduled))
    assert printed(host, later) == []
    finally_ = main_pids(host)
    assert {name for name in after if after[name] != finally_.get(name)} <= {"worker-letters"}


@pytest.mark.long
def test_a_task_that_takes_longer_than_the_stop_is_given_back_and_runs_again(
    host: Host, play: Play, wait_until: Wait
) -> None:
    before = main_pids(host)
    name = send(host, 30, "hasty")
    wait_until(lambda: printed(host, name) == ["begin"])
    run = play("restart", "hasty")
    assert run.returncode == 0, run.stdout
    found = row(run, "hasty")
    assert (found[:3], found[4]) == (["1", "0", "1"], "stopped, consumes again")
    assert wait_until(lambda: printed(host, name) == ["begin", "begin", "end"], timeout=90)
    after = main_pids(host)
    assert {name for name in before if before[name] != after[name]} == {"worker-hasty"}


@pytest.mark.long
def test_one_instance_is_restarted_by_its_own_name_and_all_by_the_workers(host: Host, play: Play) -> None:
    before = main_pids(host)
    run = play("restart", "whole-2, solo")
    assert run.returncode == 0, run.stdout
    after = main_pids(host)
    assert {name for name in before if before[name] != after[name]} == {"worker-whole-2", "worker-solo"}
    run = play("restart", "whole")
    assert run.returncode == 0, run.stdout
    finally_ = main_pids(host)
    assert {name for name in after if after[name] != finally_[name]} == {"worker-whole-1", "worker-whole-2"}


@pytest.mark.long
def test_a_run_of_the_roles_brings_drained_workers_back(
    host: Host, host_name: str, play: Play, converge_again: Callable[..., Any]
) -> None:
    """All workers at once; Beat goes on."""
    # What a test before this one wrote takes effect first.
    settled = converge_again(limit=host_name)
    assert settled.returncode == 0, settled.stdout
    before = main_pids(host)
    run = play("drain", "")
    assert run.returncode == 0, run.stdout
    assert {state(host, name) for name in ("letters", "pages", "threads", "green", "whole-1")} == {"inactive"}
    assert main_pids(host).get("beat") == before["beat"]
    back = converge_again(limit=host_name)
    assert back.returncode == 0, back.stdout
    after = main_pids(host)
    assert set(after) == set(before)
    assert after["beat"] == before["beat"]
