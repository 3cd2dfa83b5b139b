from celery import Task, shared_task
from core.rowtask import RowTask
from core.services import backoff

from crm import client, services


# The CRM allows 20 requests a second from each of our workers.
@shared_task(base=RowTask, bind=True, max_retries=4, acks_late=True, rate_limit="20/s")
def sync_lead(self: "Task[..., str]", lead_id: int) -> str:
    """Five attempts with growing, jittered pauses; then the failure is recorded."""
    try:
        return services.sync(lead_id=lead_id)
    except client.Unavailable as error:
        if self.request.retries == self.max_retries:
            services.give_up(lead_id=lead_id, error=error)
            raise
        raise self.retry(exc=error, countdown=backoff(retries=self.request.retries)) from error
