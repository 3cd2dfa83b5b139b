import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

queue = Celery("meters")
queue.config_from_object("django.conf:settings", namespace="QUEUE")
queue.set_default()
queue.autodiscover_tasks()
