"""What a log line or an error report is about: the request that caused the work, and the task.

django-guid keeps the request's id, and takes it along in the header X-Request-ID of each message. A worker's main process,
which runs no task itself, is told here which task it speaks of.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from celery import current_task
from celery.contrib.django.task import DjangoTask
from celery.signals import task_received
from celery.worker import request as celery_request
from django_guid.context import guid

from core.conf import setting

HEADER = "X-Request-ID"
logger = logging.getLogger(__name__)
# Name and id of the task the worker's main process is busy with.
subject: ContextVar[tuple[str, str] | None] = ContextVar("subject", default=None)


def subjects() -> dict[str, str]:
    """`request_id`, `task` and `task_id`, as far as there are any."""
    name, task_id = subject.get() or ("", "")
    if current_task and current_task.request.id:
        name, task_id = current_task.name or "", current_task.request.id
    found = {"request_id": guid.get(), "task": name, "task_id": task_id}
    return {key: value for key, value in found.items() if value}


class Subjects(logging.Filter):
    """Gives each log record what it is about, as attributes."""

    def filter(self, record: logging.LogRecord) -> bool:
        vars(record).update(subjects())
        # gunicorn writes when the request is over: its id is in the answer then.
        if record.name == "gunicorn.access" and isinstance(record.args, dict):
            record.request_id = record.args["{x-request-id}o"]
        return True


@contextmanager
def speaking_of(*, task: str, task_id: str, headers: Mapping[str, Any]) -> Iterator[None]:
    """What the worker's main process logs and sends within is about the task of this name, id and message headers."""
    tokens = subject.set((task, task_id)), guid.set(headers.get(HEADER))
    try:
        yield
    finally:
        subject.reset(tokens[0])
        guid.reset(tokens[1])


class Request(celery_request.Request):
    """A message as the worker's main process handles it."""

    def speaking_of(self) -> AbstractContextManager[None]:
        return speaking_of(task=self.name, task_id=self.id, headers=self.request_dict)

    def on_timeout(self, *args: Any, **kwargs: Any) -> None:
        with self.speaking_of():
            super().on_timeout(*args, **kwargs)

    def on_failure(self, *args: Any, **kwargs: Any) -> None:
        with self.speaking_of():
            super().on_failure(*args, **kwargs)

    def revoked(self) -> bool:
        with self.speaking_of():
            return bool(super().revoked())


class TracedTask(DjangoTask):  # type: ignore[type-arg]  # generic in the stub alone, not while it runs
    """The base of every task of the project."""

    abstract = True
    Request = "core.worker:CountedRequest"

    @property
    def default_retry_delay(self) -> float:  # type: ignore[override]  # read late: Django's settings import this module
        """Seconds before a task whose process was killed runs again, unless an annotation says more."""
        return float(setting("RETRY_BACKOFF_BASE") * 10)


@task_received.connect
def log_received(request: celery_request.Request, **kwargs: object) -> None:
    """In place of Celery's own line, which cannot know the request."""
    with speaking_of(task=request.name, task_id=request.id, headers=request.request_dict):
        logger.info("received")
