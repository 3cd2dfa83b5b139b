"""The list of Celery workers as process definitions, and what is said about mistakes in it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.stockpot.stack.plugins.plugin_utils import celery_processes as celery

GIVEN = {
    "application": "shop",
    "app": "config",
    "release_path": "/srv/shop/releases/1",
    "user": "shop",
    "environment_file": "/etc/shop/environment",
}


def process(worker: dict[str, Any], **keys: Any) -> dict[str, Any]:
    (definition,) = celery.celery_processes([{"name": "mail", "queues": ["mail"], **worker}], **GIVEN, **keys)
    return definition


def option(definition: dict[str, Any], name: str) -> str:
    return definition["command"][definition["command"].index(name) + 1]


def test_a_worker_has_its_own_node_name_and_only_its_queues() -> None:
    definition = process({"queues": ["mail", "sms"], "concurrency": 3})
    assert definition["name"] == "worker-mail"
    assert option(definition, "--hostname") == "mail@%h"
    assert option(definition, "--queues") == "mail,sms"
    assert option(definition, "--concurrency") == "3"
    assert option(definition, "--prefetch-multiplier") == "1"


def test_a_release_is_run_by_its_own_path() -> None:
    definition = process({})
    assert definition["command"][0] == "/srv/shop/releases/1/venv/bin/python"
    assert definition["directory"] == "/srv/shop/releases/1/source"


def test_autoscale_is_given_as_most_and_fewest() -> None:
    assert option(process({"autoscale": [4, 1]}), "--autoscale") == "4,1"


@pytest.mark.parametrize(
    ("limits", "stop"),
    [
        ({}, 600),
        ({"soft_time_limit": 100}, 130),
        ({"soft_time_limit": 100, "time_limit": 120}, 150),
        ({"soft_time_limit": 100, "stop_timeout": 101}, 101),
    ],
)
def test_a_task_gets_longer_to_end_than_its_limits(limits: dict[str, int], stop: int) -> None:
    definition = process(limits)
    assert definition["stop_timeout"] == stop
    assert definition["quit_signal"] == "SIGQUIT"


def test_a_worker_runs_only_on_the_hosts_it_names() -> None:
    workers = [{"name": "a", "queues": ["a"]}, {"name": "b", "queues": ["b"], "hosts": ["two"]}]
    assert [d["name"] for d in celery.celery_processes(workers, **GIVEN, host="one")] == ["worker-a"]
    assert [d["name"] for d in celery.celery_processes(workers, **GIVEN, host="two")] == ["worker-a", "worker-b"]
    assert celery.celery_processes(workers, **GIVEN, host="two", run_workers=False) == []


def test_defaults_give_way_to_a_workers_own() -> None:
    defaults = {"concurrency": 8, "loglevel": "WARNING"}
    definition = process({"concurrency": 1}, defaults=defaults)
    assert option(definition, "--concurrency") == "1"
    assert option(definition, "--loglevel") == "WARNING"


def test_beat_leaves_no_pidfile_and_answers_pings() -> None:
    (beat,) = celery.celery_processes([], **GIVEN, beat=True, beat_scheduler="a.b:C")
    assert beat["phase"] == "scheduler"
    assert "--pidfile=" in beat["command"]
    assert "--enable-remote-control" in beat["command"]
    assert option(beat, "--scheduler") == "a.b:C"


@pytest.mark.parametrize(
    ("worker", "said"),
    [
        ({"concurency": 2}, "did you mean 'concurrency'"),
        ({"colour": 2}, "known keys are"),
        ({"concurrency": "two"}, "whole number"),
        ({"concurrency": 0}, "above 0"),
        ({"concurrency": 2, "autoscale": [4, 1]}, "exclude each other"),
        ({"autoscale": [1, 4]}, "most, fewest"),
        ({"queues": []}, "no queues"),
        ({"queues": ["a b"]}, "without commas and spaces"),
        ({"pool": "gevent"}, "choose one of"),
        ({"pool": "threads", "soft_time_limit": 5}, "no effect"),
        ({"pool": "solo", "concurrency": 2}, "one task at a time"),
        ({"soft_time_limit": 60, "time_limit": 60}, "has to be below"),
        ({"soft_time_limit": 60, "stop_timeout": 60}, "above soft_time_limit"),
        ({"name": "two words"}, "letters, digits"),
        ({"loglevel": "LOUD"}, "loglevel"),
    ],
)
def test_a_mistake_is_named_with_variable_file_and_fix(worker: dict[str, Any], said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=said) as error:
        process(worker)
    assert "celery_workers (group_vars/all/celery.yml)" in str(error.value)


def test_all_mistakes_are_named_at_once() -> None:
    problems = celery.worker_problems([{"name": "a", "queues": ["a"], "x": 1}, {"name": "a", "queues": []}, "worker"])
    assert len(problems) == 4


def test_a_routed_queue_without_a_worker_is_named() -> None:
    (problem,) = celery.worker_problems([{"name": "a", "queues": ["a"]}], routed_queues=["a", "lost"])
    assert "'lost'" in problem


def test_the_canary_expects_the_workers_of_this_host() -> None:
    workers = [{"name": "a", "queues": ["a"]}, {"name": "b", "queues": ["b"], "hosts": ["two"]}]
    definitions = celery.celery_processes(workers, **GIVEN, host="one")
    (expected,) = celery.celery_checks(definitions, workers, application="shop")
    assert expected == {"name": "a", "unit": "shop-worker-a.service", "node": "a@%h", "queues": ["a"]}
