"""Records how each task ended: a row for the tasks page and totals for Prometheus.

The totals live in the shared cache because workers are many processes on many hosts and none of them listens on a port.
"""

import time
from typing import Any

from celery import Task, current_app
from celery.signals import task_postrun, task_prerun
from django.core.cache import cache
from django.utils import timezone

from core.models import TaskRun

STATES = ("SUCCESS", "FAILURE", "RETRY", "REJECTED", "IGNORED")
started: dict[str, float] = {}


@task_prerun.connect
def note_start(task_id: str, **kwargs: Any) -> None:
    started[task_id] = time.monotonic()


@task_postrun.connect
def record_run(task_id: str, task: "Task[..., Any]", state: str | None = None, **kwargs: Any) -> None:
    seconds = time.monotonic() - started.pop(task_id, time.monotonic())
    if task.name.startswith("celery."):
        return
    state = state or "REJECTED"
    run = TaskRun(
        task_id=task_id,
        name=task.name,
        queue=(task.request.delivery_info or {}).get("routing_key") or "",
        state=state,
        retries=task.request.retries or 0,
        seconds=seconds,
        worker=task.request.hostname or "",
        finished_at=timezone.now(),
    )
    # A message delivered twice is the same attempt.
    unique, fields = ["task_id", "retries"], ["state", "seconds", "worker", "finished_at"]
    TaskRun.objects.bulk_create([run], update_conflicts=True, unique_fields=unique, update_fields=fields)
    add(f"task-count:{task.name}:{state}", 1)
    add(f"task-milliseconds:{task.name}:{state}", round(seconds * 1000))


def add(key: str, amount: int) -> None:
    cache.add(key, 0, timeout=None)
    cache.incr(key, amount)


def totals() -> list[tuple[str, str, int, float]]:
    """Of each task and state: its name, the state, how often it ended so, and the seconds it took altogether."""
    names = [(name, state) for name in sorted(current_app.tasks) for state in STATES if not name.startswith("celery.")]
    found = cache.get_many([f"task-{figure}:{n}:{s}" for n, s in names for figure in ("count", "milliseconds")])
    return [
        (name, state, count, found.get(f"task-milliseconds:{name}:{state}", 0) / 1000)
        for name, state in names
        if (count := found.get(f"task-count:{name}:{state}"))
    ]
