"""Records how each task ended, for the tasks page and in the row whose work it was."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import Task, current_app
from celery.app.task import Context
from celery.exceptions import Retry
from celery.signals import task_failure, task_postrun, task_prerun, task_retry, task_unknown
from django.utils import timezone

from core import outbox, tracing
from core.models import TaskRun

logger = logging.getLogger(__name__)
RECORDS_LOST_RUNS = "core.tasks.record_lost_run"
started: dict[str, float] = {}


@task_prerun.connect
def note_start(task_id: str, **kwargs: Any) -> None:
    started[task_id] = time.monotonic()


@task_postrun.connect
def note_end(task_id: str, task: "Task[..., Any]", state: str | None = None, **kwargs: Any) -> None:
    seconds = time.monotonic() - started.pop(task_id, time.monotonic())
    record(**described(task.name, task.request), state=state or "REJECTED", seconds=seconds)


@task_failure.connect
def note_failure(
    sender: "Task[..., Any]", task_id: str, exception: BaseException, args: Sequence[Any], **kwargs: Any
) -> None:
    """The task has failed for good. Its row shows why; one that cost its worker the process is not sent again."""
    if isinstance(exception, TimeLimitExceeded) and sender.request.id is None:
        return  # Celery tells it twice, the second time without the request
    reason = f"{type(exception).__name__}: {exception}"
    logger.critical("%s[%s] failed for good: %s", sender.name, task_id, reason, exc_info=exception)
    if isinstance(exception, WorkerLostError | TimeLimitExceeded):
        report_lost_run(described(sender.name, sender.request), "FAILURE", args, reason)
    elif (rows := outbox.rows_of(sender.name, args)) is not None:
        outbox.note_error(rows, reason=reason)


@task_unknown.connect
def note_unknown(name: str, id: str, message: Any, **kwargs: Any) -> None:
    """A message that names no task of this release; the worker throws it away."""
    with tracing.speaking_of(task=name, task_id=id, headers=message.headers):
        logger.critical("%s[%s] is unknown here: its message is dropped", name, id)


@task_retry.connect
def note_retry(sender: "Task[..., Any]", request: Context, reason: object, **kwargs: Any) -> None:
    if isinstance(reason, Retry) and isinstance(reason.exc, WorkerLostError):
        report_lost_run(described(sender.name, request), "RETRY", request.args or (), str(reason.exc))


def report_lost_run(run: dict[str, Any], state: str, args: Sequence[Any], reason: str) -> None:
    """Lets a task record a run whose process is gone: this is the worker's main process, which must not wait for the
    database, nor leave connections to the children it forks."""
    values = {"run": {**run, "state": state}, "args": list(args), "reason": reason}
    if run["name"] != RECORDS_LOST_RUNS:
        current_app.send_task(RECORDS_LOST_RUNS, kwargs=values)


def record_lost_run(*, run: dict[str, Any], args: Sequence[Any], reason: str) -> None:
    """Records a run whose process was lost; if it was the last one, its row needs attention."""
    record(**run, seconds=0)
    rows = outbox.rows_of(run["name"], args) if run["state"] == "FAILURE" else None
    if rows is not None:
        outbox.need_attention(rows, reason=reason)


def described(name: str, request: Context) -> dict[str, Any]:
    """What a record says of a run, whatever became of it."""
    return {
        "name": name,
        "task_id": request.id,
        "queue": (request.delivery_info or {}).get("routing_key") or "",
        "retries": request.retries or 0,
        "worker": request.hostname or "",
    }


def record(*, name: str, state: str, seconds: float, **values: Any) -> None:
    if name.startswith("celery."):
        return
    run = TaskRun(name=name, state=state, seconds=seconds, finished_at=timezone.now(), **values)
    # A message delivered twice is the same attempt.
    unique, fields = ["task_id", "retries"], ["state", "seconds", "worker", "finished_at"]
    TaskRun.objects.bulk_create([run], update_conflicts=True, unique_fields=unique, update_fields=fields)
