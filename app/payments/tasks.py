from celery import Task, shared_task
from core.rowtask import RowTask
from core.services import backoff
from django.conf import settings

from payments import services
from payments.gateway import OutcomeUnknown
from payments.models import Order


# The soft limit leaves an attempt time to say that it does not know; the claim on the order lapses after the hard one.
@shared_task(
    base=RowTask,
    bind=True,
    max_retries=5,
    soft_time_limit=settings.PAYMENT_TIME_LIMIT * 2 // 3,
    time_limit=settings.PAYMENT_TIME_LIMIT,
)
def process_payment(self: "Task[..., str]", order_id: int) -> str:
    """Pays the order; after the last retry it stays pending and the sweep tries again later."""
    try:
        state = services.pay(order_id=order_id)
    except OutcomeUnknown as error:
        raise self.retry(exc=error, countdown=backoff(retries=self.request.retries)) from error
    if state == Order.State.PROCESSING and (self.request.delivery_info or {}).get("redelivered"):
        # The worker that had this message is gone, and its claim on the order lapses.
        raise self.retry(countdown=settings.PAYMENT_TIME_LIMIT + 2)
    return state
