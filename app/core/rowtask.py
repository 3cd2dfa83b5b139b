"""The base of tasks that do the work of a row."""

import logging
from typing import Any

from celery import Task
from django.core.exceptions import ObjectDoesNotExist

from core.models import outbox_models

logger = logging.getLogger(__name__)


class RowTask(Task):  # type: ignore[type-arg]  # generic in the stub alone, not while it runs
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
