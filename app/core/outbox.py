"""Sends the tasks of rows: when they are committed, and again when the message was lost.

Tasks are named, never imported: models and services need not know the module that imports them.
"""

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from celery import current_app, group
from celery.canvas import Signature
from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.db.models import Count, FileField, Min, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

from core import broker
from core.models import NEEDS_ATTENTION, OutboxRow, outbox_models

# The sweep waits twice as long before each next sending of a row, up to INTERVAL_LIMIT seconds; after SEND_LIMIT of them,
# four days, it gives up. It adds nothing to a queue with QUEUE_LIMIT messages.
INTERVAL_LIMIT = 3600
SEND_LIMIT = 100
QUEUE_LIMIT = 1000

logger = logging.getLogger(__name__)
Row = TypeVar("Row", bound=OutboxRow)


class AlreadySent(Exception):
    """The form was sent before, with other content."""


def signature(row: OutboxRow) -> Signature[Any]:
    """The call of the task that does this row's work. Its result is the row: nobody waits for another one."""
    options = row.message_options | {"ignore_result": True}
    return current_app.signature(row.task, args=(row.pk,), options=options, immutable=True)


def send(row: OutboxRow) -> None:
    """Queues the row's task. Raises kombu's OperationalError if the broker does not take it."""
    signature(row).apply_async()
    logger.info("%s %s: sent", row._meta.label, row.pk)


def send_all(rows: Sequence[OutboxRow]) -> None:
    """Queues the tasks of many rows as one group, in one round trip for a thousand of them where the broker is Redis.

    Raises kombu's OperationalError if the broker does not take them.
    """
    try:
        with current_app.producer_or_acquire() as producer, producer.batch():
            group(signature(row) for row in rows).apply_async(producer=producer)
    except Exception:
        # The connection broke, and nobody knows how many are queued: rows bear a message too many, not one too few.
        logger.warning("%d messages could not be sent at once: sending one by one", len(rows), exc_info=True)
        for row in rows:
            send(row)


def send_on_commit(row: OutboxRow) -> None:
    """Queues the row's task once the row is visible to workers.

    A broker that is down must not undo what the user was promised: the failure is logged and the sweep sends later.
    """
    transaction.on_commit(lambda: send(row), robust=True)


def create_and_send(
    model: type[Row], *, reference: uuid.UUID, told_apart_by: Sequence[str] | None = None, **values: Any
) -> Row:
    """Creates the row and queues its task; the same reference and content again return the row they made.

    told_apart_by: the values that make another content; all unless given.
    Raises AlreadySent if the reference was used for another content, and IntegrityError if another rule is broken.
    """
    same = {name: values[name] for name in (values if told_apart_by is None else told_apart_by)}
    found = model._default_manager.filter(reference=reference).first()
    if found is None:
        row = model(reference=reference, **values)
        try:
            with transaction.atomic():
                row.save(force_insert=True)
                send_on_commit(row)
            return row
        except IntegrityError:
            # The same form at the same time, unless another rule was broken. Files do not roll back.
            for field in model._meta.fields:
                if isinstance(field, FileField):
                    getattr(row, field.name).delete(save=False)
            found = model._default_manager.filter(reference=reference).first()
            if found is None:
                raise
    if any(getattr(found, name) != value for name, value in same.items()):
        raise AlreadySent(f"{model._meta.label} {found.pk} has the reference {reference}")
    return found


def resend_stuck() -> dict[str, int]:
    """Sends the task of each row that stands still and whose last message is gone; returns how many of each kind.

    So at most two messages of a row wait in its queue, however long the workers are away. Nothing is added to a queue in which much waits already: the work is there, the workers
    are behind.
    """
    sent: dict[str, int] = {}
    waiting = broker.queue_lengths()
    room = {queue: max(QUEUE_LIMIT - length, 0) for queue, length in waiting.items()}
    for model in outbox_models():
        queue = broker.queue_of(model.task)
        rows = model.due()
        if waiting[queue]:
            rows = rows.filter(sent_at__lte=taken_until(queue))
        for row in rows[: room[queue]]:
            if resend(row):
                sent[model._meta.label] = sent.get(model._meta.label, 0) + 1
                room[queue] -= 1
    return sent


def taken_key(routing_key: str) -> str:
    return f"taken-until:{routing_key}"


def note_taken(*, routing_key: str, published_at: datetime) -> None:
    """Notes that a worker took a message that was published at the given time: queues are lines, so all before it are gone."""
    known = cache.get(taken_key(routing_key))
    if known is None or known < published_at:
        cache.set(taken_key(routing_key), published_at, timeout=None)


def taken_until(queue: str) -> datetime:
    """Up to when what was sent to the queue waits there no more. Where nobody knows, an hour counts as long enough: a message
    too many, not one too few."""
    known: datetime | None = None
    try:
        known = cache.get(taken_key(broker.routing_key_of(queue)))
    except Exception as error:  # whatever the cache's client raises: the sweep needs the database and the broker alone
        logger.error("the cache does not tell how far %s was served: %s", queue, type(error).__name__)
    return known or timezone.now() - timedelta(seconds=INTERVAL_LIMIT)


def resend(row: OutboxRow) -> bool:
    """Sends the row's task again unless another sweep does; returns whether it was sent.

    The message expires when the next one is due: workers that come back drop what is old without running it. Raises kombu's
    OperationalError if the broker does not take messages; another error is this row's own and is logged.
    """
    rows = type(row)._default_manager.filter(pk=row.pk, next_send_at=row.next_send_at)
    if row.sends >= SEND_LIMIT:
        need_attention(rows, reason=f"Sent {row.sends} times, and no worker finished it.")
        return False
    interval = min(row.deadline() * 2 ** (row.sends + 1), max(INTERVAL_LIMIT, row.deadline()))
    row.sent_at = timezone.now()
    expires = row.sent_at + timedelta(seconds=interval)
    # Of two sweeps at once only one may note that it sends the row.
    if not rows.update(sends=row.sends + 1, sent_at=row.sent_at, next_send_at=expires):
        return False
    logger.warning("%s %s stood still in state %s: sent again", row._meta.label, row.pk, row.state)
    try:
        signature(row).apply_async(expires=expires)
    except OperationalError:
        raise
    except Exception:
        logger.exception("%s %s could not be sent", row._meta.label, row.pk)
        return False
    return True


def need_attention(rows: QuerySet[Row], *, reason: str) -> None:
    """Takes those of the rows that are unfinished out of the workers' hands, and tells whoever reads the log."""
    values = {"state": NEEDS_ATTENTION[0], "error": reason, "moved_at": timezone.now()}
    for row in rows.filter(state__in=rows.model.unfinished):
        if rows.filter(pk=row.pk, state=row.state).update(**values):
            logger.critical("%s %s needs attention: %s", row._meta.label, row.pk, reason)


def note_error(rows: QuerySet[Row], *, reason: str) -> None:
    """Shows what ended the last run of those that are unfinished; the sweep sends them again."""
    rows.filter(state__in=rows.model.unfinished).update(error=reason)


class Backlog(NamedTuple):
    """How much work of one kind is left."""

    kind: str
    unfinished: int  # rows
    standstill: float  # seconds the unfinished row that stands still longest has not moved
    needs_attention: int  # rows


def backlog(model: type[Row]) -> Backlog:
    rows = model._default_manager.all()
    left = rows.filter(state__in=model.unfinished).aggregate(count=Count("pk"), oldest=Min("moved_at"))
    standstill = (timezone.now() - left["oldest"]).total_seconds() if left["oldest"] else 0
    return Backlog(model._meta.label, left["count"], standstill, rows.filter(state=NEEDS_ATTENTION[0]).count())


def backlogs() -> list[Backlog]:
    """What is left of every kind of work."""
    return [backlog(model) for model in outbox_models()]


def try_again(rows: QuerySet[Row]) -> int:
    """Gives rows that need a person back to the workers, but those that another action is for; returns how many."""
    given = list(rows.filter(rows.model.retryable_where, state__in=rows.model.retryable))
    for row in given:
        now = timezone.now()
        row.move(state=row.unfinished[0], error="", sends=0, sent_at=now, next_send_at=now)
        send_on_commit(row)
    return len(given)


def rows_of(task: str, args: Sequence[Any]) -> QuerySet[OutboxRow] | None:
    """The row a call of the task of this name was about; None if the task does the work of no row."""
    model = next((model for model in outbox_models() if model.task == task), None)
    return model._default_manager.filter(pk=args[0]) if model and args else None
