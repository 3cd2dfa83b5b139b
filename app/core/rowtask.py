"""The base of tasks that do the work of a row."""

import logging
from typing import Any

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
            rows = outbox.rows_of(self.name or "", args)
            is_about_a_row = type(error) in {model.DoesNotExist for model in outbox_models()}
            if not is_about_a_row or (rows is not None and rows.exists()):
                raise
            logger.info("the row is gone: nothing to do")
            return "gone"
