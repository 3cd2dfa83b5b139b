"""What a log line says beside its message."""

import logging

from celery import current_task


class TaskFormatter(logging.Formatter):
    """Offers `%(task)s`: the name and id of the task that the line was written in, or nothing."""

    def format(self, record: logging.LogRecord) -> str:
        task = current_task
        record.task = f"{task.name}[{task.request.id}] " if task and task.request.id else ""
        return super().format(record)
