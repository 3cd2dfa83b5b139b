from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "core"

    def ready(self) -> None:
        from core import recorder  # noqa: F401  its signal handlers record every task's run
