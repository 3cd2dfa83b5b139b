"""Tasks that end in every way a task can."""

import contextlib
import os
import signal
import time

from celery import Task, shared_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from django.core.cache import cache


@shared_task
def succeed() -> None:
    pass


@shared_task
def fail() -> None:
    raise ValueError("as it should")


@shared_task(bind=True, max_retries=1)
def retry(self: "Task[..., None]") -> None:
    raise self.retry(countdown=0.1)


@shared_task
def ignore() -> None:
    raise Ignore


@shared_task
def put_back_once() -> None:
    if cache.add("put-back", "once"):
        raise Reject(requeue=True)


@shared_task(bind=True, max_retries=1)
def kill_its_process(self: "Task[..., None]") -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(soft_time_limit=1, time_limit=2)
def take_too_long() -> None:
    while True:
        with contextlib.suppress(SoftTimeLimitExceeded):
            time.sleep(60)
