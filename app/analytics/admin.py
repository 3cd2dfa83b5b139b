from django.contrib import admin

from analytics.models import Report


@admin.register(Report)
class ReportAdmin(admin.ModelAdmin[Report]):
    list_display = ("__str__", "owner", "state", "position", "days", "error", "created_at")
    list_filter = ("state",)
    list_select_related = ("owner",)
    readonly_fields = ("state", "position", "cancel_requested", "error", "moved_at")
