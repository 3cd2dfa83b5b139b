from typing import ClassVar

from core.models import NEEDS_ATTENTION, ClaimedRow, sweep_index
from django.conf import settings
from django.db import models


class Welcome(ClaimedRow):
    """The mail a new user gets, once."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed"
        NEEDS_ATTENTION = NEEDS_ATTENTION

    task = "accounts.tasks.send_welcome_email"
    unfinished: ClassVar[tuple[str, ...]] = (State.PENDING,)
    retryable: ClassVar[tuple[str, ...]] = (State.NEEDS_ATTENTION, State.FAILED)

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    state = models.CharField(max_length=20, choices=State.choices, default=State.PENDING)

    class Meta:
        indexes = (sweep_index("welcome_to_send", "pending"),)

    def __str__(self) -> str:
        return f"welcome to {self.user}"
