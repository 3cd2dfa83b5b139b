from typing import ClassVar

from core.models import NEEDS_ATTENTION, OutboxRow, sweep_index
from django.db import models


class Lead(OutboxRow):
    """Someone who asked to be called, and whether the CRM knows."""

    class State(models.TextChoices):
        PENDING = "pending"
        SYNCED = "synced"
        FAILED = "failed"
        NEEDS_ATTENTION = NEEDS_ATTENTION

    class Failure(models.TextChoices):
        TIMEOUT = "timeout", "no answer in time"
        CONNECTION = "connection", "no connection"
        REJECTED = "rejected", "rejected (4xx)"
        SERVER_ERROR = "server_error", "server error (5xx)"

    task = "crm.tasks.sync_lead"
    unfinished: ClassVar[tuple[str, ...]] = (State.PENDING,)
    retryable: ClassVar[tuple[str, ...]] = (State.NEEDS_ATTENTION, State.FAILED)

    name = models.CharField(max_length=100)
    email = models.EmailField()
    message = models.TextField(blank=True, max_length=2000)
    state = models.CharField(max_length=20, choices=State.choices, default=State.PENDING)
    failure = models.CharField(max_length=20, choices=Failure.choices, blank=True, editable=False)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = (sweep_index("lead_to_send", "pending"),)
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.name
