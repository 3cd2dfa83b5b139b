from typing import Any

from django.core.management.base import BaseCommand
from inventory import services


class Command(BaseCommand):
    help = "Puts the demo's products on the menu; those that are there stay as they are."

    def handle(self, *args: Any, **options: Any) -> None:
        for product in services.seed_demo():
            self.stdout.write(f"created: {product}")
