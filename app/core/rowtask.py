"""The base of tasks that do the work of a row."""

import logging
from typing import Any

from django.core.exceptions import ObjectDoesNotExist

from core import outbox
from core.tracing import TracedTask

logger = logging.getLogger(__name__)


class RowTask(TracedTask):
    """Does a row's work, given its primary key. Where the row was deleted meanwhile, nothing is left to do: "gone"."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except ObjectDoesNotExist:
            rows = outbox.rows_of(self.name or "", args)
            if rows is None or rows.exists():
                raise
            logger.info("the row is gone: nothing to do")
            return "gone"
