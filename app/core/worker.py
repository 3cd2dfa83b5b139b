"""What a worker's main process counts of its tasks, and tells the web servers by way of the cache.

The main process, because it outlives a task that kills its child; the cache, because no worker listens on a port.
"""

import logging
import threading
import time
from datetime import UTC, datetime
from typing import Any

from celery.exceptions import Ignore
from celery.signals import before_task_publish, worker_ready, worker_shutdown
from celery.worker.consumer import Consumer
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

from core import outbox, snapshots
from core.conf import setting
from core.tracing import Request

logger = logging.getLogger(__name__)

PUBLISHED_AT = "published_at"  # header of a message: seconds since the epoch
BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 1800)  # seconds; above, no task is let run
LAST_REPORT = 5  # seconds a worker that ends waits for it
# By routing key, when the youngest message was published that this worker took: what the sweep asks for.
TAKEN: dict[str, float] = {}
FIGURES = CollectorRegistry()
disable_created_metrics()  # type: ignore[no-untyped-call]
RUNS = Counter("celery_task_runs", "Task runs that ended.", ["name", "state"], registry=FIGURES)
DURATION = Histogram(
    "celery_task_duration_seconds", "From start to end of a run.", ["name"], buckets=BUCKETS, registry=FIGURES
)
QUEUED = Histogram(
    "celery_task_queued_seconds",
    "From when a task was sent, or was due if that is later, to its start.",
    ["queue"],
    buckets=BUCKETS,
    registry=FIGURES,
)
# What Celery makes known of a request that ends; of some ends it says nothing.
STATES = {
    "task-succeeded": "SUCCESS",
    "task-failed": "FAILURE",
    "task-retried": "RETRY",
    "task-cancelled": "RETRY",
    "task-revoked": "REVOKED",
}


@before_task_publish.connect
def note_publication(headers: dict[str, Any], **kwargs: object) -> None:
    headers[PUBLISHED_AT] = time.time()


def waited(*, published_at: float, eta: datetime | None, started_at: float) -> float:
    """Seconds a message waited for a worker: not those until it was due, and none if the publisher's clock is ahead.

    published_at, started_at: seconds since the epoch.
    """
    due_at = max(published_at, eta.timestamp()) if eta else published_at
    return max(started_at - due_at, 0)


class CountedRequest(Request):
    """A message as the worker's main process handles it: counted once, however its run ends."""

    accepted_at: float | None = None  # monotonic
    is_counted = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Celery derives a class for each task, whose on_success does not call its base's."""
        super().__init_subclass__(**kwargs)
        derived = cls.on_success

        def on_success(self: "CountedRequest", *args: Any, **options: Any) -> None:
            derived(self, *args, **options)
            self.count("SUCCESS")

        setattr(cls, "on_success", on_success)  # noqa: B010  a plain assignment is refused by mypy

    def on_accepted(self, pid: str, time_accepted: float) -> None:
        super().on_accepted(pid, time_accepted)
        self.accepted_at = time_accepted
        published_at = self.request_dict.get(PUBLISHED_AT)
        if published_at is not None:  # another project's message may come without
            routing_key = self.delivery_info["routing_key"] or ""
            TAKEN[routing_key] = max(published_at, TAKEN.get(routing_key, 0))
            started_at = time.time() - (time.monotonic() - time_accepted)
            seconds = waited(published_at=published_at, eta=self.eta, started_at=started_at)
            QUEUED.labels(routing_key).observe(seconds)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> None:
        try:
            super().on_failure(exc_info, *args, **kwargs)
        finally:
            # Pools of threads wrap the exception.
            exception = getattr(exc_info.exception, "exc", exc_info.exception)
            self.count("IGNORED" if isinstance(exception, Ignore) else "FAILURE")

    def send_event(self, type: str, **fields: Any) -> None:
        if type in STATES:
            self.count(STATES[type])
        elif type == "task-rejected" and fields["requeue"]:
            self.count("REJECTED")
        super().send_event(type, **fields)

    def count(self, state: str) -> None:
        if self.is_counted:
            return
        self.is_counted = True
        RUNS.labels(self.task.name, state).inc()
        if self.accepted_at is not None:
            DURATION.labels(self.task.name).observe(time.monotonic() - self.accepted_at)


class Reporter(threading.Thread):
    """Leaves the worker's figures in the cache, every few seconds and at its end. A cache that is away delays no task."""

    def __init__(self, worker: str) -> None:
        super().__init__(name="reporter", daemon=True)
        self.worker = worker
        self.is_over = threading.Event()
        self.is_failing = False

    def run(self) -> None:
        self.report()
        while not self.is_over.wait(setting("WORKER_REPORT_INTERVAL")):
            self.report()
        self.report()

    def report(self) -> None:
        is_up = not self.is_over.is_set()
        try:
            snapshots.save(self.worker, figures=generate_latest(FIGURES).decode(), is_up=is_up)
            for routing_key, published_at in list(TAKEN.items()):
                outbox.note_taken(routing_key=routing_key, published_at=datetime.fromtimestamp(published_at, UTC))
        except Exception as error:
            if not self.is_failing:  # once, not every few seconds
                logger.error("the worker's figures are not reported: %s", type(error).__name__)
            self.is_failing = True
        else:
            self.is_failing = False

    def stop(self, **kwargs: object) -> None:
        self.is_over.set()
        self.join(timeout=LAST_REPORT)


@worker_ready.connect
def start_reporting(sender: Consumer, **kwargs: object) -> None:
    reporter = Reporter(sender.hostname)
    reporter.start()
    # Sent when the pool is gone: what its last tasks did is counted.
    worker_shutdown.connect(reporter.stop, weak=False)
