"""What an app expects of its workers, held against the workers that it gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.processes import NO_USE_IN_POOL, pool_of, stop_timeout

# Brokers that hand out a message again that nobody has acknowledged for so long.
WITH_VISIBILITY = ("redis", "sqs")
# So many names make a sentence.
NAMED = 5


def contracts(
    facts: Mapping[str, Any], workers: Iterable[Mapping[str, Any]], foreign_queues: Iterable[str] = ()
) -> tuple[list[str], list[str]]:
    """What cannot work, and what may lose or repeat work; a sentence each, which begins with the variable and ends with the fix.

    Args:
        facts: what roles/celery/files/stockpot_app.py prints.
        workers: all of the fleet, complete.
        foreign_queues: `celery_foreign_queues`.
    """
    workers = list(workers)
    problems = [*_queues(facts, workers, foreign_queues), *_visibility(facts, workers)]
    return problems, [
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
