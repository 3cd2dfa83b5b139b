"""What Beat starts, and when (UTC). The admin may change or switch off each schedule: what exists is left alone."""

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
    """Creates the schedules that are missing and returns their names."""
    created = []
    for name, (task, minute, hour) in DAILY.items():
        crontab, _ = CrontabSchedule.objects.get_or_create(minute=minute, hour=hour, timezone="UTC")
        if PeriodicTask.objects.get_or_create(name=name, defaults={"task": task, "crontab": crontab})[1]:
            created.append(name)
    for name, (task, minutes) in MINUTES.items():
        every, _ = IntervalSchedule.objects.get_or_create(every=minutes, period=IntervalSchedule.MINUTES)
        # With no worker there is no pile of them: the next one does the same.
        values = {"task": task, "interval": every, "expire_seconds": minutes * 60}
        if PeriodicTask.objects.get_or_create(name=name, defaults=values)[1]:
            created.append(name)
    return created
