"""The base of tasks that do the work of a row."""

import logging
from datetime import datetime
from typing import Any

from celery import Task
from celery.signals import task_prerun
from django.core.exceptions import ObjectDoesNotExist

from core import outbox
from core.models import outbox_models
from core.tracing import TracedTask

logger = logging.getLogger(__name__)


class RowTask(TracedTask):
    """Does an outbox row's work, or a step of it. Where the row was deleted meanwhile, nothing is left to do: "gone"."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except ObjectDoesNotExist as error:
            if type(error) not in {model.DoesNotExist for model in outbox_models()}:
                raise
            logger.info("the row is gone: nothing to do")
            return "gone"


@task_prerun.connect
def note_taken(task: "Task[..., Any]", **kwargs: object) -> None:
    """Tells the sweep how far the queue was served. A retry's message is younger than it says."""
    sent_at = task.request.get(outbox.SENT_AT)
    if sent_at and not task.request.retries:
        queue = (task.request.delivery_info or {}).get("routing_key") or ""
        outbox.note_taken(queue=queue, sent_at=datetime.fromisoformat(sent_at))
