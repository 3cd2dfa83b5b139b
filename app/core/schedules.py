"""What Beat starts, and when. The admin may switch off each schedule and change its times: only its task is ours."""

from datetime import timedelta
from typing import Any

from celery.schedules import crontab
from django.db import transaction
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from core.conf import setting

OWN: dict[str, dict[str, Any]] = {
    "Send stuck work again": {"task": "core.tasks.resend_stuck_work", "schedule": timedelta(minutes=1)},
    "Forget old task runs": {"task": "core.tasks.forget_old_runs", "schedule": crontab(hour="4", minute="0")},
}


@transaction.atomic
def ensure() -> list[str]:
    """Creates the schedules that are missing and gives the others their tasks, which may have been renamed.

    Returns a line for each one that it created or mended.
    """
    lines = []
    for name, entry in (OWN | setting("SCHEDULES")).items():
        lines += ensure_task(name, {"task": entry["task"], **times(entry["schedule"])})
    return lines


def times(schedule: crontab | timedelta) -> dict[str, Any]:
    """The fields of a periodic task that say when it runs. schedule: a crontab, or whole minutes."""
    if isinstance(schedule, crontab):
        found = CrontabSchedule.from_schedule(schedule)
        found.save()
        return {"crontab": found}
    minutes = schedule // timedelta(minutes=1)
    every, _ = IntervalSchedule.objects.get_or_create(every=minutes, period=IntervalSchedule.MINUTES)
    # With no worker there is no pile of them: the next one does the same.
    return {"interval": every, "expire_seconds": minutes * 60}


def ensure_task(name: str, values: dict[str, Any]) -> list[str]:
    found, created = PeriodicTask.objects.get_or_create(name=name, defaults=values)
    if created:
        return [f"created: {name}"]
    if found.task == values["task"]:
        return []
    found.task = values["task"]
    found.save()  # tells Beat
    return [f"mended: {name}"]
