from typing import ClassVar

from core.models import NEEDS_ATTENTION, ClaimedRow, sweep_index
from django.db import models


class Subscriber(models.Model):
    email = models.EmailField(unique=True)

    def __str__(self) -> str:
        return self.email


class Newsletter(models.Model):
    subject = models.CharField(max_length=200)
    body = models.TextField()
    started_at = models.DateTimeField(null=True, blank=True, editable=False)

    def __str__(self) -> str:
        return self.subject


class Chunk(ClaimedRow):
    """A newsletter's addresses from one subscriber to another; `position` is the last one that was served.

    A worker lost in the middle repeats at most the one mail it was sending. Addresses that are deferred wait for the sweep.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed"
        NEEDS_ATTENTION = NEEDS_ATTENTION

    task = "newsletters.tasks.send_chunk"
    unfinished: ClassVar[tuple[str, ...]] = (State.PENDING,)
    retryable: ClassVar[tuple[str, ...]] = (State.NEEDS_ATTENTION, State.FAILED)

    newsletter = models.ForeignKey(Newsletter, on_delete=models.CASCADE, related_name="chunks")
    first = models.PositiveBigIntegerField(help_text="subscriber id")
    last = models.PositiveBigIntegerField(help_text="subscriber id")
    position = models.PositiveBigIntegerField(default=0)
    state = models.CharField(max_length=20, choices=State.choices, default=State.PENDING)
    delivered = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    # Subscribers whose mail servers said "later", and how often they were asked again.
    deferred = models.JSONField(default=list, db_default=[], editable=False)
    rounds = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)

    class Meta:
        indexes = (sweep_index("chunk_to_send", "pending"),)
        ordering = ("first",)
        constraints = (models.UniqueConstraint(fields=("newsletter", "first"), name="one_chunk_a_start"),)

    def __str__(self) -> str:
        return f"{self.newsletter} {self.first}-{self.last}"
