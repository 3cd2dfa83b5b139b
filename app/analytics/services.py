import datetime
import time
import uuid
from collections.abc import Mapping

from core import outbox
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, F, Sum
from django.db.models.functions import Coalesce, TruncDate
from django.utils import timezone
from payments.services import paid_between

from analytics.models import Line, Report

Figures = Mapping[datetime.date, Mapping[str, int]]  # each day's number of orders and their revenue in cents


def request_report(*, owner: User, days: int, reference: uuid.UUID) -> Report:
    """Queues a report over the given number of days up to today."""
    first_day = timezone.now().date() - datetime.timedelta(days=days - 1)
    values = {"owner": owner, "first_day": first_day, "days": days}
    return outbox.create_and_send(Report, reference=reference, told_apart_by=("owner", "days"), **values)


def add_daily_report(*, day: datetime.date) -> Report:
    """The report over one day, made unless it was made before."""
    return Report.objects.get_or_create(owner=None, first_day=day, days=1)[0]


def request_cancel(*, report_id: int) -> None:
    """Asks the worker to stop: it looks before each day. Terminating it could take other work with it."""
    Report.objects.filter(pk=report_id, state__in=Report.unfinished).update(cancel_requested=True)


def run(*, report_id: int) -> str:
    """Works through the days that are left; returns the state, or "elsewhere" if another worker is further."""
    report = Report.objects.get(pk=report_id)
    figures = paid_by_day(report=report)
    while not report.is_over:
        if report.cancel_requested or report.position == report.days:
            report.move(state=Report.State.CANCELLED if report.cancel_requested else Report.State.DONE, error="")
            break
        if not add_line(report=report, figures=figures):
            return "elsewhere"
        time.sleep(settings.REPORT_STEP_PAUSE)
        report.refresh_from_db()
    return report.state


def paid_by_day(*, report: Report) -> Figures:
    """What was paid on each of the days that are left, read at once; days without an order are not there.

    It is the day of the payment that counts: one that is over gets no more of them.
    """
    if report.is_over:
        return {}
    left = [report.next_day, report.first_day + datetime.timedelta(days=report.days)]
    start, end = (datetime.datetime.combine(day, datetime.time(), datetime.UTC) for day in left)
    paid = paid_between(start, end).annotate(paid_on=Coalesce("paid_at", "receipt__created_at"))
    days = paid.annotate(day=TruncDate("paid_on", tzinfo=datetime.UTC)).order_by().values("day")
    found = days.annotate(orders=Count("pk"), revenue=Sum("amount")).values_list("day", "orders", "revenue")
    return {day: {"orders": orders, "revenue": revenue} for day, orders, revenue in found}


def add_line(*, report: Report, figures: Figures) -> bool:
    """Adds the next day's line and moves on by one, unless another worker did so first."""
    day = report.next_day
    with transaction.atomic():
        moved = Report.objects.filter(pk=report.pk, position=report.position, state__in=Report.unfinished).update(
            position=F("position") + 1, state=Report.State.RUNNING, moved_at=timezone.now()
        )
        if moved:
            Line.objects.create(report=report, day=day, **figures.get(day, {"orders": 0, "revenue": 0}))
    return bool(moved)


def fail(*, report_id: int, error: Exception) -> None:
    """Records that the report will not be finished, and why."""
    Report.objects.get(pk=report_id).move(state=Report.State.FAILED, error=f"{type(error).__name__}: {error}")
