from celery import shared_task
from django.conf import settings

from accounts import services


@shared_task(
    autoretry_for=(OSError,),
    retry_backoff=True,
    retry_backoff_max=settings.RETRY_BACKOFF_MAX,
    retry_jitter=True,
    max_retries=5,
)
def send_welcome_email(user_id: int) -> str:
    return services.send_welcome(user_id=user_id)


@shared_task
def cleanup_sessions() -> None:
    services.clear_expired_sessions()
