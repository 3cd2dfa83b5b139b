from core.admin import OutboxAdmin
from django.contrib import admin

from analytics.models import Report


@admin.register(Report)
class ReportAdmin(OutboxAdmin[Report]):
    list_display = ("__str__", "owner", "state", "position", "days", "error", "created_at")
    list_select_related = ("owner",)
    readonly_fields = ("state", "position", "cancel_requested", "error", "moved_at")
