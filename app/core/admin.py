from typing import ClassVar, TypeVar

from django.apps import apps
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from core import outbox
from core.models import OutboxRow, TaskRun

Row = TypeVar("Row", bound=OutboxRow)


class OutboxAdmin(admin.ModelAdmin[Row]):
    """Rows that tasks move: the site makes them, staff look at them and give those that need attention back."""

    list_filter: ClassVar[tuple[str, ...]] = ("state",)
    actions: tuple[str, ...] = ("try_again",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description="Try again those that failed or need attention", permissions=["change"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Row]) -> None:
        count = outbox.try_again(queryset)
        self.message_user(request, f"{count} sent again.", messages.SUCCESS if count else messages.WARNING)


@admin.register(TaskRun)
class TaskRunAdmin(admin.ModelAdmin[TaskRun]):
    list_display = ("name", "queue", "state", "seconds", "retries", "worker", "finished_at")
    list_filter = ("state", "queue", "name")
    search_fields = ("task_id",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


if apps.is_installed("django_celery_beat"):
    from core import beat_admin  # noqa: F401  it registers itself
if apps.is_installed("django_celery_results"):
    from core import results_admin  # noqa: F401  it registers itself
