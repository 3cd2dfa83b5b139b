import datetime
from typing import ClassVar

from core.models import NEEDS_ATTENTION, OutboxRow, sweep_index
from django.conf import settings
from django.db import models
from django.urls import reverse


class Report(OutboxRow):
    """Orders and revenue day by day; `position` days are done, and a new worker goes on from there."""

    class State(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        DONE = "done"
        CANCELLED = "cancelled"
        FAILED = "failed"
        NEEDS_ATTENTION = NEEDS_ATTENTION

    task = "analytics.tasks.generate_reports"
    unfinished: ClassVar[tuple[str, ...]] = (State.PENDING, State.RUNNING)
    patience = 300

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE)
    first_day = models.DateField()
    days = models.PositiveIntegerField()
    position = models.PositiveIntegerField(default=0, editable=False)
    state = models.CharField(max_length=20, choices=State.choices, default=State.PENDING)
    cancel_requested = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = (sweep_index("report_to_send", "pending", "running"),)
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("first_day", "days"), condition=models.Q(owner=None), name="one_nightly_report_a_day"
            ),
        )

    def __str__(self) -> str:
        return f"{self.days} days from {self.first_day}"

    def get_absolute_url(self) -> str:
        return reverse("report", args=[self.reference])

    @property
    def next_day(self) -> datetime.date:
        return self.first_day + datetime.timedelta(days=self.position)


class Line(models.Model):
    """One day of a report."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="lines")
    day = models.DateField()
    orders = models.PositiveIntegerField()
    revenue = models.PositiveBigIntegerField(help_text="cents")

    class Meta:
        ordering = ("day",)
        constraints = (models.UniqueConstraint(fields=("report", "day"), name="one_line_a_day"),)

    def __str__(self) -> str:
        return f"{self.day}: {self.orders}"
