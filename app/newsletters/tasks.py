from celery import Task, shared_task
from core.rowtask import RowTask
from core.services import backoff

from newsletters import services


@shared_task(base=RowTask, bind=True, max_retries=5)
def send_chunk(self: "Task[..., str]", chunk_id: int) -> str:
    """A mail server that is away is waited for; after the last retry the sweep tries again later."""
    try:
        return services.send_chunk(chunk_id=chunk_id)
    except OSError as error:
        raise self.retry(exc=error, countdown=backoff(retries=self.request.retries)) from error
