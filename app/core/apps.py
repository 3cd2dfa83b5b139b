from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class CoreConfig(AppConfig):
    name = "core"

    def ready(self) -> None:
        from core import recorder  # noqa: F401  its signal handlers record every task's run

        # The web processes must know every task by name too: /metrics lists them.
        autodiscover_modules("tasks")
