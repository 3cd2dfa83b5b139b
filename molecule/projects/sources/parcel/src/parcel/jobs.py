import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "parcel.settings")

jobs = Celery("parcel")
jobs.config_from_object("django.conf:settings", namespace="CELERY")
jobs.autodiscover_tasks(["parcel"], related_name="tracking")
