from typing import Any, ClassVar, TypeVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django_celery_beat.admin import PeriodicTaskAdmin
from django_celery_beat.models import PeriodicTask
from django_celery_results.models import GroupResult, TaskResult

from core import outbox
from core.models import OutboxRow, TaskRun

Row = TypeVar("Row", bound=OutboxRow)


class OutboxAdmin(admin.ModelAdmin[Row]):
    """Rows that tasks move: the site makes them, staff look at them and give those that need attention back."""

    list_filter: ClassVar[tuple[str, ...]] = ("state",)
    actions: tuple[str, ...] = ("try_again",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description="Try those that need attention again", permissions=["change"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Row]) -> None:
        count = outbox.try_again(queryset)
        self.message_user(request, f"{count} sent again.", messages.SUCCESS if count else messages.WARNING)


admin.site.unregister((PeriodicTask, TaskResult, GroupResult))


@admin.register(PeriodicTask)
class SafePeriodicTaskAdmin(PeriodicTaskAdmin):  # type: ignore[misc]  # it has no types
    """The package asks for no permission: who may only look could run any task. And its form needs a script in the page."""

    change_form_template = None

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        return actions if self.has_change_permission(request) else {}


@admin.register(TaskResult, GroupResult)
class ResultAdmin(admin.ModelAdmin[TaskResult | GroupResult]):
    """Results in the database, which nobody makes or alters by hand."""

    list_display = ("__str__", "date_created", "date_done")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: TaskResult | GroupResult | None = None) -> bool:
        return False


@admin.register(TaskRun)
class TaskRunAdmin(admin.ModelAdmin[TaskRun]):
    list_display = ("name", "queue", "state", "seconds", "retries", "worker", "finished_at")
    list_filter = ("state", "queue", "name")
    search_fields = ("task_id",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
