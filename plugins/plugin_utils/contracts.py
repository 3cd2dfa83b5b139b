"""What an app expects of its workers, held against the workers that it gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.processes import (
    NO_USE_IN_POOL,
    messages_ahead,
    pool_of,
    stop_timeout,
)
from packaging.version import Version

# Brokers that hand out a message again that nobody has acknowledged for so long.
WITH_VISIBILITY = ("redis", "sqs")
RABBITMQ = "amqp"
# The first Celery that asks for messages queue by queue, as quorum queues want it.
WITH_QUORUM_QUEUES = Version("5.5")
# So many names make a sentence.
NAMED = 5


def contracts(
    facts: Mapping[str, Any],
    workers: Iterable[Mapping[str, Any]],
    foreign_queues: Iterable[str] = (),
    consumer_timeout: int = 0,
) -> tuple[list[str], list[str]]:
    """What cannot work, and what may lose or repeat work; a sentence each, which begins with the variable and ends with the fix.

    Args:
        facts: what roles/celery/files/stockpot_app.py prints.
        workers: all of the fleet, complete.
        foreign_queues: `celery_foreign_queues`.
        consumer_timeout: seconds for which RabbitMQ lets a worker keep a message; 0 where that is not known.
    """
    workers = list(workers)
    problems = [
        *_queues(facts, workers, foreign_queues),
        *_visibility(facts, workers),
        *_consumer_timeout(facts, workers, consumer_timeout),
        *_quorum_queues(facts),
        *_broker_tls(facts),
    ]
    return problems, [
        *_priorities(facts),
        *_overruled(facts, workers),
        *_unlimited(facts, workers),
        *_cut(facts, workers),
        *_deaf(facts),
    ]


def _queues(facts: Mapping[str, Any], workers: Sequence[Mapping[str, Any]], foreign_queues: Iterable[str]) -> list[str]:
    consumed = {queue for worker in workers for queue in worker["queues"]}.union(foreign_queues)
    return [
        f"celery_workers: no worker consumes the queue {queue!r} ({why}), so its tasks would wait for ever. Add it to a worker's `queues`, or to "
        "celery_foreign_queues if others consume it."
        for queue, why in sorted(facts["queues"].items())
        if queue not in consumed
    ]


def _visibility(facts: Mapping[str, Any], workers: Sequence[Mapping[str, Any]]) -> list[str]:
    """A message that is acknowledged late is handed out again when its time is over, though its task still runs."""
    visibility = _visibility_timeout(facts)
    if not visibility:
        return []
    too_long: dict[tuple[float, str], list[str]] = {}
    for task, worker in _runs(facts, workers):
        limit = _limit(task, worker, facts)
        if task["acks_late"] and limit and limit >= visibility:
            too_long.setdefault((limit, worker["name"]), []).append(task["name"])
    return [
        f"celery_visibility_timeout: the project's visibility_timeout is {visibility:g} s, but {_named(names)} may run {limit:g} s in the worker "
        f"{worker}, and would be handed to a second one meanwhile. Raise it in the project's broker_transport_options (app/ reads "
        "CELERY_VISIBILITY_TIMEOUT), or lower the time_limit."
        for (limit, worker), names in too_long.items()
    ]


def _consumer_timeout(
    facts: Mapping[str, Any], workers: Sequence[Mapping[str, Any]], consumer_timeout: int
) -> list[str]:
    """RabbitMQ counts from when it hands a message to a worker, where it may wait for those before it."""
    if facts["broker"] != RABBITMQ or not consumer_timeout:
        return []
    too_long: dict[tuple[float, str], list[str]] = {}
    for task, worker in _runs(facts, workers):
        seconds = _limit(task, worker, facts) * messages_ahead(worker)
        if task["acks_late"] and seconds >= consumer_timeout:
            too_long.setdefault((seconds, worker["name"]), []).append(task["name"])
    return [
        f"celery_visibility_timeout: RabbitMQ gives a message to another worker after {consumer_timeout} s, but {_named(names)} may be {seconds:g} s "
        f"in the worker {worker}, where a process may hold one message of each queue, times prefetch_multiplier. Raise celery_visibility_timeout, "
        "or lower the time_limit."
        for (seconds, worker), names in too_long.items()
    ]


def _quorum_queues(facts: Mapping[str, Any]) -> list[str]:
    names = facts["quorum_queues"]
    if facts["broker"] != RABBITMQ or not names:
        return []
    if Version(facts["celery"]) < WITH_QUORUM_QUEUES:
        return [
            f"celery_app: the project declares {_named(names)} as quorum queues, but of Celery {facts['celery']} RabbitMQ refuses to hand out their "
            f"messages (global QoS): lock Celery {WITH_QUORUM_QUEUES} or later, or declare classic queues."
        ]
    if not facts["detects_quorum_queues"]:
        return [
            f"celery_app: the project declares {_named(names)} as quorum queues, but its worker_detect_quorum_queues is off, so RabbitMQ would refuse "
            "to hand out their messages (global QoS): take that setting out."
        ]
    return []


def _broker_tls(facts: Mapping[str, Any]) -> list[str]:
    """What the address begins with encrypts, and no more."""
    if facts["broker_is_known"]:
        return []
    return [
        "celery_app: the project reaches RabbitMQ by amqps and takes any certificate for RabbitMQ's: give its broker_use_ssl cert_reqs "
        "(ssl.CERT_REQUIRED), ca_certs and server_hostname, of CELERY_BROKER_CA and CELERY_BROKER_TLS_NAME in app_connections, as "
        "app/config/settings.py does; None for either is the system's authorities, and the address's own name."
    ]


def _priorities(facts: Mapping[str, Any]) -> list[str]:
    """With RabbitMQ, a number has an effect in a queue that is declared for it alone, and the highest is the first, not the lowest."""
    names = [
        task["name"]
        for task in facts["tasks"]
        if task["priority"] is not None and task["queue"] not in facts["priority_queues"]
    ]
    if facts["broker"] != RABBITMQ or not names:
        return []
    return [
        f"celery_app: {_named(names)} have a priority, which has no effect in a queue of RabbitMQ's without x-max-priority, and quorum queues cannot "
        "have that. Send what is urgent to a queue of its own, as app/ does."
    ]


def _unlimited(facts: Mapping[str, Any], workers: Sequence[Mapping[str, Any]]) -> list[str]:
    visibility = _visibility_timeout(facts)
    names = [
        task["name"] for task, worker in _runs(facts, workers) if task["acks_late"] and not _limit(task, worker, facts)
    ]
    return (
        [
            f"celery_workers: {_named(names)} may run for any time: after {visibility:g} s, the visibility_timeout, a second worker would get the "
            "same task while it runs. Give the worker a time_limit below that; in the pools threads and solo nothing ends a task."
        ]
        if names and visibility
        else []
    )


def _cut(facts: Mapping[str, Any], workers: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a stop cuts is lost where its message is acknowledged before it runs."""
    found: dict[str, list[str]] = {}
    for task, worker in _runs(facts, workers):
        limit = _limit(task, worker, facts)
        if not task["acks_late"] and (not limit or limit > stop_timeout(worker)):
            found.setdefault(worker["name"], []).append(task["name"])
    return [
        f"celery_workers: {_named(names)} may run longer than the {stop_timeout(worker)} s that a stop of the worker {worker['name']} waits, and "
        "is lost when it is cut, as acks_late is off. Set acks_late where it may run twice; or give the worker a time_limit below its "
        "stop_timeout."
        for worker in workers
        if (names := found.get(worker["name"], []))
    ]


def _overruled(facts: Mapping[str, Any], workers: Sequence[Mapping[str, Any]]) -> list[str]:
    """From Celery 5.7 a task has its app's limit for its own, and sends it along: the worker's is for those without one."""
    return [
        f"celery_workers: {key} of the worker {worker['name']} is {worker[key]:g} s, but the project's setting task_{key} makes it "
        f"{facts[key]:g} s for {_named(names)}, as the Celery it has takes that for the tasks' own. Take task_{key} out of the project's settings."
        for worker in workers
        for key in ("time_limit", "soft_time_limit")
        if facts[key] and worker.get(key, facts[key]) != facts[key]
        if (names := [task["name"] for task, _ in _runs(facts, [worker]) if task[key] == facts[key]])
    ]


def _deaf(facts: Mapping[str, Any]) -> list[str]:
    if not facts["retry_on_timeout"] or facts["broker"] != "redis":
        return []
    return [
        "celery_app: the project's broker_transport_options say retry_on_timeout: a worker whose connection to Redis breaks may never take a task "
        "again, though it runs. Take the line out; Celery connects again by itself."
    ]


def _visibility_timeout(facts: Mapping[str, Any]) -> float:
    return float(facts["visibility_timeout"] or 0) if facts["broker"] in WITH_VISIBILITY else 0.0


def _runs(
    facts: Mapping[str, Any], workers: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each task with each worker that may run it."""
    return [(task, worker) for task in facts["tasks"] for worker in workers if task["queue"] in worker["queues"]]


def _limit(task: Mapping[str, Any], worker: Mapping[str, Any], facts: Mapping[str, Any]) -> float:
    """Seconds after which a task is ended in a worker; 0 for never."""
    if "time_limit" in NO_USE_IN_POOL[pool_of(worker)]:
        return 0.0
    return float(task["time_limit"] or worker.get("time_limit") or facts["time_limit"] or 0)


def _named(names: Sequence[str]) -> str:
    """Some names in a sentence, each once."""
    names = list(dict.fromkeys(names))
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
