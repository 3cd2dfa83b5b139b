from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Creates the Beat schedules that are missing, and mends those whose task was renamed."

    def handle(self, *args: Any, **options: Any) -> None:
        if not apps.is_installed("django_celery_beat"):
            raise CommandError("The schedules are kept in the database: add django_celery_beat to INSTALLED_APPS.")
        from core import schedules

        for line in schedules.ensure():
            self.stdout.write(line)
