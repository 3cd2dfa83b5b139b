"""What every app's background work has in common, and the record of the tasks that ran."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar, Self

from django.apps import apps
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from core.conf import setting

# A state of every kind of work: no task will move the row any more, a person has to.
NEEDS_ATTENTION = ("needs_attention", "needs attention")


def sweep_index(name: str, *unfinished: str) -> models.Index:
    """The index the sweep reads: it holds the unfinished rows only, which are few."""
    return models.Index(fields=["next_send_at"], condition=models.Q(state__in=unfinished), name=name)


class OutboxRow(models.Model):
    """A row that a background task moves from state to state: at once the work and the outbox entry of its task.

    The row, not the message, is the truth: the sweep (`core.outbox.resend_stuck`) sends the task again when the row has not
    moved for `patience` seconds, then at growing intervals. So the task may run any number of times, and must bear it.

    A row that no sending finishes ends in the state needs_attention, with the reason in `error`: the admin sends it again.
    """

    # Made with the form that asks for the work: the same form sent twice is the same row.
    reference = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    moved_at = models.DateTimeField(default=timezone.now, editable=False)
    sent_at = models.DateTimeField(default=timezone.now, editable=False)
    # The sweep's: how often it sent the task, and when it does so next. Defaults of the database: while a release is under
    # way the one before it still adds rows.
    sends = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    next_send_at = models.DateTimeField(default=timezone.now, db_default=Now(), editable=False)
    error = models.TextField(blank=True, editable=False)

    state: models.CharField[str, str]  # each kind of work has its own states
    unfinished: ClassVar[tuple[str, ...]]
    patience: ClassVar[int] = 900  # seconds; more than WORK_DEADLINE is cut to it
    retryable: ClassVar[tuple[str, ...]] = (NEEDS_ATTENTION[0],)  # states the admin may give back to the workers
    retryable_where: ClassVar[models.Q] = models.Q()  # and what else must hold of a row for that
    # The task that does the work, given the row's primary key. Its name and not the task itself: tasks import models.
    task: ClassVar[str]

    class Meta:
        abstract = True

    @property
    def message_options(self) -> dict[str, Any]:
        """What the row's message needs beside its argument: options of Celery's `apply_async`."""
        return {}

    @property
    def is_over(self) -> bool:
        return self.state not in self.unfinished

    def move(self, **values: Any) -> None:
        """Saves the given fields and the fact that the row moved."""
        self.moved_at = timezone.now()
        for name, value in values.items():
            setattr(self, name, value)
        self.save(update_fields=["moved_at", *values])

    @classmethod
    def deadline(cls) -> float:
        """Seconds a row of this kind may stand still."""
        return float(min(cls.patience, setting("WORK_DEADLINE")))

    @classmethod
    def due(cls) -> models.QuerySet[Self]:
        """Unfinished rows that stand still and whose next sending has come, the longest overdue first."""
        now = timezone.now()
        rows = cls._default_manager.filter(state__in=cls.unfinished, next_send_at__lte=now)
        return rows.filter(moved_at__lt=now - timedelta(seconds=cls.deadline())).order_by("next_send_at")


class ClaimedRow(OutboxRow):
    """A row that one worker at a time works at, for as long as its claim holds: nothing is locked meanwhile."""

    claimed_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True

    def claim(self, *, seconds: float) -> bool:
        """Takes the row; returns False if another worker has it. The claim of one that was lost lapses by itself."""
        now = timezone.now()
        free = models.Q(claimed_until=None) | models.Q(claimed_until__lte=now)
        free &= models.Q(state__in=self.unfinished)
        rows = type(self)._default_manager.filter(free, pk=self.pk)
        self.claimed_until = now + timedelta(seconds=seconds)
        return bool(rows.update(claimed_until=self.claimed_until))


def outbox_models() -> Iterator[type[OutboxRow]]:
    """Every kind of work in the project."""
    return (model for model in apps.get_models() if issubclass(model, OutboxRow))


class TaskRun(models.Model):
    """One attempt of a task: written by the workers, shown on the tasks page."""

    task_id = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    queue = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=20)
    retries = models.PositiveIntegerField(default=0)
    seconds = models.FloatField()
    worker = models.CharField(max_length=200, blank=True)
    finished_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("-finished_at",)
        # Attempts of one task may end in another order than they began.
        constraints = (models.UniqueConstraint(fields=("task_id", "retries"), name="one_run_an_attempt"),)

    def __str__(self) -> str:
        return f"{self.name} {self.state}"
