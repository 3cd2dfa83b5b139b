from core.admin import OutboxAdmin
from django.contrib import admin

from crm.models import Lead


@admin.register(Lead)
class LeadAdmin(OutboxAdmin[Lead]):
    list_display = ("name", "email", "state", "failure", "error", "attempts", "moved_at")
    list_filter = ("state", "failure")
    readonly_fields = ("state", "failure", "error", "attempts", "moved_at")
