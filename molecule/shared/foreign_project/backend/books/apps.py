"""The lending library."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


def count_migrate_run(sender: AppConfig, **_: object) -> None:
    """Record that `manage.py migrate` ran, even when it had nothing to do."""
    sender.get_model("MigrateRun").objects.create()


class BooksConfig(AppConfig):
    """Books, and how often the database was migrated."""

    name = "books"

    def ready(self) -> None:
        """Listen for migrations."""
        post_migrate.connect(count_migrate_run, sender=self)
