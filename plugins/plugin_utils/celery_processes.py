"""Ansible filters: the list of Celery workers, and Beat, become process definitions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

WHERE = "celery_workers (group_vars/all/celery.yml)"
POOLS = ("prefork", "solo", "threads")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# Without any time limit a task gets this long to end when its worker is stopped; seconds.
STOP_TIMEOUT = 600
# Above a task's own limit, so that the limit and not the stop ends it; seconds.
STOP_MARGIN = 30
# What Celery takes to give unfinished tasks back after SIGQUIT, at most; seconds.
QUIT_TIMEOUT = 30

KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "queues": list,
    "hosts": list,
    "concurrency": int,
    "autoscale": list,
    "pool": str,
    "prefetch_multiplier": int,
    "max_tasks_per_child": int,
    "max_memory_per_child": int,
    "time_limit": (int, float),
    "soft_time_limit": (int, float),
    "stop_timeout": int,
    "memory_max": str,
    "loglevel": str,
    "options": list,
    "environment": dict,
}
PREFORK_ONLY = ("autoscale", "max_tasks_per_child", "max_memory_per_child", "time_limit", "soft_time_limit")
POSITIVE = (
    "concurrency",
    "max_tasks_per_child",
    "max_memory_per_child",
    "time_limit",
    "soft_time_limit",
    "stop_timeout",
)


def worker_problems(
    workers: Iterable[Any], defaults: Mapping[str, Any] | None = None, routed_queues: Iterable[str] = ()
) -> list[str]:
    """What is wrong with a list of workers.

    Args:
        workers: `celery_workers`, all of them.
        defaults: `celery_worker_defaults`, keys that every worker gets unless it has its own.
        routed_queues: queues that need a worker.

    Returns:
        A sentence for each mistake, with the place and the fix; empty when there is none.
    """
    found: list[str] = []
    names: set[str] = set()
    consumed: set[str] = set()
    for position, worker in enumerate(workers, start=1):
        if not isinstance(worker, Mapping):
            found.append(f"{WHERE}: entry {position} is {worker!r}; write it as {{name: ..., queues: [...]}}.")
            continue
        name = worker.get("name")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            found.append(
                f"{WHERE}: entry {position} has the name {name!r}; give it one of letters, digits, dashes and underscores."
            )
            continue
        if name in names:
            found.append(f"{WHERE}: two workers are named {name!r}; give each its own name.")
        names.add(name)
        whole = _whole(worker, defaults)
        found += [f"{WHERE}: worker {name!r}: {problem}" for problem in _problems(whole)]
        if isinstance(whole.get("queues"), list):
            consumed |= {str(queue) for queue in whole["queues"]}
    found += [
        f"{WHERE}: no worker consumes the queue {queue!r} of celery_routed_queues; add it to a worker's `queues`."
        for queue in routed_queues
        if queue not in consumed
    ]
    return found


def _whole(worker: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> dict[str, Any]:
    """A worker with the defaults it does not replace; its own concurrency replaces a default autoscale and the other way round."""
    whole = {**(defaults or {}), **worker}
    for own, default in (("concurrency", "autoscale"), ("autoscale", "concurrency")):
        if own in worker and default not in worker:
            whole.pop(default, None)
    return whole


def _problems(worker: Mapping[str, Any]) -> list[str]:
    found = []
    for key, value in worker.items():
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(KEYS)}."
            found.append(f"unknown key {key!r}; {hint}")
        elif not isinstance(value, KEYS[key]) or isinstance(value, bool):
            kind = {str: "text", list: "a list", int: "a whole number", dict: "a dictionary"}.get(KEYS[key], "a number")
            found.append(f"{key} is {value!r}; it has to be {kind}.")
    if found:
        return found
    if not worker.get("queues"):
        found.append("it has no queues; list at least one in `queues`.")
    found += [
        f"the queue {queue!r} is no name for a queue; use text without commas and spaces."
        for queue in worker.get("queues", [])
        if not isinstance(queue, str) or not re.fullmatch(r"[^\s,]+", queue)
    ]
    pool = worker.get("pool", "prefork")
    if pool not in POOLS:
        found.append(f"the pool is {pool!r}; choose one of {', '.join(POOLS)}.")
    elif pool != "prefork":
        found += [
            f"{key} has no effect in the pool {pool!r}; remove it or use prefork."
            for key in PREFORK_ONLY
            if key in worker
        ]
    if pool == "solo" and worker.get("concurrency", 1) != 1:
        found.append("the pool 'solo' runs one task at a time; remove concurrency or use another pool.")
    found += [
        f"{key} is {worker[key]}; it has to be above 0." for key in POSITIVE if key in worker and worker[key] <= 0
    ]
    if worker.get("prefetch_multiplier", 1) < 0:
        found.append("prefetch_multiplier is below 0; use 1, or 0 for no limit.")
    if "autoscale" in worker:
        scale = worker["autoscale"]
        if "concurrency" in worker:
            found.append("concurrency and autoscale exclude each other; remove one.")
        if len(scale) != 2 or not all(isinstance(n, int) and n > 0 for n in scale) or scale[0] < scale[1]:
            found.append(f"autoscale is {scale!r}; it has to be [most, fewest] processes.")
    soft, hard = worker.get("soft_time_limit"), worker.get("time_limit")
    if soft and hard and soft >= hard:
        found.append(
            f"soft_time_limit ({soft}) has to be below time_limit ({hard}), or tasks are killed without a warning."
        )
    if soft and "stop_timeout" in worker and worker["stop_timeout"] <= soft:
        found.append(
            f"stop_timeout ({worker['stop_timeout']}) has to be above soft_time_limit ({soft}), or restarts cut tasks short."
        )
    if worker.get("loglevel", "INFO") not in LEVELS:
        found.append(f"the loglevel is {worker['loglevel']!r}; choose one of {', '.join(LEVELS)}.")
    return found


def celery_processes(
    workers: Iterable[Mapping[str, Any]],
    *,
    application: str,
    app: str,
    release_path: str,
    user: str,
    environment_file: str,
    defaults: Mapping[str, Any] | None = None,
    routed_queues: Iterable[str] = (),
    writable_paths: Iterable[str] = (),
    state_directory: str = "",
    host: str = "",
    run_workers: bool = True,
    beat: bool = False,
    beat_scheduler: str = "",
    beat_remote_control: bool = True,
    beat_loglevel: str = "INFO",
    beat_memory_max: str = "",
) -> list[dict[str, Any]]:
    """The process definitions of one host's workers and, where it runs here, of Beat.

    Args:
        workers: `celery_workers`, all of them.
        application: begins the units' names.
        app: what `celery -A` is given.
        release_path: the folder with `venv/` and `source/`.
        user: runs them; its group has the same name.
        environment_file: loaded by all of them.
        defaults: keys that every worker gets unless it has its own.
        routed_queues: queues that need a worker.
        writable_paths: folders that tasks may write to, besides the state directory.
        state_directory: below /var/lib; empty for none.
        host: this host's inventory name, looked up in a worker's `hosts`.
        run_workers: whether this host runs workers at all.
        beat: whether this host runs Beat.
        beat_scheduler: Beat's scheduler class.
        beat_remote_control: whether Beat answers `celery inspect ping`.
        beat_loglevel: what Beat logs.
        beat_memory_max: Beat's memory limit, as systemd writes it; empty for none.

    Raises:
        AnsibleFilterError: the list of workers is wrong; names every mistake and its fix.
    """
    workers = list(workers)
    problems = worker_problems(workers, defaults, routed_queues)
    if problems:
        raise AnsibleFilterError("\n".join(problems))
    common = {
        "user": user,
        "group": user,
        "directory": f"{release_path}/source",
        "environment_files": [environment_file],
        "writable_paths": list(writable_paths),
        "state_directory": state_directory,
        "type": "exec",
        "restart": "always",
        "restart_delay": 2,
    }
    # `python -m` puts the project's folder on the module path for any project, where the `celery` program does it for Django alone.
    celery = [f"{release_path}/venv/bin/python", "-m", "celery", "-A", app]
    definitions = []
    for given in workers if run_workers else []:
        worker = _whole(given, defaults)
        if "hosts" in worker and host not in worker["hosts"]:
            continue
        limit = max(worker.get("time_limit", 0), worker.get("soft_time_limit", 0))
        definitions.append(
            {
                **common,
                "name": f"worker-{worker['name']}",
                "phase": "workers",
                "description": f"{application}: Celery worker {worker['name']} ({', '.join(worker['queues'])})",
                "command": [*celery, "worker", *_worker_options(worker)],
                "environment": dict(worker.get("environment", {})),
                # Warm shutdown: takes no more work and ends what it has; then cold: gives back what is not acknowledged.
                "stop_signal": "SIGTERM",
                "stop_timeout": worker.get("stop_timeout", int(limit) + STOP_MARGIN if limit else STOP_TIMEOUT),
                "quit_signal": "SIGQUIT",
                "kill_timeout": QUIT_TIMEOUT,
                "memory_max": worker.get("memory_max", ""),
            }
        )
    if beat:
        definitions.append(
            {
                **common,
                "name": "beat",
                "phase": "scheduler",
                "description": f"{application}: Celery Beat",
                "command": [
                    *celery,
                    "beat",
                    *(["--scheduler", beat_scheduler] if beat_scheduler else []),
                    *(["--enable-remote-control", "--hostname", "celerybeat@%h"] if beat_remote_control else []),
                    # systemd runs one; a pidfile that outlives a power cut would stop Beat from starting.
                    "--pidfile=",
                    "--loglevel",
                    beat_loglevel,
                ],
                "environment": {},
                "stop_signal": "SIGTERM",
                "stop_timeout": 30,
                "memory_max": beat_memory_max,
            }
        )
    return definitions


def _worker_options(worker: Mapping[str, Any]) -> list[str]:
    options = [
        *("--hostname", f"{worker['name']}@%h"),
        *("--queues", ",".join(worker["queues"])),
        *("--pool", worker.get("pool", "prefork")),
        *("--prefetch-multiplier", str(worker.get("prefetch_multiplier", 1))),
        # A task goes to a process that is free, never behind a long one.
        *("-O", "fair"),
        # Workers need nothing from each other; without these two they start sooner and chat less. Heartbeats stay: Flower shows
        # by them who is alive.
        *("--without-mingle", "--without-gossip"),
        *("--loglevel", worker.get("loglevel", "INFO")),
    ]
    if "autoscale" in worker:
        options += ["--autoscale", ",".join(map(str, worker["autoscale"]))]
    for key in ("concurrency", "max_tasks_per_child", "max_memory_per_child", "time_limit", "soft_time_limit"):
        if key in worker:
            options += [f"--{key.replace('_', '-')}", str(worker[key])]
    return [*options, *map(str, worker.get("options", []))]


def celery_checks(
    definitions: Iterable[Mapping[str, Any]], workers: Iterable[Mapping[str, Any]], *, application: str
) -> list[dict[str, Any]]:
    """What the canary expects of this host's workers: unit, node name and queues of each.

    Args:
        definitions: `celery_processes`.
        workers: `celery_workers`.
        application: begins the units' names.
    """
    names = {definition["name"] for definition in definitions}
    return [
        {
            "name": worker["name"],
            "unit": f"{application}-worker-{worker['name']}.service",
            "node": f"{worker['name']}@%h",
            "queues": list(worker["queues"]),
        }
        for worker in workers
        if f"worker-{worker['name']}" in names
    ]
