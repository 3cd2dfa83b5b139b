from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class CoreConfig(AppConfig):
    name = "core"

    def ready(self) -> None:
        from core import checks, recorder  # noqa: F401  they register themselves: checks, and the record of every task's run

        # The web processes must know every task by name too: /metrics lists them.
        autodiscover_modules("tasks")
