import os
import sys
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = "Creates the administrator, or sets the password if it is another; reads it from ADMIN_PASSWORD or stdin."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--email", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        password = os.environ.get("ADMIN_PASSWORD") or sys.stdin.readline().strip()
        if not password:
            raise CommandError("Give the password in ADMIN_PASSWORD or on stdin.")
        user, created = User.objects.get_or_create(username=options["username"], defaults={"email": options["email"]})
        if user.is_staff and user.is_superuser and user.is_active and user.check_password(password):
            self.stdout.write("unchanged")
            return
        user.is_staff = user.is_superuser = user.is_active = True
        user.set_password(password)
        user.save()
        self.stdout.write("created" if created else "changed")
