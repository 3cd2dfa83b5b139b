from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class CoreConfig(AppConfig):
    name = "core"

    def ready(self) -> None:
        # They register themselves: Beat's lock, checks, the record of every task's run, and the workers' figures.
        from core import beat, checks, recorder, worker  # noqa: F401

        # The web processes must know every task by name too.
        autodiscover_modules("tasks")
