"""Rules of the role celery."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import environment_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.processes import (
    NO_USE_IN_POOL,
    WATCH_TIMES,
    complete_workers,
    instances,
    pool_of,
)
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.memory import limit_megabytes
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.patterns import limit_problems
from packaging.version import InvalidVersion, Version

OLDEST = Version("5.2")
# Two looks of the watch and a half; seconds.
SHORTEST_PATIENCE = 25
# A worker with one of these is a Beat, too.
EMBEDDED_BEAT = ("-B", "--beat")
POSITIVE = (
    "instances",
    "concurrency",
    "max_tasks_per_child",
    "max_memory_per_child",
    "time_limit",
    "soft_time_limit",
    "stop_timeout",
)


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the workers and their queues."""
    if version := _version(given["celery_version"]):
        return [version]
    workers = complete_workers(given)
    names = Counter(worker["name"] for worker in instances(workers))
    found = [
        f"celery_workers: {count} workers are named {name!r}; give each its own name."
        for name, count in names.items()
        if count > 1
    ]
    found += [
        f"celery_workers: worker {worker['name']!r}: {problem}" for worker in workers for problem in _problems(worker)
    ]
    for name in ("celery_environment", "celery_beat_environment"):
        found += environment_problems(given[name], name)
    for worker in workers:
        where = f"celery_workers: worker {worker['name']!r}: environment"
        found += environment_problems(worker.get("environment", {}), where)
    found += limit_problems(given, "celery_beat_")
    found += _watch(given)
    consumed = {queue for worker in workers for queue in worker["queues"]}
    found += [
        f"celery_routed_queues: no worker consumes {queue!r}; add it to the `queues` of a worker in celery_workers."
        for queue in given["celery_routed_queues"]
        if queue not in consumed
    ]
    return found


def _watch(given: Mapping[str, Any]) -> list[str]:
    found = []
    patience, metrics = given["celery_watch_patience"], given["celery_watch_metrics_file"]
    if not SHORTEST_PATIENCE <= patience <= WATCH_TIMES["longest_patience"]:
        found.append(
            f"celery_watch_patience is {patience}; it has to be from {SHORTEST_PATIENCE} to {WATCH_TIMES['longest_patience']} seconds: a "
            "healthy worker may take some to answer."
        )
    if metrics and not re.fullmatch(r"/.+/[^/]+\.prom", metrics):
        found.append(
            f"celery_watch_metrics_file is {metrics}; it has to be an absolute path that ends in .prom, or empty: the node exporter "
            "reads no other."
        )
    return found


def _version(version: str) -> str:
    try:
        known = not version or Version(version) >= OLDEST
    except InvalidVersion:
        return f"celery_version is {version!r}: write it such as 5.6.3."
    return (
        ""
        if known
        else f"celery_version is {version}: Celery {OLDEST} and later are run. Lock a later one in the project."
    )


def _problems(worker: Mapping[str, Any]) -> list[str]:
    return [
        *_names(worker),
        *_pool(worker),
        *_numbers(worker),
        *_times(worker),
        *_beat(worker),
        *(limit_problems(worker) or _memory(worker)),
    ]


def _beat(worker: Mapping[str, Any]) -> list[str]:
    return [
        f"its options have {option}, a Beat in the worker: every host that runs it would send every schedule. Remove it, and set celery_beat "
        "for one host."
        for option in EMBEDDED_BEAT
        if option in worker.get("options", [])
    ]


def _names(worker: Mapping[str, Any]) -> list[str]:
    found = []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", worker["name"]):
        found.append("the name is no part of a unit's name; use letters, digits, dashes and underscores.")
    if not worker["queues"]:
        found.append("it has no queues; list at least one in `queues`.")
    found += [
        f"the queue {queue!r} is no name for a queue; use text without commas and spaces."
        for queue in worker["queues"]
        if not re.fullmatch(r"[^\s,]+", queue)
    ]
    return found


def _pool(worker: Mapping[str, Any]) -> list[str]:
    pool = pool_of(worker)
    return [
        f"{key} has no effect in the pool {pool!r}; remove it or use prefork."
        for key in NO_USE_IN_POOL[pool]
        if key in worker and (key, worker[key]) != ("concurrency", 1)
    ]


def _numbers(worker: Mapping[str, Any]) -> list[str]:
    found = [
        f"{key} is {worker[key]}; it has to be a number above 0."
        for key in POSITIVE
        if key in worker and (isinstance(worker[key], bool) or worker[key] <= 0)
    ]
    if worker.get("prefetch_multiplier", 1) < 0:
        found.append("prefetch_multiplier is below 0; use 1, or 0 for no limit.")
    if "autoscale" in worker:
        scale = worker["autoscale"]
        if "concurrency" in worker:
            found.append("concurrency and autoscale exclude each other; remove one.")
        if len(scale) != 2 or min(scale) < 1 or scale[0] < scale[1]:
            found.append(f"autoscale is {scale}; it has to be [most, fewest] processes.")
    return found


def _memory(worker: Mapping[str, Any]) -> list[str]:
    per_child, limit = worker.get("max_memory_per_child", 0), worker.get("memory_max", "")
    # What a percentage comes to is known on the host alone.
    megabytes = None if limit.endswith("%") else limit_megabytes(limit, 0)
    if megabytes is None or per_child < megabytes * 1024:
        return []
    return [
        f"max_memory_per_child ({per_child} KiB) has to be below memory_max ({limit}), or the kernel ends a process with its task before it "
        "is replaced; lower it, here or in celery_worker_defaults."
    ]


def _times(worker: Mapping[str, Any]) -> list[str]:
    found = []
    soft, hard, stop = (worker.get(key) for key in ("soft_time_limit", "time_limit", "stop_timeout"))
    if soft and hard and soft >= hard:
        found.append(
            f"soft_time_limit ({soft:g}) has to be below time_limit ({hard:g}), or tasks are killed without a warning."
        )
    if soft and stop and stop <= soft:
        found.append(f"stop_timeout ({stop}) has to be above soft_time_limit ({soft:g}), or restarts cut tasks short.")
    return found
