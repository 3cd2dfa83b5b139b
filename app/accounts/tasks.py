from celery import Task, shared_task
from core.rowtask import RowTask
from core.services import backoff

from accounts import services


@shared_task(base=RowTask, bind=True, max_retries=5)
def send_welcome_email(self: "Task[..., str]", welcome_id: int) -> str:
    """Waits for a mail server that is away; after the last retry the sweep tries again later."""
    try:
        return services.send_welcome(welcome_id=welcome_id)
    except OSError as error:
        raise self.retry(exc=error, countdown=backoff(retries=self.request.retries)) from error


@shared_task
def cleanup_sessions() -> None:
    services.clear_expired_sessions()
