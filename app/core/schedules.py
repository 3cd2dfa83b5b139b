"""What Beat starts, and when (UTC). The admin may switch off each schedule and change its times: only its task is ours."""

from typing import Any

from django.db import transaction
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

DAILY = {
    "Daily report": ("analytics.tasks.daily_report", "0", "6"),
    "Remove expired sessions": ("accounts.tasks.cleanup_sessions", "30", "3"),
    "Forget old task runs": ("core.tasks.forget_old_runs", "0", "4"),
}
MINUTES = {
    "Send stuck work again": ("core.tasks.resend_stuck_work", 1),
    "Read the inventory": ("inventory.tasks.sync_inventory", 30),
}


@transaction.atomic
def ensure() -> list[str]:
    """Creates the schedules that are missing and gives the others their tasks, which may have been renamed.

    Returns a line for each one that it created or mended.
    """
    lines = []
    for name, (task, minute, hour) in DAILY.items():
        crontab, _ = CrontabSchedule.objects.get_or_create(minute=minute, hour=hour, timezone="UTC")
        lines += ensure_task(name, {"task": task, "crontab": crontab})
    for name, (task, minutes) in MINUTES.items():
        every, _ = IntervalSchedule.objects.get_or_create(every=minutes, period=IntervalSchedule.MINUTES)
        # With no worker there is no pile of them: the next one does the same.
        lines += ensure_task(name, {"task": task, "interval": every, "expire_seconds": minutes * 60})
    return lines


def ensure_task(name: str, values: dict[str, Any]) -> list[str]:
    found, created = PeriodicTask.objects.get_or_create(name=name, defaults=values)
    if created:
        return [f"created: {name}"]
    if found.task == values["task"]:
        return []
    found.task = values["task"]
    found.save()  # tells Beat
    return [f"mended: {name}"]
