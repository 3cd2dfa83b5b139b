import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ledger.settings")

application = Celery("ledger")
application.config_from_object("django.conf:settings")
application.autodiscover_tasks()
