from typing import Any

from celery import shared_task

from core import outbox, recorder, services


@shared_task
def resend_stuck_work() -> dict[str, int]:
    return outbox.resend_stuck()


@shared_task
def forget_old_runs() -> int:
    return services.forget_old_runs()


@shared_task
def record_lost_run(run: dict[str, Any], args: list[Any], reason: str) -> None:
    recorder.record_lost_run(run=run, args=args, reason=reason)
