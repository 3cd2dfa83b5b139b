"""The smallest project that uses `core`: one kind of row, its own queues, hardly a setting. Tests run it with core alone."""

from bakery.celery import app as celery_app

__all__ = ["celery_app"]
