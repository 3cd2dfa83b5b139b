"""What an app expects of its workers is held against those it gets: what cannot work is refused, what may lose work is told."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.contracts import contracts

LATE, EARLY = {"acks_late": True}, {"acks_late": False}


def worker(**keys: Any) -> dict[str, Any]:
    given = {"name": "mail", "queues": ["mail"], "time_limit": 360, **keys}
    return {key: value for key, value in given.items() if value is not None}


def task(**keys: Any) -> dict[str, Any]:
    own = {"name": "mail.send", "queue": "mail", "time_limit": None, "soft_time_limit": None, "priority": None}
    return {**own, **LATE, **keys}


def found(
    *workers: dict[str, Any], tasks: list[dict[str, Any]] | None = None, consumer_timeout: int = 0, **facts: Any
) -> Any:
    """What is said of these workers and an app with these tasks."""
    app = {
        "queues": {"mail": "the app's task_default_queue"},
        "tasks": [task()] if tasks is None else tasks,
        "time_limit": None,
        "soft_time_limit": None,
        "broker": "redis",
        "broker_is_known": True,
        "visibility_timeout": 3600,
        "retry_on_timeout": False,
        "celery": "5.7.0",
        "quorum_queues": [],
        "priority_queues": [],
        "detects_quorum_queues": True,
    }
    return contracts({**app, **facts}, workers, consumer_timeout=consumer_timeout)


def test_an_app_whose_workers_do_all_it_expects_is_told_nothing() -> None:
    assert found(worker()) == ([], [])
    both = [task(), task(name="mail.sort", **EARLY)]
    assert found(worker(), tasks=both, queues={"mail": "a", "sms": "b"}, time_limit=20) != ([], [])
    assert found(worker(queues=["mail", "sms"]), tasks=both, queues={"mail": "a", "sms": "b"}) == ([], [])


def test_a_queue_that_no_worker_of_the_fleet_consumes_is_refused() -> None:
    queues = {"mail": "the app's task_default_queue", "slow": "the task mail.sort goes there"}
    (problem,), warnings = found(worker(), queues=queues)
    assert problem.startswith("celery_workers: no worker consumes the queue 'slow' (the task mail.sort goes there)")
    assert warnings == []
    elsewhere = worker(name="slow", queues=["slow"], hosts=["two"])
    assert found(worker(), elsewhere, queues=queues) == ([], [])


def test_a_queue_that_others_consume_is_not_missed() -> None:
    facts = {"queues": {"mail": "a", "theirs": "b"}, "tasks": [], "broker": "amqp", "visibility_timeout": None}
    facts |= {"broker_is_known": True}
    facts |= {"time_limit": None, "soft_time_limit": None, "retry_on_timeout": False, "quorum_queues": []}
    assert contracts(facts, [worker()], ["theirs"]) == ([], [])


def test_a_rabbitmq_that_need_not_show_who_it_is_is_refused() -> None:
    (problem,), _ = found(worker(), broker="amqp", visibility_timeout=None, broker_is_known=False)
    assert problem.startswith("celery_app: the project reaches RabbitMQ by amqps and takes any certificate")
    assert "server_hostname" in problem


@pytest.mark.parametrize(
    ("workers", "tasks", "facts"),
    [
        ([worker(time_limit=3600)], [task()], {}),
        ([worker()], [task(time_limit=4000)], {}),
        ([worker(time_limit=None)], [task()], {"time_limit": 7200}),
        ([worker(time_limit=1800)], [task()], {"visibility_timeout": 1800}),
        ([worker(time_limit=50000)], [task()], {"broker": "sqs", "visibility_timeout": 1800}),
        # the second worker of the queue is one too many
        ([worker(), worker(name="slow", time_limit=5000)], [task()], {}),
    ],
)
def test_a_limit_above_the_visibility_timeout_is_refused(
    workers: list[dict[str, Any]], tasks: list[dict[str, Any]], facts: dict[str, Any]
) -> None:
    (problem,), _ = found(*workers, tasks=tasks, **facts)
    assert problem.startswith("celery_visibility_timeout: the project's visibility_timeout is")
    assert "mail.send may run" in problem


@pytest.mark.parametrize(
    ("tasks", "facts"),
    [
        # its own limit is below, whatever the worker's is
        ([task(time_limit=60)], {}),
        # its message is gone before it runs
        ([task(**EARLY)], {}),
        # it goes to another worker
        ([task(queue="sms")], {}),
        # a broker that waits
        ([task()], {"broker": "amqp", "visibility_timeout": None}),
        ([task()], {"visibility_timeout": 43200}),
    ],
)
def test_what_is_handed_out_once_is_not_refused(tasks: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    assert found(worker(time_limit=4000), tasks=tasks, **facts)[0] == []


@pytest.mark.parametrize("keys", [{"time_limit": None}, {"pool": "threads", "time_limit": 360}, {"pool": "solo"}])
def test_a_task_that_nothing_ends_is_told_where_it_would_be_handed_out_again(keys: dict[str, Any]) -> None:
    problems, (warning,) = found(worker(**keys))
    assert problems == []
    assert warning.startswith("celery_workers: mail.send may run for any time: after 3600 s")
    assert found(worker(**keys), broker="amqp") == ([], [])


@pytest.mark.parametrize(
    ("keys", "own", "seconds"),
    [
        ({"stop_timeout": 60}, {}, 60),
        ({"time_limit": None}, {}, 600),
        ({"time_limit": None, "soft_time_limit": 20}, {}, 50),
        ({}, {"time_limit": 391}, 390),
        ({"pool": "threads", "stop_timeout": 60}, {}, 60),
    ],
)
def test_a_task_that_a_stop_cuts_and_loses_is_told(keys: dict[str, Any], own: dict[str, Any], seconds: int) -> None:
    problems, (warning,) = found(worker(**keys), tasks=[task(**EARLY, **own)])
    assert problems == []
    assert f"mail.send may run longer than the {seconds} s that a stop of the worker mail waits" in warning


def test_a_task_that_goes_back_or_ends_in_time_is_not_told() -> None:
    assert found(worker(stop_timeout=60), tasks=[task(**LATE)]) == ([], [])
    assert found(worker(), tasks=[task(**EARLY)]) == ([], [])
    assert found(worker(stop_timeout=60), tasks=[task(**EARLY, time_limit=50)]) == ([], [])


@pytest.mark.parametrize("key", ["time_limit", "soft_time_limit"])
def test_a_workers_limit_that_the_projects_own_overrules_is_told(key: str) -> None:
    """As Celery 5.7 has it; before, its tasks have none of their own."""
    _, (warning,) = found(worker(**{key: 90}), tasks=[task(**{key: 300})], **{key: 300})
    assert warning.startswith(
        f"celery_workers: {key} of the worker mail is 90 s, but the project's setting task_{key} makes it 300 s"
    )
    assert found(worker(**{key: 90}), tasks=[task()], **{key: 300}) == ([], [])
    assert found(worker(**{key: 300}), tasks=[task(**{key: 300})], **{key: 300}) == ([], [])
    assert found(worker(**{key: 90}), tasks=[task(**{key: 20})], **{key: 300}) == ([], [])


def test_a_worker_that_may_go_deaf_is_told() -> None:
    _, (warning,) = found(worker(), retry_on_timeout=True)
    assert warning.startswith("celery_app: ")
    assert "retry_on_timeout" in warning
    assert found(worker(), retry_on_timeout=True, broker="amqp", visibility_timeout=None) == ([], [])


RABBITMQ = {"broker": "amqp", "visibility_timeout": None}


def test_a_message_that_rabbitmq_would_take_back_is_refused() -> None:
    """A process may hold one message of each of its worker's queues, and so many times that as it takes ahead."""
    assert found(worker(time_limit=360), consumer_timeout=400, **RABBITMQ) == ([], [])
    for keys in ({"queues": ["mail", "sms"]}, {"prefetch_multiplier": 2}, {"time_limit": 400}):
        (problem,), _ = found(worker(**keys), consumer_timeout=400, **RABBITMQ)
        assert problem.startswith("celery_visibility_timeout: RabbitMQ gives a message to another worker after 400 s")
    assert found(worker(time_limit=400), tasks=[task(**EARLY)], consumer_timeout=400, **RABBITMQ)[0] == []


def test_quorum_queues_want_a_celery_that_knows_them() -> None:
    quorum = {**RABBITMQ, "quorum_queues": ["mail"]}
    assert found(worker(), **quorum) == ([], [])
    (problem,), _ = found(worker(), **quorum, celery="5.4.0")
    assert problem.startswith("celery_app: the project declares mail as quorum queues, but of Celery 5.4.0")
    assert "lock Celery 5.5" in problem
    (problem,), _ = found(worker(), **quorum, detects_quorum_queues=False)
    assert "worker_detect_quorum_queues is off" in problem


def test_a_priority_without_effect_is_told() -> None:
    """It means nothing in most queues of RabbitMQ's, and the opposite in the others."""
    urgent = [task(priority=0)]
    assert found(worker(), tasks=urgent) == ([], [])
    _, (warning,) = found(worker(), tasks=urgent, **RABBITMQ)
    assert warning.startswith("celery_app: mail.send have a priority")
    assert found(worker(), tasks=urgent, **RABBITMQ, priority_queues=["mail"]) == ([], [])


def test_many_tasks_are_a_few_names_and_a_number() -> None:
    tasks = [task(name=f"mail.{number}", **EARLY) for number in range(8)]
    _, (warning,) = found(worker(stop_timeout=5), tasks=tasks)
    assert "mail.0, mail.1, mail.2, mail.3, mail.4 and 3 more may run longer" in warning
