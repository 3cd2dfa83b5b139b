import smtplib
from typing import Any, NamedTuple

from celery import group
from core import outbox
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import Count, F, Q, Sum
from django.utils import timezone

from newsletters.models import Chunk, Newsletter, Subscriber

CHUNK = 250  # addresses that share one task and one connection to the mail server


class Progress(NamedTuple):
    delivered: int
    refused: int
    chunks_left: int
    chunks_failed: int


def start(*, newsletter_id: int) -> int:
    """Cuts the subscribers into chunks and queues them as one group; returns how many. A second call does nothing."""
    with transaction.atomic():
        newsletter = Newsletter.objects.select_for_update().get(pk=newsletter_id)
        if newsletter.started_at:
            return 0
        newsletter.started_at = timezone.now()
        newsletter.save(update_fields=["started_at"])
        ids = list(Subscriber.objects.order_by("pk").values_list("pk", flat=True))
        parts = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
        rows = [Chunk(newsletter=newsletter, first=part[0], last=part[-1]) for part in parts]
        chunks = Chunk.objects.bulk_create(rows)
        transaction.on_commit(lambda: send_group(chunks=chunks), robust=True)
    return len(chunks)


def send_group(*, chunks: list[Chunk]) -> None:
    """Queues the chunks' tasks as one group."""
    group(outbox.signature(chunk) for chunk in chunks).delay()


def send_chunk(*, chunk_id: int) -> str:
    """Sends the newsletter to the addresses of the chunk that are left; returns the state, or "elsewhere".

    Raises OSError (smtplib's errors are some) if the mail server cannot be used. Addresses it refuses are counted.
    """
    chunk = Chunk.objects.select_related("newsletter").get(pk=chunk_id)
    if chunk.is_over:
        return chunk.state
    left = Subscriber.objects.filter(pk__gte=chunk.first, pk__gt=chunk.position, pk__lte=chunk.last).order_by("pk")
    with get_connection() as connection:
        for subscriber in left:
            delivered = deliver(newsletter=chunk.newsletter, address=subscriber.email, connection=connection)
            counted = "delivered" if delivered else "refused"
            # Of two workers with the same chunk, the slower one stops here.
            moved = Chunk.objects.filter(pk=chunk_id, position=chunk.position).update(
                position=subscriber.pk, moved_at=timezone.now(), **{counted: F(counted) + 1}
            )
            if not moved:
                return "elsewhere"
            chunk.position = subscriber.pk
    chunk.move(state=Chunk.State.SENT, error="")
    return chunk.state


def deliver(*, newsletter: Newsletter, address: str, connection: Any) -> bool:
    """Sends one mail; returns whether the mail server took it. Raises OSError for everything but a refused address."""
    try:
        EmailMessage(newsletter.subject, newsletter.body, None, [address], connection=connection).send()
    except smtplib.SMTPRecipientsRefused:
        return False
    return True


def give_up(*, chunk_id: int, error: Exception) -> None:
    """Records that the rest of the chunk was not sent, and why."""
    Chunk.objects.get(pk=chunk_id).move(state=Chunk.State.FAILED, error=f"{type(error).__name__}: {error}")


def progress(*, newsletter_id: int) -> Progress:
    """How far the newsletter is."""
    chunks = Chunk.objects.filter(newsletter=newsletter_id)
    return Progress(
        **chunks.aggregate(
            delivered=Sum("delivered", default=0),
            refused=Sum("refused", default=0),
            chunks_left=Count("pk", filter=Q(state__in=Chunk.unfinished)),
            chunks_failed=Count("pk", filter=Q(state=Chunk.State.FAILED)),
        )
    )
