from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from parcel.models import Carrier


class Command(BaseCommand):
    help = "Adds a carrier, unless it is there already."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")

    def handle(self, *, name: str, **_: Any) -> None:
        Carrier.objects.get_or_create(name=name)
