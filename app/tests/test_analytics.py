"""Reports: progress, cancelling, going on after a lost worker."""

import datetime
import os
import signal
import uuid

import pytest
from analytics import services
from analytics.models import Report
from analytics.tasks import daily_report, generate_reports
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from inventory.models import Product
from payments.models import Order, Receipt
from pytest_django import Settings

from tests.conftest import Worker, wait_until

State = Report.State


@pytest.fixture(autouse=True)
def no_pause(settings: Settings) -> None:
    settings.REPORT_STEP_PAUSE = 0


@pytest.fixture
def report(user: User) -> Report:
    today = timezone.now().date()
    return Report.objects.create(owner=user, first_day=today - datetime.timedelta(days=4), days=5)


def test_orders_that_the_release_before_paid_are_counted_by_their_receipts(report: Report, order: Order) -> None:
    """While a release is under way the workers of the one before it write no paid_at."""
    day = timezone.now() - datetime.timedelta(days=2)
    Order.objects.filter(pk=order.pk).update(state=Order.State.PAID, unsettled=False, moved_at=timezone.now())
    Receipt.objects.create(order=order, charge="ch_1", amount=order.amount)
    Receipt.objects.update(created_at=day)
    services.run(report_id=report.pk)
    counted = {line.day: (line.orders, line.revenue) for line in report.lines.filter(orders__gt=0)}
    assert counted == {day.date(): (1, 1300)}


def test_a_report_counts_the_paid_orders_of_each_day(report: Report, order: Order) -> None:
    order.move(state=Order.State.PAID, paid_at=timezone.now())
    Order.objects.create(product=order.product, amount=99)  # pending: not revenue
    assert services.run(report_id=report.pk) == State.DONE
    report.refresh_from_db()
    assert report.position == report.lines.count() == 5
    assert [(line.orders, line.revenue) for line in report.lines.all()] == 4 * [(0, 0)] + [(1, 1300)]


def test_an_order_counts_on_the_day_it_is_paid(report: Report, order: Order) -> None:
    """Not on the day it was placed, whose nightly report may be there already."""
    before = datetime.timedelta(days=2)
    order.move(state=Order.State.PAID, paid_at=timezone.now())
    Order.objects.filter(pk=order.pk).update(created_at=timezone.now() - before)
    late = Order.objects.create(
        product=order.product, amount=99, state=Order.State.PAID, paid_at=timezone.now() - before
    )
    services.run(report_id=report.pk)
    assert [line.revenue for line in report.lines.all()] == [0, 0, late.amount, 0, order.amount]


def test_a_report_reads_the_orders_once_and_by_their_index(report: Report, product: Product) -> None:
    now = timezone.now()
    Order.objects.bulk_create(
        Order(product=product, amount=100, state=Order.State.PAID, paid_at=now - datetime.timedelta(hours=5 * number))
        for number in range(3000)
    )
    Order.objects.bulk_create(Order(product=product, amount=100, state=Order.State.CANCELLED) for _ in range(3000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE payments_order")
    with CaptureQueriesContext(connection) as queries:
        assert services.run(report_id=report.pk) == State.DONE
    assert sum(line.orders for line in report.lines.all()) in range(19, 26)
    [reading] = [query["sql"] for query in queries if 'FROM "payments_order"' in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {reading}")
        assert "order_paid" in "".join(row[0] for row in cursor.fetchall())


def test_a_report_goes_on_where_a_lost_worker_stopped(report: Report) -> None:
    services.add_line(report=report, figures={})
    report.refresh_from_db()
    services.add_line(report=report, figures={})
    assert services.run(report_id=report.pk) == State.DONE
    assert report.lines.count() == 5


def test_of_two_workers_the_slower_one_stops(report: Report) -> None:
    stale = Report.objects.get()
    assert services.add_line(report=report, figures={})
    assert not services.add_line(report=stale, figures={})
    assert report.lines.count() == 1


def test_a_cancelled_report_stops_before_the_next_day(report: Report) -> None:
    services.add_line(report=report, figures={})
    services.request_cancel(report_id=report.pk)
    assert services.run(report_id=report.pk) == State.CANCELLED
    assert report.lines.count() == 1


def test_a_finished_report_cannot_be_cancelled(report: Report) -> None:
    services.run(report_id=report.pk)
    services.request_cancel(report_id=report.pk)
    report.refresh_from_db()
    assert (report.state, report.cancel_requested) == (State.DONE, False)


def test_an_error_fails_the_report_and_is_shown(
    report: Report, staff_site: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**values: object) -> bool:
        raise ValueError("no such day")

    monkeypatch.setattr("analytics.services.add_line", broken)
    with pytest.raises(ValueError, match="no such day"):
        generate_reports(report.pk)
    page = staff_site.get(report.get_absolute_url()).content.decode()
    assert "ValueError: no such day" in page


def test_a_report_longer_than_the_limit_goes_on_in_a_next_message(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(*, report_id: int) -> str:
        raise SoftTimeLimitExceeded

    sent: list[int] = []
    monkeypatch.setattr(services, "run", too_long)
    monkeypatch.setattr("core.outbox.send", lambda report: sent.append(report.pk))
    assert generate_reports(report.pk) == "continued"
    assert sent == [report.pk]


def test_a_database_that_is_away_does_not_fail_the_report(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*, report_id: int) -> str:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(services, "run", away)
    with pytest.raises(OperationalError):
        generate_reports(report.pk)
    report.refresh_from_db()
    assert report.state == State.PENDING


def test_the_daily_report_is_over_yesterday_and_exists_once(db: None) -> None:
    assert daily_report() == daily_report()
    report = Report.objects.get()
    assert (report.first_day, report.days) == (timezone.now().date() - datetime.timedelta(days=1), 1)


@pytest.mark.results
def test_a_person_starts_a_report_and_watches_it_finish(staff_site: Client, worker: Worker) -> None:
    page = staff_site.post("/reports/", {"days": 30, "reference": uuid.uuid4()})
    wait_until(lambda: 'data-state="done"' in staff_site.get(page["Location"]).content.decode())
    assert "30 of 30" in staff_site.get(page["Location"]).content.decode()


@pytest.mark.results
def test_a_person_cancels_a_running_report(staff_site: Client, worker: Worker) -> None:
    page = staff_site.post("/reports/", {"days": 365, "reference": uuid.uuid4()})
    wait_until(lambda: Report.objects.filter(state=State.RUNNING).exists())
    staff_site.post(page["Location"] + "cancel")
    wait_until(lambda: 'data-state="cancelled"' in staff_site.get(page["Location"]).content.decode())
    assert Report.objects.get().lines.count() < 365


def test_a_report_whose_process_is_killed_is_finished_by_another(report: Report, worker: Worker) -> None:
    Report.objects.update(days=200)
    generate_reports.delay(report.pk)
    wait_until(lambda: Report.objects.get().position > 5)
    active = worker.control("active")
    os.kill(next(iter(active))["worker_pid"], signal.SIGKILL)
    wait_until(lambda: Report.objects.get().state == State.DONE)
    assert report.lines.count() == 200


@pytest.mark.results
def test_people_overtake_what_nobody_waits_for(worker: Worker) -> None:
    """One process takes from both queues in turn, whatever the broker."""
    worker.kill()
    queues = ["low-priority"] * 10 + ["reports"]
    sent = [current_app.send_task("celery.accumulate", args=(1,), kwargs={"index": 0}, queue=queue) for queue in queues]
    alone = Worker("reports", queues=["reports", "low-priority"], concurrency=1)
    alone.start()
    for result in sent:
        assert result.get(timeout=60) == 1
    finished = [str(result.date_done) for result in sent]
    assert sorted(finished).index(finished[-1]) <= 2
    alone.stop()
    worker.start()


def test_the_companys_figures_are_for_staff_only(report: Report, site: Client, user: User, admin: User) -> None:
    pages = ["/reports/", report.get_absolute_url()]
    assert [site.get(page).status_code for page in pages] == [302, 302]
    site.force_login(user)
    assert [site.get(page).status_code for page in pages] == [403, 403]
    assert site.post("/reports/", {"days": 30, "reference": uuid.uuid4()}).status_code == 403
    assert site.post(f"{report.get_absolute_url()}cancel").status_code == 403
    assert "/reports/" not in site.get("/").content.decode()
    site.force_login(admin)
    assert [site.get(page).status_code for page in pages] == [200, 200]


def test_an_unknown_period_is_refused(staff_site: Client) -> None:
    assert staff_site.post("/reports/", {"days": 31, "reference": uuid.uuid4()}).status_code == 422
