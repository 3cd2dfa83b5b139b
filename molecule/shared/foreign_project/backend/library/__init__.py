"""The project. Its Celery application loads with Django, so that tasks find their broker."""

from library.jobs import app as celery_app

__all__ = ["celery_app"]
