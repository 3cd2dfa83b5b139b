from core.admin import OutboxAdmin
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from newsletters import services
from newsletters.models import Chunk, Newsletter, Subscriber


@admin.register(Newsletter)
class NewsletterAdmin(admin.ModelAdmin[Newsletter]):
    list_display = ("subject", "started_at", "progress")
    actions = ("start",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Newsletter]:
        return services.with_progress(super().get_queryset(request))

    @admin.display(description="delivered, refused, chunks left, chunks failed")
    def progress(self, newsletter: Newsletter) -> str:
        return ", ".join(str(getattr(newsletter, field)) for field in services.Progress._fields)

    @admin.action(description="Send to every subscriber", permissions=["change"])
    def start(self, request: HttpRequest, queryset: QuerySet[Newsletter]) -> None:
        chunks = sum(services.start(newsletter_id=newsletter.pk) for newsletter in queryset)
        self.message_user(request, f"{chunks} chunks queued.", messages.SUCCESS if chunks else messages.WARNING)


@admin.register(Chunk)
class ChunkAdmin(OutboxAdmin[Chunk]):
    list_display = ("__str__", "state", "delivered", "refused", "error", "moved_at")
    list_select_related = ("newsletter",)
    readonly_fields = ("newsletter", "first", "last", "position", "state", "delivered", "refused", "error", "moved_at")


admin.site.register(Subscriber)
