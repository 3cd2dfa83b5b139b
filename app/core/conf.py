"""What core reads from the project's settings, and what holds where a project does not say."""

from typing import Any

from django.conf import settings

DEFAULTS: dict[str, Any] = {
    "WORK_DEADLINE": 900,  # seconds a row may not move before the sweep sends its task again
    "RETRY_BACKOFF_BASE": 2,  # seconds before the first retry; doubles
    "RETRY_BACKOFF_MAX": 600,  # seconds
    "THROTTLE": True,
    "WORKER_REPORT_INTERVAL": 5,  # seconds between a worker's reports; one that leaves out three is down
    "SCHEDULES": {},  # what Beat starts besides core's own tasks, in the form of Celery's beat_schedule
    "NOT_GIVEN": {},  # settings that production needs and fell back to a developer's, and what comes of it
}


def setting(name: str) -> Any:
    """The project's setting of this name, or its default."""
    return getattr(settings, name, DEFAULTS[name])
