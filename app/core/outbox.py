"""Sends the tasks of rows: when they are committed, and again when the message was lost.

Tasks are named, never imported: models and services need not know the module that imports them.
"""

import logging
import uuid
from typing import Any, TypeVar

from celery import current_app
from celery.canvas import Signature
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.models import OutboxRow, outbox_models

logger = logging.getLogger(__name__)
Row = TypeVar("Row", bound=OutboxRow)


def signature(row: OutboxRow) -> Signature[Any]:
    """The call of the task that does this row's work."""
    return current_app.signature(row.task, args=(row.pk,), options=row.message_options, immutable=True)


def send(row: OutboxRow) -> None:
    """Queues the row's task. Raises kombu's OperationalError if the broker does not take it."""
    signature(row).apply_async()


def send_on_commit(row: OutboxRow) -> None:
    """Queues the row's task once the row is visible to workers.

    A broker that is down must not undo what the user was promised: the failure is logged and the sweep sends later.
    """
    transaction.on_commit(lambda: send(row), robust=True)


def create_and_send(model: type[Row], *, reference: uuid.UUID, **values: Any) -> Row:
    """Creates the row and queues its task; the same reference again returns the row it made."""
    try:
        with transaction.atomic():
            row = model._default_manager.create(reference=reference, **values)
            send_on_commit(row)
    except IntegrityError:
        return model._default_manager.get(reference=reference)
    return row


def resend_stuck() -> dict[str, int]:
    """Sends the task of each row that has not moved for longer than its deadline; returns how many of each kind.

    Of two sweeps at once only one may note that it sends the row.
    """
    sent: dict[str, int] = {}
    for model in outbox_models():
        for row in model.stuck().order_by("sent_at")[:1000]:
            if model._default_manager.filter(pk=row.pk, sent_at=row.sent_at).update(sent_at=timezone.now()):
                logger.warning("%s %s stood still in state %s: sent again", model._meta.label, row.pk, row.state)
                send(row)
                sent[model._meta.label] = sent.get(model._meta.label, 0) + 1
    return sent
