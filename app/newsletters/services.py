from datetime import timedelta
from typing import Any, Literal, NamedTuple

from core import mail, outbox
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from newsletters.models import Chunk, Newsletter, Subscriber

CHUNK = 250  # addresses that share one task and one connection to the mail server
ROUNDS = (
    4  # how often deferred addresses are asked again, at the sweep's growing intervals, before they count as refused
)
Outcome = Literal["delivered", "refused", "deferred"]


class Overtaken(Exception):
    """Another worker has taken the chunk."""


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
        transaction.on_commit(lambda: outbox.send_all(chunks), robust=True)
    return len(chunks)


def send_chunk(*, chunk_id: int) -> str:
    """Sends the newsletter to the addresses of the chunk that are left; returns the state, or "elsewhere".

    The state stays pending while addresses are deferred: the sweep comes back, after a pause as mail servers want it.
    Raises OSError (smtplib's errors are some) if the mail server cannot be used. Addresses it refuses are counted.
    """
    chunk = Chunk.objects.select_related("newsletter").get(pk=chunk_id)
    if chunk.is_over:
        return chunk.state
    if not chunk.claim(seconds=settings.MAIL_CLAIM):
        return "elsewhere"
    chunk.refresh_from_db()
    try:
        with get_connection() as connection:
            send_rest(chunk=chunk, connection=connection)
    except OSError as error:
        chunk.move(error=f"{type(error).__name__}: {error}", claimed_until=None)
        raise
    except Overtaken:
        return "elsewhere"
    if chunk.deferred and chunk.rounds < ROUNDS:
        chunk.move(error=f"{len(chunk.deferred)} addresses are deferred.", claimed_until=None)
    else:
        refused = chunk.refused + len(chunk.deferred)
        chunk.move(state=Chunk.State.SENT, error="", refused=refused, deferred=[], claimed_until=None)
    return chunk.state


def send_rest(*, chunk: Chunk, connection: Any) -> None:
    """Sends to the addresses after the chunk's position; when there are none, once more to those that were deferred."""
    rest = Subscriber.objects.filter(pk__gte=chunk.first, pk__gt=chunk.position, pk__lte=chunk.last)
    if rest.exists():
        for subscriber in rest.order_by("pk"):
            outcome = deliver(newsletter=chunk.newsletter, address=subscriber.email, connection=connection)
            note(chunk=chunk, subscriber=subscriber, outcome=outcome, position=subscriber.pk)
        return
    for subscriber in Subscriber.objects.filter(pk__in=chunk.deferred):
        outcome = deliver(newsletter=chunk.newsletter, address=subscriber.email, connection=connection)
        note(chunk=chunk, subscriber=subscriber, outcome=outcome, position=chunk.position)
    chunk.move(rounds=chunk.rounds + 1)


def note(*, chunk: Chunk, subscriber: Subscriber, outcome: Outcome, position: int) -> None:
    """Records what became of one mail, and renews the claim. Raises Overtaken if the claim had lapsed and was taken."""
    deferred = [pk for pk in chunk.deferred if pk != subscriber.pk]
    if outcome == "deferred":
        deferred.append(subscriber.pk)
    now = timezone.now()
    values: dict[str, Any] = {"position": position, "deferred": deferred, "moved_at": now}
    values["claimed_until"] = now + timedelta(seconds=settings.MAIL_CLAIM)
    if outcome != "deferred":
        values[outcome] = getattr(chunk, outcome) + 1
    if not Chunk.objects.filter(pk=chunk.pk, claimed_until=chunk.claimed_until).update(**values):
        raise Overtaken
    for name, value in values.items():
        setattr(chunk, name, value)


def deliver(*, newsletter: Newsletter, address: str, connection: Any) -> Outcome:
    """Sends one mail; returns what the mail server made of it. Raises OSError if the server cannot be used."""
    try:
        EmailMessage(newsletter.subject, newsletter.body, None, [address], connection=connection).send()
    except OSError as error:
        if mail.refusal(error):
            return "refused"
        if mail.is_deferral(error):
            return "deferred"
        raise
    return "delivered"


def with_progress(newsletters: QuerySet[Newsletter]) -> QuerySet[Newsletter]:
    """The newsletters with the fields of `Progress`."""
    return newsletters.annotate(
        delivered=Sum("chunks__delivered", default=0),
        refused=Sum("chunks__refused", default=0),
        chunks_left=Count("chunks", filter=Q(chunks__state__in=Chunk.unfinished)),
        chunks_failed=Count("chunks", filter=Q(chunks__state=Chunk.State.FAILED)),
    )


def progress(*, newsletter_id: int) -> Progress:
    """How far the newsletter is."""
    found = with_progress(Newsletter.objects.filter(pk=newsletter_id))
    return Progress(**found.values(*Progress._fields).get())
