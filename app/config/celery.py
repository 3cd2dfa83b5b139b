"""The Celery application: `celery -A config worker`."""

import os

from celery import Celery
from celery.signals import setup_logging
from core import rabbitmq, redis

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("config", task_cls="core.tracing:TracedTask")
# Not all of Django's settings, as is usual: workers tell theirs to whoever asks, and Flower shows them.
app.config_from_object("config.settings:CELERY")
app.autodiscover_tasks()
rabbitmq.refuse_to_wait()
redis.hold_messages()


@app.on_after_configure.connect
def sign_messages(sender: Celery, **kwargs: object) -> None:
    """Not as soon as this is imported: gunicorn's processes say afterwards what they want of the settings."""
    if sender.conf.security_key:
        sender.setup_security()


@setup_logging.connect
def use_django_logging(loglevel: int, **kwargs: object) -> None:
    """The log lines of the web processes, and the level that the command line asks for; without this Celery replaces the
    root logger's handlers."""
    from logging import captureWarnings
    from logging.config import dictConfig

    from django.conf import settings

    captureWarnings(True)
    dictConfig({**settings.LOGGING, "root": {**settings.LOGGING["root"], "level": loglevel}})
