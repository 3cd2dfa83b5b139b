"""The command `parcel`: Django's commands with the settings of this package."""

import os

from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "parcel.settings")
    execute_from_command_line()
