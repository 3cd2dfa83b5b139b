"""What belongs to no single app: health, the record of runs, pauses before retries."""

import logging
import random
from datetime import timedelta

from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from core import broker
from core.conf import setting
from core.models import TaskRun

logger = logging.getLogger(__name__)


def backoff(*, retries: int) -> float:
    """Seconds to wait before the next attempt: doubles each time up to RETRY_BACKOFF_MAX, with jitter so that many
    tasks that failed together do not return together.

    retries: how many retries there were already.
    """
    # Never near zero: Celery stores RETRY after it has sent the next attempt, which might already have stored SUCCESS.
    base = setting("RETRY_BACKOFF_BASE")
    ceiling = min(max(setting("RETRY_BACKOFF_MAX"), base), base * 2**retries)
    return random.uniform(ceiling / 2, ceiling)  # noqa: S311  jitter, no secret


def forget_old_runs(*, days: int = 7) -> int:
    """Deletes records of tasks that ended more than the given days ago; returns how many."""
    return TaskRun.objects.filter(finished_at__lt=timezone.now() - timedelta(days=days)).delete()[0]


def check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def check_cache() -> None:
    cache.set("readyz", "1", timeout=10)
    if cache.get("readyz") != "1":
        raise RuntimeError("the cache does not keep what it is given")


def readiness() -> dict[str, str]:
    """Whether each service the site needs answers: "ok", or the kind of error.

    Never the error's text, which may hold addresses.
    """
    report = {}
    for name, check in (("database", check_database), ("cache", check_cache), ("broker", broker.check)):
        try:
            check()
            report[name] = "ok"
        except Exception as error:
            logger.error("%s is not ready: %s", name, error)
            report[name] = type(error).__name__
    return report
