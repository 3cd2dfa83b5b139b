import requests
from celery import shared_task
from django.conf import settings

from inventory import services


@shared_task(
    autoretry_for=(requests.RequestException,),
    retry_backoff=True,
    retry_backoff_max=settings.RETRY_BACKOFF_MAX,
    retry_jitter=False,  # Celery's may make no pause at all, see core.services.backoff; one task alone needs none
    max_retries=5,
)
def sync_inventory() -> int:
    return services.sync()
