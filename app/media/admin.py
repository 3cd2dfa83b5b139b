from django.contrib import admin

from media.models import Document, Image


@admin.register(Image)
class ImageAdmin(admin.ModelAdmin[Image]):
    list_display = ("title", "owner", "state", "error", "created_at")
    list_filter = ("state",)
    list_select_related = ("owner",)
    readonly_fields = ("state", "error", "moved_at")


@admin.register(Document)
class DocumentAdmin(admin.ModelAdmin[Document]):
    list_display = ("name", "owner", "state", "words", "error", "created_at")
    list_filter = ("state",)
    list_select_related = ("owner",)
    readonly_fields = ("state", "words", "excerpt", "error", "moved_at")
