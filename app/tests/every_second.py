"""The project with a schedule in its settings, for Celery's own scheduler."""

from config.celery import app

app.conf.beat_schedule = {
    "Every second": {"task": "core.tasks.forget_old_runs", "schedule": 1.0, "options": {"queue": "ticks"}}
}
