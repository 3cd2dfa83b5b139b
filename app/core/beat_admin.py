from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django_celery_beat.admin import PeriodicTaskAdmin
from django_celery_beat.models import PeriodicTask

admin.site.unregister(PeriodicTask)


@admin.register(PeriodicTask)
class SafePeriodicTaskAdmin(PeriodicTaskAdmin):  # type: ignore[misc]  # it has no types
    """The package asks for no permission: who may only look could run any task. And its form needs a script in the page."""

    change_form_template = None

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        return actions if self.has_change_permission(request) else {}
