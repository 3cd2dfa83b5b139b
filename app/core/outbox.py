"""Sends the tasks of rows: when they are committed, and again when the message was lost.

Tasks are named, never imported: models and services need not know the module that imports them.
"""

import logging
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

from celery import current_app
from celery.canvas import Signature
from django.db import IntegrityError, transaction
from django.db.models import FileField, QuerySet
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
    """Sends the task of each row that stands still; returns how many of each kind.

    Nothing is added to a queue in which much waits already: the work is there, the workers are behind.
    """
    sent: dict[str, int] = {}
    waiting = broker.queue_lengths()
    for model in outbox_models():
        queue = broker.queue_of(model.task)
        for row in model.due()[: max(QUEUE_LIMIT - waiting[queue], 0)]:
            if resend(row):
                sent[model._meta.label] = sent.get(model._meta.label, 0) + 1
                waiting[queue] += 1
    return sent


def resend(row: OutboxRow) -> bool:
    """Sends the row's task again unless another sweep does; returns whether it was sent.

    The message expires when the next one would be sent, so that an outage of the workers leaves no pile of them. Raises
    kombu's OperationalError if the broker does not take messages; another error is this row's own and is logged.
    """
    rows = type(row)._default_manager.filter(pk=row.pk, next_send_at=row.next_send_at)
    if row.sends >= SEND_LIMIT:
        need_attention(rows, reason=f"Sent {row.sends} times, and no worker finished it.")
        return False
    interval = min(row.deadline() * 2 ** (row.sends + 1), max(INTERVAL_LIMIT, row.deadline()))
    now = timezone.now()
    # Of two sweeps at once only one may note that it sends the row.
    if not rows.update(sends=row.sends + 1, sent_at=now, next_send_at=now + timedelta(seconds=interval)):
        return False
    logger.warning("%s %s stood still in state %s: sent again", row._meta.label, row.pk, row.state)
    try:
        signature(row).apply_async(expires=interval)
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


def try_again(rows: QuerySet[Row]) -> int:
    """Gives rows that need a person back to the workers; returns how many."""
    given = list(rows.filter(state__in=rows.model.retryable))
    for row in given:
        row.move(state=row.unfinished[0], error="", sends=0, next_send_at=timezone.now())
        send_on_commit(row)
    return len(given)


def rows_of(task: str, args: Sequence[Any]) -> QuerySet[OutboxRow] | None:
    """The row a call of the task of this name was about; None if the task does the work of no row."""
    model = next((model for model in outbox_models() if model.task == task), None)
    return model._default_manager.filter(pk=args[0]) if model and args else None
