from core.admin import OutboxAdmin
from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html

from media.models import Document, Image


@admin.register(Image)
class ImageAdmin(OutboxAdmin[Image]):
    list_display = ("title", "owner", "state", "error", "created_at")
    list_select_related = ("owner",)
    exclude = ("file",)
    readonly_fields = ("original", "state", "error", "moved_at")

    @admin.display
    def original(self, image: Image) -> str:
        return format_html('<a href="{}">{} bytes</a>', reverse("original", args=[image.reference]), image.size)


@admin.register(Document)
class DocumentAdmin(OutboxAdmin[Document]):
    list_display = ("name", "owner", "state", "words", "error", "created_at")
    list_select_related = ("owner",)
    readonly_fields = ("state", "words", "excerpt", "error", "moved_at")
