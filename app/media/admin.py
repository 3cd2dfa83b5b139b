from core.admin import OutboxAdmin
from django.contrib import admin

from media.models import Document, Image


@admin.register(Image)
class ImageAdmin(OutboxAdmin[Image]):
    list_display = ("title", "owner", "state", "error", "created_at")
    list_select_related = ("owner",)
    readonly_fields = ("state", "error", "moved_at")


@admin.register(Document)
class DocumentAdmin(OutboxAdmin[Document]):
    list_display = ("name", "owner", "state", "words", "error", "created_at")
    list_select_related = ("owner",)
    readonly_fields = ("state", "words", "excerpt", "error", "moved_at")
