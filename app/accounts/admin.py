from django.contrib import admin

from accounts.models import Welcome


@admin.register(Welcome)
class WelcomeAdmin(admin.ModelAdmin[Welcome]):
    list_display = ("user", "state", "error", "moved_at")
    list_filter = ("state",)
    list_select_related = ("user",)
