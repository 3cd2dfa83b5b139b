from celery import Task, shared_task
from core.services import backoff

from payments import services
from payments.gateway import OutcomeUnknown


@shared_task(bind=True, max_retries=5)
def process_payment(self: "Task[..., str]", order_id: int) -> str:
    """Pays the order; after the last retry it stays pending and the sweep tries again later."""
    try:
        return services.pay(order_id=order_id)
    except OutcomeUnknown as error:
        raise self.retry(exc=error, countdown=backoff(retries=self.request.retries)) from error
