from typing import Any

from django.core.management.base import BaseCommand

from core import schedules


class Command(BaseCommand):
    help = "Creates the Beat schedules that are missing, and mends those whose task was renamed."

    def handle(self, *args: Any, **options: Any) -> None:
        for line in schedules.ensure():
            self.stdout.write(line)
