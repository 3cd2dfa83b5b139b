import requests
from celery import shared_task
from django.conf import settings

from inventory import services


@shared_task(
    autoretry_for=(requests.RequestException,),
    retry_backoff=True,
    retry_backoff_max=settings.RETRY_BACKOFF_MAX,
    retry_jitter=True,
    max_retries=5,
    # Celery's jitter may make no pause at all, and then the state RETRY can be stored after the next attempt's SUCCESS.
    ignore_result=True,
)
def sync_inventory() -> int:
    return services.sync()
