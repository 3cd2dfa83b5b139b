from core.admin import OutboxAdmin
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from crm import services
from crm.models import Lead


@admin.register(Lead)
class LeadAdmin(OutboxAdmin[Lead]):
    list_display = ("name", "email", "state", "failure", "error", "attempts", "moved_at")
    list_filter = ("state", "failure")
    readonly_fields = ("state", "failure", "error", "attempts", "moved_at")
    actions = ("try_again", "retry")

    @admin.action(description="Retry failed syncs", permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Lead]) -> None:
        count = services.retry(leads=queryset)
        self.message_user(request, f"{count} sent again.", messages.SUCCESS if count else messages.WARNING)
