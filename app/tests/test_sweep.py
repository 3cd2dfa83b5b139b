"""Work whose message was lost is sent again, whatever lost it."""

import contextlib
import os
import signal
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from accounts.models import Welcome
from analytics.models import Report
from celery import current_app
from core import broker, outbox
from core.models import OutboxRow, TaskRun, outbox_models
from crm.models import Lead
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from gateway.server import Server
from inventory.models import Product
from media.models import Document, Image
from newsletters.models import Chunk, Newsletter
from payments.models import Order, Receipt
from payments.services import place_order
from payments.tasks import process_payment
from pytest_django import Settings

from tests.conftest import Worker, misbehave, wait_until

PAID = Order.State.PAID


@pytest.fixture
def no_patience(settings: Settings) -> None:
    """What has not moved for a moment counts as stuck."""
    settings.WORK_DEADLINE = 0.3


def sweep_until_paid(orders: int) -> None:
    """Runs the sweep as Beat does, until the orders are paid."""

    def paid() -> bool:
        outbox.resend_stuck()
        return Order.objects.filter(state=PAID).count() == orders

    wait_until(paid)


def place(product: Product, orders: int) -> None:
    for _ in range(orders):
        place_order(product=product, quantity=1, reference=uuid.uuid4())


def test_every_kind_of_work_is_swept() -> None:
    assert set(outbox_models()) == {Welcome, Report, Lead, Image, Document, Chunk, Order}


@pytest.mark.parametrize("model", list(outbox_models()), ids=lambda model: model.__name__)
def test_the_task_of_a_row_that_was_deleted_has_nothing_to_do(db: None, model: type[OutboxRow]) -> None:
    assert current_app.tasks[model.task].apply(args=(0,), throw=True).get() == "gone"


@pytest.mark.parametrize("model", list(outbox_models()), ids=lambda model: model.__name__)
def test_every_kind_of_work_names_its_task_and_its_unfinished_states(model: type[OutboxRow]) -> None:
    states = {value for value, _ in model._meta.get_field("state").choices or ()}
    assert set(model.unfinished) < states
    assert model.task in current_app.tasks


def test_a_row_that_moved_lately_is_left_alone(order: Order) -> None:
    assert outbox.resend_stuck() == {}


def test_a_row_that_is_over_is_left_alone(order: Order, no_patience: None) -> None:
    order.move(state=Order.State.CANCELLED)
    assert outbox.resend_stuck() == {}


def test_a_stuck_row_is_sent_once_by_two_sweeps(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(process_payment, "apply_async", lambda args, *rest, **options: sent.append(*args))
    past = timezone.now() - timedelta(seconds=Order.patience + 1)
    Order.objects.update(moved_at=past, next_send_at=past)
    assert [outbox.resend_stuck() for _ in range(2)] == [{"payments.Order": 1}, {}]
    assert sent == [order.pk]


@pytest.fixture
def overdue(order: Order) -> Order:
    past = timezone.now() - timedelta(hours=1)
    Order.objects.update(moved_at=past, next_send_at=past)
    order.refresh_from_db()
    return order


def test_the_sweep_waits_longer_before_each_next_sending_up_to_an_hour(
    overdue: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_payment, "apply_async", lambda *args, expires, **options: expiries.append(expires))
    expiries: list[datetime] = []
    due: list[datetime] = []
    waits = []
    for _ in range(7):
        before = timezone.now()
        assert outbox.resend_stuck() == {"payments.Order": 1}
        due.append(Order.objects.get().next_send_at)
        waits.append((due[-1] - before).total_seconds())
        assert outbox.resend_stuck() == {}
        Order.objects.update(next_send_at=before)
    assert waits == pytest.approx([240, 480, 960, 1920, 3600, 3600, 3600], abs=60)
    assert expiries == due, "a message is of no use any more when the next one is sent"


def test_a_row_whose_message_may_still_wait_is_not_sent_again(overdue: Order, worker: Worker) -> None:
    worker.kill()
    Order.objects.update(sent_at=timezone.now())
    outbox.send(overdue)
    assert outbox.resend_stuck() == {}
    # A worker took what was sent later, so the row's own message was taken before, and is lost.
    outbox.note_taken(routing_key="critical", published_at=timezone.now())
    assert outbox.resend_stuck() == {"payments.Order": 1}
    worker.start()
    wait_until(worker.is_idle)


def test_a_worker_notes_how_far_it_served_a_queue(order: Order, worker: Worker, gateway: Server) -> None:
    assert outbox.taken_until("critical") < order.sent_at
    outbox.send(order)
    wait_until(lambda: Order.objects.get().state == PAID)
    wait_until(lambda: outbox.taken_until("critical") >= order.sent_at)
    # An older message that comes back changes nothing.
    outbox.note_taken(routing_key="critical", published_at=order.sent_at - timedelta(days=1))
    assert outbox.taken_until("critical") >= order.sent_at


def test_a_message_that_may_have_been_lost_an_hour_ago_is_sent_again_though_nobody_knows(
    overdue: Order, worker: Worker, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The cache, which tells how far a queue was served, is away: the sweep goes on without it."""
    worker.kill()
    outbox.send(overdue)
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}
    Order.objects.update(sent_at=timezone.now() - timedelta(minutes=59))
    assert outbox.resend_stuck() == {}
    Order.objects.update(sent_at=timezone.now() - timedelta(minutes=61))
    assert outbox.resend_stuck() == {"payments.Order": 1}
    assert "the cache does not tell how far critical was served: ConnectionError" in caplog.text


def test_a_row_that_was_sent_too_often_needs_attention_and_the_admin_gives_it_back(
    overdue: Order, admin: User, site: Client, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    Order.objects.update(sends=outbox.SEND_LIMIT)
    assert outbox.resend_stuck() == {}
    overdue.refresh_from_db()
    assert overdue.state == Order.State.NEEDS_ATTENTION
    assert "Sent 100 times" in overdue.error
    assert any(record.levelname == "CRITICAL" for record in caplog.records)
    site.force_login(admin)
    action = {"action": "try_again", "_selected_action": [overdue.pk]}
    assert "1 sent again" in site.post("/admin/payments/order/", action, follow=True).content.decode()
    wait_until(lambda: Order.objects.get().state == PAID)


def test_a_row_that_cannot_be_sent_does_not_keep_others_waiting(
    overdue: Order, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def send(args: tuple[int], *rest: object, **options: object) -> None:
        if args == (overdue.pk,):
            raise TypeError("this one cannot be written as JSON")

    other = Order.objects.create(product=overdue.product, amount=99)
    Order.objects.filter(pk=other.pk).update(moved_at=overdue.moved_at, next_send_at=timezone.now())
    monkeypatch.setattr(process_payment, "apply_async", send)
    assert outbox.resend_stuck() == {"payments.Order": 1}
    assert f"payments.Order {overdue.pk} could not be sent" in caplog.text


def test_the_sweep_adds_nothing_to_a_queue_that_is_long_already(
    overdue: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = dict.fromkeys(broker.queue_names(), 0)
    monkeypatch.setattr(broker, "queue_lengths", lambda: lengths | {"critical": outbox.QUEUE_LIMIT})
    assert outbox.resend_stuck() == {}
    monkeypatch.setattr(broker, "queue_lengths", lambda: lengths | {"images": outbox.QUEUE_LIMIT})
    monkeypatch.setattr(process_payment, "apply_async", lambda *args, **options: None)
    assert outbox.resend_stuck() == {"payments.Order": 1}


@pytest.mark.parametrize("model", list(outbox_models()), ids=lambda model: model.__name__)
def test_the_sweep_reads_an_index_of_unfinished_rows(model: type[OutboxRow]) -> None:
    assert Q(state__in=model.unfinished) in [index.condition for index in model._meta.indexes]
    assert model.patience == model.deadline(), "a deadline above WORK_DEADLINE never applies"


OVER, LEFT = 3000, 20


def rows(model: type[OutboxRow], product: Product) -> list[OutboxRow]:
    """Rows of this kind, as many as there may be after a while; the last ones are unfinished."""
    over = next(state for state in model._meta.get_field("state").flatchoices if state[0] not in model.unfinished)[0]
    users = User.objects.bulk_create(User(username=f"cook{number}") for number in range(OVER + LEFT))
    newsletter, today = Newsletter.objects.create(subject="Winter soups", body="Come in."), timezone.now().date()
    values: dict[type[OutboxRow], Callable[[int], dict[str, Any]]] = {
        Welcome: lambda number: {"user": users[number]},
        Report: lambda number: {"owner": users[0], "first_day": today, "days": 1},
        Lead: lambda number: {"name": "Alan", "email": "alan@example.org"},
        Image: lambda number: {"owner": users[0], "title": "pot", "file": "pot"},
        Document: lambda number: {"owner": users[0], "name": "menu.txt"},
        Chunk: lambda number: {"newsletter": newsletter, "first": number, "last": number},
        Order: lambda number: {"product": product, "amount": 100},
    }
    past = timezone.now() - timedelta(hours=1)
    states = OVER * [over] + LEFT * [model.unfinished[0]]
    common = {"moved_at": past, "next_send_at": past}
    return [model(**common | values[model](number) | {"state": state}) for number, state in enumerate(states)]


@pytest.mark.parametrize("model", list(outbox_models()), ids=lambda model: model.__name__)
def test_the_sweep_does_not_read_rows_that_are_over(model: type[OutboxRow], product: Product) -> None:
    model._default_manager.bulk_create(rows(model, product))
    index = next(index.name for index in model._meta.indexes if index.fields == ["next_send_at"])
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {model._meta.db_table}")
    with CaptureQueriesContext(connection) as queries:
        assert len(model.due()[: outbox.QUEUE_LIMIT]) == LEFT
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {queries[0]['sql']}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert index in plan, plan
    assert "Seq Scan" not in plan


def test_a_task_that_kills_its_process_each_time_ends_and_needs_attention(user: User, worker: Worker) -> None:
    report = Report.objects.create(owner=user, first_day=timezone.now().date(), days=100_000)
    outbox.send(report)

    def kill_whoever_runs_it() -> bool:
        for task in worker.control("active"):
            if task["name"] != Report.task:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(task["worker_pid"], signal.SIGKILL)
        report.refresh_from_db()
        return report.state == Report.State.NEEDS_ATTENTION

    wait_until(kill_whoever_runs_it, timeout=90)
    assert "WorkerLostError" in report.error
    runs = TaskRun.objects.filter(name=Report.task).order_by("retries")
    assert [run.state for run in runs] == ["RETRY", "RETRY", "RETRY", "FAILURE"]
    wait_until(worker.is_idle)


def test_a_task_that_fails_for_good_shows_why_in_its_row(
    order: Order, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("payments.services.claim", lambda order_id: 1 / 0)
    process_payment.apply(args=(order.pk,))
    order.refresh_from_db()
    assert order.error == "ZeroDivisionError: division by zero"
    assert [record.levelname for record in caplog.records if "failed for good" in record.message] == ["CRITICAL"]


def test_a_broker_that_is_down_loses_no_order(
    product: Product, worker: Worker, no_patience: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: object, **options: object) -> None:
        raise ConnectionError("no broker")

    with monkeypatch.context() as patch:
        patch.setattr(process_payment, "apply_async", unreachable)
        place(product, 1)
    sweep_until_paid(1)


def test_orders_whose_messages_were_deleted_are_paid(product: Product, worker: Worker, no_patience: None) -> None:
    worker.kill()
    place(product, 5)
    assert broker.queue_lengths()["critical"] == 5
    worker.broker.delete("celery:critical")
    worker.start()
    sweep_until_paid(5)
    assert Receipt.objects.count() == 5


def test_a_message_a_worker_took_and_never_recorded_is_sent_again(
    product: Product, worker: Worker, gateway: Server, no_patience: None
) -> None:
    # Stopped, the worker still has its BRPOP open: Redis hands it the message, and nothing else knows of it. It lasts a second, so it
    # has to be a new one.
    current_app.send_task("celery.accumulate", args=(1,), kwargs={"index": 0}, queue="default").get(timeout=60)
    wait_until(worker.is_idle)
    worker.send_signal(signal.SIGSTOP)
    place(product, 1)
    wait_until(lambda: broker.queue_lengths()["critical"] == 0)
    worker.kill()
    assert worker.broker.hlen("celery:unacked") == 0
    worker.start()
    assert broker.queue_lengths()["critical"] == 0
    sweep_until_paid(1)


def test_a_worker_killed_between_charge_and_receipt_does_not_charge_twice(
    product: Product, worker: Worker, gateway: Server, no_patience: None
) -> None:
    worker.kill()
    worker.start(DOWNSTREAM_TIMEOUT_MS="10000")
    misbehave(gateway, "charges", "slow", seconds=3, times=1)
    place(product, 1)
    wait_until(lambda: gateway.requests["charges"])
    worker.kill()
    wait_until(lambda: gateway.charges)
    assert not Receipt.objects.exists()
    worker.start()
    sweep_until_paid(1)
    assert Receipt.objects.count() == len(gateway.charges) == 1


def test_each_kind_of_stuck_work_is_finished_after_the_sweep(user: User, worker: Worker, gateway: Server) -> None:
    long_ago = {"moved_at": timezone.now() - timedelta(days=1)}
    Welcome.objects.create(user=user, **long_ago)
    Lead.objects.create(name="Alan", email="alan@example.org", **long_ago)
    Document.objects.create(owner=user, name="menu.txt", **long_ago)
    Report.objects.create(owner=user, first_day=timezone.now().date(), days=1, **long_ago)
    sent = outbox.resend_stuck()
    assert sent == {"accounts.Welcome": 1, "analytics.Report": 1, "crm.Lead": 1, "media.Document": 1}
    wait_until(lambda: all(model._default_manager.get().is_over for model in (Welcome, Lead, Document, Report)))
    assert not any(model._default_manager.get().state == "failed" for model in (Welcome, Lead, Document))
