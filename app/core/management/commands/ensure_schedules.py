from typing import Any

from django.core.management.base import BaseCommand

from core import schedules


class Command(BaseCommand):
    help = "Creates the Beat schedules that are missing; leaves the ones that exist as they are."

    def handle(self, *args: Any, **options: Any) -> None:
        for name in schedules.ensure():
            self.stdout.write(f"created: {name}")
