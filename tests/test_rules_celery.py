"""Mistakes in the list of workers are named, each with the variable, the worker and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import options
from ansible_collections.stockpot.stack.plugins.plugin_utils.processes import NO_USE_IN_POOL, complete_workers
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import celery, role_problems

STACK = Path(__file__).resolve().parent.parent / "group_vars/all/celery.yml"
REQUIRED = {
    "celery_application": "shop",
    "celery_app": "config",
    "celery_release_path": "/srv/shop/releases/1",
    "celery_user": "shop",
    "celery_environment_file": "/etc/shop/environment",
    "inventory_hostname": "one",
}


def problems(*workers: Any, **changes: Any) -> list[str]:
    """What is said about these workers, types and rules."""
    return role_problems("celery", {**REQUIRED, "celery_workers": list(workers), **changes}, DataLoader())


def test_good_workers_pass() -> None:
    assert (
        problems(
            {"name": "mail", "queues": ["mail", "sms"], "concurrency": 2, "soft_time_limit": 50, "stop_timeout": 60},
            {"name": "web-2", "queues": ["a.b"], "autoscale": [4, 1], "environment": {"A": "b"}},
            {"name": "one", "queues": ["one"], "pool": "solo", "hosts": ["one"], "memory_max": "1G"},
            {"name": "io", "queues": ["io"], "pool": "threads", "prefetch_multiplier": 0, "options": ["--purge"]},
            celery_routed_queues=["mail", "io"],
        )
        == []
    )


@pytest.mark.parametrize(
    ("worker", "said"),
    [
        ({"environment": {"A": True}}, "environment: A: the value is no text"),
        ({"concurency": 2}, "did you mean 'concurrency'"),
        ({"colour": 2}, "known are"),
        ({"concurrency": "two"}, "int"),
        ({"concurrency": 0}, "above 0"),
        ({"concurrency": True}, "above 0"),
        ({"concurrency": 2, "autoscale": [4, 1]}, "exclude each other"),
        ({"autoscale": [1, 4]}, "most, fewest"),
        ({"autoscale": [1]}, "most, fewest"),
        ({"autoscale": []}, "most, fewest"),
        ({"queues": []}, "no queues"),
        ({"queues": ["a b"]}, "without commas and spaces"),
        ({"pool": "fork"}, "prefork, threads, solo, gevent"),
        ({"pool": "threads", "soft_time_limit": 5}, "soft_time_limit has no effect in the pool 'threads'"),
        ({"pool": "threads", "autoscale": [4, 1]}, "autoscale has no effect in the pool 'threads'"),
        ({"pool": "solo", "max_tasks_per_child": 5}, "max_tasks_per_child has no effect in the pool 'solo'"),
        ({"pool": "solo", "concurrency": 2}, "concurrency has no effect in the pool 'solo'"),
        ({"pool": "gevent", "max_memory_per_child": 5}, "max_memory_per_child has no effect in the pool 'gevent'"),
        (
            {"max_memory_per_child": 196608, "memory_max": "192M"},
            "max_memory_per_child (196608 KiB) has to be below memory_max (192M)",
        ),
        ({"prefetch_multiplier": -1}, "below 0"),
        ({"soft_time_limit": 60, "time_limit": 60}, "soft_time_limit (60) has to be below time_limit (60)"),
        ({"soft_time_limit": 60, "stop_timeout": 60}, "above soft_time_limit"),
        ({"name": "two words"}, "letters, digits"),
        ({"loglevel": "LOUD"}, "loglevel"),
        ({"instances": 0}, "instances is 0; it has to be a number above 0"),
        ({"memory_max": "1 G"}, "memory_max is '1 G'. Write it as 512M"),
        ({"cpu_max": "half"}, "cpu_max is 'half'. Write it as 50%"),
        ({"nice": 21}, "nice is 21. It is from -20"),
    ],
)
def test_a_mistake_is_named_with_its_variable_and_fix(worker: dict[str, Any], said: str) -> None:
    (problem,) = problems({"name": "mail", "queues": ["mail"], **worker})
    assert problem.startswith("celery_workers: ")
    assert said in problem


def test_an_entry_without_a_name_or_queues_is_refused() -> None:
    assert any("name" in problem for problem in problems({"queues": ["mail"]}))
    assert any("queues" in problem for problem in problems({"name": "mail"}))
    assert any("celery_workers" in problem for problem in problems("mail"))


def test_all_mistakes_are_named_at_once() -> None:
    found = problems({"name": "a", "queues": ["a"], "concurrency": 0}, {"name": "a", "queues": []})
    assert len(found) == 3


def test_an_instance_is_named_as_no_other_worker() -> None:
    (problem,) = problems({"name": "a", "queues": ["a"], "instances": 2}, {"name": "a-2", "queues": ["a"]})
    assert "2 workers are named 'a-2'" in problem


def test_a_limit_of_beats_is_named() -> None:
    (problem,) = problems(celery_beat_nice=-21)
    assert problem.startswith("celery_beat_nice is -21.")


def test_a_mistake_in_the_defaults_is_named() -> None:
    (unknown,) = problems(celery_worker_defaults={"time_limt": 5})
    assert unknown.startswith("celery_worker_defaults: ")
    assert "did you mean 'time_limit'" in unknown
    (together,) = problems(
        {"name": "a", "queues": ["a"], "stop_timeout": 5}, celery_worker_defaults={"soft_time_limit": 9}
    )
    assert "above soft_time_limit" in together


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_every_pool_goes_with_the_defaults_of_the_stack(pool: str) -> None:
    """Of the defaults, those that the pool has no use for are left out."""
    defaults = yaml.safe_load(STACK.read_text())["celery_worker_defaults"] | {"concurrency": 1}
    worker = {"name": "a", "queues": ["a"], "pool": pool}
    assert problems(worker, celery_worker_defaults=defaults) == []


def test_a_routed_queue_without_a_worker_is_named() -> None:
    (problem,) = problems({"name": "a", "queues": ["a"]}, celery_routed_queues=["a", "lost"])
    assert problem.startswith("celery_routed_queues: ")
    assert "'lost'" in problem


def test_the_rules_speak_of_keys_that_exist() -> None:
    known = options("celery")["celery_workers"]["options"]
    assert {*celery.POSITIVE, *(key for keys in NO_USE_IN_POOL.values() for key in keys)} <= set(known)
    assert list(NO_USE_IN_POOL) == known["pool"]["choices"]


def test_every_worker_of_the_stack_is_bounded() -> None:
    """In time, in memory, and in how long its processes live; a payment is told to end within a minute."""
    given = yaml.safe_load(STACK.read_text())
    workers = {worker["name"]: worker for worker in complete_workers(given)}
    assert problems(*given["celery_workers"], celery_worker_defaults=given["celery_worker_defaults"]) == []
    for name, worker in workers.items():
        assert {"soft_time_limit", "time_limit", "max_tasks_per_child", "memory_max"} <= set(worker), name
    assert workers["critical"]["soft_time_limit"] <= 60
    assert [name for name, worker in workers.items() if "sweep" in worker["queues"]] == ["sweep"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"celery_watch_patience": 5}, "celery_watch_patience is 5"),
        ({"celery_watch_patience": 3600}, "celery_watch_patience is 3600"),
        ({"celery_watch_metrics_file": "watch.prom"}, "celery_watch_metrics_file is watch.prom"),
        (
            {"celery_watch_metrics_file": "/var/lib/shop/watch.txt"},
            "celery_watch_metrics_file is /var/lib/shop/watch.txt",
        ),
    ],
)
def test_what_the_watch_cannot_do_is_named(given: dict[str, Any], said: str) -> None:
    (problem,) = problems(**given)
    assert problem.startswith(said)
    assert problems(celery_watch_patience=60, celery_watch_metrics_file="") == []


@pytest.mark.parametrize("option", ["-B", "--beat"])
def test_a_beat_inside_a_worker_is_refused(option: str) -> None:
    (problem,) = problems({"name": "a", "queues": ["a"], "options": [option]})
    assert f"worker 'a': its options have {option}, a Beat in the worker" in problem
