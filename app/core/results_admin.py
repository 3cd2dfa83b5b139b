from django.contrib import admin
from django.http import HttpRequest
from django_celery_results.models import GroupResult, TaskResult

admin.site.unregister((TaskResult, GroupResult))


@admin.register(TaskResult, GroupResult)
class ResultAdmin(admin.ModelAdmin[TaskResult | GroupResult]):
    """Results in the database, which nobody makes or alters by hand."""

    list_display = ("__str__", "date_created", "date_done")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: TaskResult | GroupResult | None = None) -> bool:
        return False
