"""Paying an order: the plain functions against a real database and a gateway that misbehaves."""

import threading
import uuid
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from gateway.server import Server
from inventory.models import Product
from payments import services
from payments.gateway import Charge, Declined, OutcomeUnknown, charge
from payments.models import Order, Receipt
from payments.tasks import process_payment

from tests.conftest import Worker, misbehave, wait_until

State = Order.State


def test_a_paid_order_has_one_receipt_over_its_amount(order: Order, gateway: Server) -> None:
    assert services.pay(order_id=order.pk) == State.PAID
    order.refresh_from_db()
    assert (order.state, order.attempts, order.unsettled) == (State.PAID, 1, False)
    assert order.receipt.amount == 1300
    assert order.receipt.charge == gateway.charges[str(order.idempotency_key)]["id"]


@pytest.mark.parametrize("state", [State.PAID, State.CANCELLED, State.FAILED])
def test_an_order_that_is_over_is_never_charged(order: Order, gateway: Server, state: Order.State) -> None:
    order.move(state=state)
    assert services.pay(order_id=order.pk) == state
    assert gateway.requests["charges"] == 0


def test_an_order_another_worker_is_charging_is_left_to_it(order: Order, gateway: Server) -> None:
    assert services.claim(order_id=order.pk)
    assert services.pay(order_id=order.pk) == State.PROCESSING
    assert gateway.requests["charges"] == 0


def test_a_claim_lapses_when_its_worker_was_lost(order: Order, gateway: Server) -> None:
    services.claim(order_id=order.pk)
    Order.objects.update(moved_at=timezone.now() - timedelta(seconds=2 * settings.DOWNSTREAM_TIMEOUT + 2))
    assert services.pay(order_id=order.pk) == State.PAID


def test_a_declined_order_fails_and_says_why(order: Order, gateway: Server) -> None:
    misbehave(gateway, "charges", "reject")
    assert services.pay(order_id=order.pk) == State.FAILED
    order.refresh_from_db()
    assert order.error == "refused"
    assert not Receipt.objects.exists()


def test_amounts_ending_in_02_are_declined(product: Product, gateway: Server) -> None:
    order = Order.objects.create(product=product, amount=1302)
    assert services.pay(order_id=order.pk) == State.FAILED
    order.refresh_from_db()
    assert order.error == "insufficient funds"


@pytest.mark.parametrize("mode", ["fail", "timeout", "drop"])
def test_an_unknown_outcome_puts_the_order_back_and_blocks_cancelling(order: Order, gateway: Server, mode: str) -> None:
    misbehave(gateway, "charges", mode, times=1)
    with pytest.raises(OutcomeUnknown):
        services.pay(order_id=order.pk)
    order.refresh_from_db()
    assert (order.state, order.unsettled) == (State.PENDING, True)
    assert order.error
    with pytest.raises(services.NotCancellable):
        services.cancel(order_id=order.pk)
    assert services.pay(order_id=order.pk) == State.PAID
    assert len(gateway.charges) == Receipt.objects.count() == 1


def test_a_connection_dropped_after_the_charge_does_not_charge_twice(order: Order, gateway: Server) -> None:
    misbehave(gateway, "charges", "drop", times=2)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            services.pay(order_id=order.pk)
    services.pay(order_id=order.pk)
    (made,) = gateway.charges.values()
    assert made["asked"] == 3
    assert Receipt.objects.get().charge == made["id"]


def test_no_lock_is_held_while_the_gateway_is_asked(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*, key: str, amount: int) -> Charge:
        before = len(connection.savepoint_ids)
        seen.append(before)
        return Charge("ch_1", amount)

    seen: list[int] = []
    monkeypatch.setattr("payments.gateway.charge", look)
    services.pay(order_id=order.pk)
    assert seen == [len(connection.savepoint_ids)]


def test_a_late_failure_does_not_undo_what_another_attempt_settled(order: Order) -> None:
    services.settle(order_id=order.pk, state=State.PAID, charge=Charge("ch_1", 1300))
    assert services.settle(order_id=order.pk, state=State.PENDING, error="late", unsettled=True) == State.PAID


def test_a_second_receipt_is_refused_by_the_database(order: Order) -> None:
    Receipt.objects.create(order=order, charge="ch_1", amount=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        Receipt.objects.create(order=order, charge="ch_2", amount=1)


def test_a_pending_order_can_be_cancelled_once(order: Order) -> None:
    assert services.cancel(order_id=order.pk).state == State.CANCELLED
    with pytest.raises(services.NotCancellable):
        services.cancel(order_id=order.pk)


@pytest.mark.parametrize("state", [State.PROCESSING, State.PAID, State.FAILED])
def test_an_order_past_pending_cannot_be_cancelled(order: Order, state: Order.State) -> None:
    order.move(state=state)
    with pytest.raises(services.NotCancellable):
        services.cancel(order_id=order.pk)


def test_the_same_reference_makes_one_order(product: Product) -> None:
    reference = uuid.uuid4()
    first = services.place_order(product=product, quantity=1, reference=reference)
    second = services.place_order(product=product, quantity=9, reference=reference)
    assert first == second
    assert Order.objects.get().quantity == 1


def test_the_gateways_failures_are_told_apart(gateway: Server) -> None:
    misbehave(gateway, "charges", "reject", times=1)
    with pytest.raises(Declined):
        charge(key="k", amount=100)
    misbehave(gateway, "charges", "timeout", times=1)
    with pytest.raises(OutcomeUnknown, match="in time"):
        charge(key="k", amount=100)
    misbehave(gateway, "charges", "drop", times=1)
    with pytest.raises(OutcomeUnknown, match="broke"):
        charge(key="k", amount=100)
    misbehave(gateway, "charges", "fail", times=1)
    with pytest.raises(OutcomeUnknown, match="503"):
        charge(key="k", amount=100)


@pytest.mark.django_db(transaction=True)
def test_ten_workers_at_once_charge_once(order: Order, gateway: Server) -> None:
    def work() -> None:
        together.wait()
        states.append(services.pay(order_id=order.pk))
        connection.close()

    misbehave(gateway, "charges", "slow", seconds=0.1)
    together, states = threading.Barrier(10), list[str]()
    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == [State.PAID] + 9 * [State.PROCESSING]
    (made,) = gateway.charges.values()
    assert made["asked"] == 1


def test_the_same_task_delivered_ten_times_charges_once(order: Order, worker: Worker, gateway: Server) -> None:
    misbehave(gateway, "charges", "slow", seconds=0.1)
    for _ in range(10):
        process_payment.apply_async((order.pk,), task_id="the-same-task")
    wait_until(lambda: Order.objects.filter(state=State.PAID).exists())
    wait_until(worker.is_idle)
    assert Receipt.objects.count() == len(gateway.charges) == gateway.requests["charges"] == 1


def test_ten_deliveries_and_dropped_connections_charge_once(order: Order, worker: Worker, gateway: Server) -> None:
    misbehave(gateway, "charges", "drop", times=3)
    for _ in range(10):
        process_payment.delay(order.pk)
    wait_until(lambda: Order.objects.filter(state=State.PAID).exists())
    wait_until(worker.is_idle)
    assert Receipt.objects.count() == len(gateway.charges) == 1


@pytest.mark.results
@pytest.mark.parametrize("mode", ["fail", "timeout", "drop"])
def test_the_task_tries_again_until_the_gateway_answers(
    order: Order, worker: Worker, gateway: Server, mode: str
) -> None:
    misbehave(gateway, "charges", mode, times=2)
    assert process_payment.delay(order.pk).get(timeout=15) == State.PAID
    order.refresh_from_db()
    assert order.attempts == 3


def test_an_outage_longer_than_the_retries_leaves_the_order_pending(
    order: Order, worker: Worker, gateway: Server
) -> None:
    misbehave(gateway, "charges", "fail")
    with pytest.raises(OutcomeUnknown):
        process_payment.delay(order.pk).get(timeout=15)
    order.refresh_from_db()
    assert (order.state, order.attempts, order.unsettled) == (State.PENDING, 6, True)
