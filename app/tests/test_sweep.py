"""Work whose message was lost is sent again, whatever lost it."""

import signal
import uuid
from datetime import timedelta

import pytest
from accounts.models import Welcome
from analytics.models import Report
from celery import current_app
from core import outbox, services
from core.models import OutboxRow, outbox_models
from crm.models import Lead
from django.contrib.auth.models import User
from django.utils import timezone
from gateway.server import Server
from inventory.models import Product
from media.models import Document, Image
from newsletters.models import Chunk
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
    monkeypatch.setattr(outbox, "send", lambda order: sent.append(order.pk))
    past = timezone.now() - timedelta(seconds=Order.patience + 1)
    Order.objects.update(moved_at=past, sent_at=past)
    assert [outbox.resend_stuck() for _ in range(2)] == [{"payments.Order": 1}, {}]
    assert sent == [order.pk]


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
    assert services.queue_lengths()["critical"] == 5
    worker.broker.delete("celery:critical")
    worker.start()
    sweep_until_paid(5)
    assert Receipt.objects.count() == 5


def test_a_message_a_worker_took_and_never_recorded_is_sent_again(
    product: Product, worker: Worker, gateway: Server, no_patience: None
) -> None:
    # Stopped, the worker still has its BRPOP open: Redis hands it the message, and nothing else knows of it.
    worker.send_signal(signal.SIGSTOP)
    place(product, 1)
    wait_until(lambda: services.queue_lengths()["critical"] == 0)
    worker.kill()
    assert worker.broker.hlen("celery:unacked") == 0
    worker.start()
    assert services.queue_lengths()["critical"] == 0
    sweep_until_paid(1)


def test_a_worker_killed_between_charge_and_receipt_does_not_charge_twice(
    product: Product, worker: Worker, gateway: Server, no_patience: None
) -> None:
    misbehave(gateway, "charges", "slow", seconds=0.3, times=1)
    place(product, 1)
    wait_until(lambda: Order.objects.filter(state=Order.State.PROCESSING).exists())
    worker.kill()
    wait_until(lambda: gateway.charges)
    assert not Receipt.objects.exists()
    worker.start()
    sweep_until_paid(1)
    assert Receipt.objects.count() == len(gateway.charges) == 1


def test_each_kind_of_stuck_work_is_finished_after_the_sweep(user: User, worker: Worker, gateway: Server) -> None:
    long_ago = {"moved_at": timezone.now() - timedelta(days=1), "sent_at": timezone.now() - timedelta(days=1)}
    Welcome.objects.create(user=user, **long_ago)
    Lead.objects.create(name="Alan", email="alan@example.org", **long_ago)
    Document.objects.create(owner=user, name="menu.txt", **long_ago)
    Report.objects.create(owner=user, first_day=timezone.now().date(), days=1, **long_ago)
    sent = outbox.resend_stuck()
    assert sent == {"accounts.Welcome": 1, "analytics.Report": 1, "crm.Lead": 1, "media.Document": 1}
    wait_until(lambda: all(model._default_manager.get().is_over for model in (Welcome, Lead, Document, Report)))
    assert not any(model._default_manager.get().state == "failed" for model in (Welcome, Lead, Document))
