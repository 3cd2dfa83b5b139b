from django.contrib import admin

from core.models import TaskRun


@admin.register(TaskRun)
class TaskRunAdmin(admin.ModelAdmin[TaskRun]):
    list_display = ("name", "queue", "state", "seconds", "retries", "worker", "finished_at")
    list_filter = ("state", "queue", "name")
    search_fields = ("task_id",)
