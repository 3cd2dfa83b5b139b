from celery import shared_task

from core import outbox, services


@shared_task
def resend_stuck_work() -> dict[str, int]:
    return outbox.resend_stuck()


@shared_task
def forget_old_runs() -> int:
    return services.forget_old_runs()
