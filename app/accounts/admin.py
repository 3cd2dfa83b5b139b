from core.admin import OutboxAdmin
from django.contrib import admin

from accounts.models import Welcome


@admin.register(Welcome)
class WelcomeAdmin(OutboxAdmin[Welcome]):
    list_display = ("user", "state", "error", "moved_at")
    list_select_related = ("user",)
