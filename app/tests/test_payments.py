"""Paying an order: the plain functions against a real database and a gateway that misbehaves."""

import contextlib
import signal
import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
import requests
from core import outbox
from core.outbox import AlreadySent
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test import Client
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
    assert order.receipt.charge == gateway.keys[str(order.idempotency_key)][0]
    assert order.paid_at


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
    Order.objects.update(moved_at=timezone.now() - timedelta(seconds=settings.PAYMENT_TIME_LIMIT + 2))
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


@pytest.mark.parametrize("mode", ["fail", "cut", "timeout", "drop", "silence", "torn"])
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
    misbehave(gateway, "charges", "drop", times=1)
    misbehave(gateway, "lookups", "fail", times=1)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            services.pay(order_id=order.pk)
    services.pay(order_id=order.pk)
    (made,) = gateway.charges.values()
    assert made["asked"] == 1
    assert Receipt.objects.get().charge == made["id"]


def test_a_charge_is_looked_up_and_not_asked_for_again_when_the_gateway_forgot_the_key(
    order: Order, gateway: Server
) -> None:
    misbehave(gateway, "charges", "drop", times=1)
    with pytest.raises(OutcomeUnknown):
        services.pay(order_id=order.pk)
    gateway.keys.clear()
    assert services.pay(order_id=order.pk) == State.PAID
    assert len(gateway.charges) == Receipt.objects.count() == 1


def test_a_decline_is_not_believed_when_an_earlier_attempt_was_charged_meanwhile(order: Order, gateway: Server) -> None:
    misbehave(gateway, "charges", "fail", times=1)
    with pytest.raises(OutcomeUnknown):
        services.pay(order_id=order.pk)
    # The charge is not there yet when it is looked for.
    misbehave(gateway, "lookups", "reject", status=404, times=1)
    charge(key=str(order.idempotency_key), reference=str(order.reference), amount=order.amount)
    misbehave(gateway, "charges", "reject", times=1)
    assert services.pay(order_id=order.pk) == State.PAID
    assert len(gateway.charges) == Receipt.objects.count() == 1


def test_a_key_is_asked_with_no_longer_than_the_gateway_remembers_it(gateway: Server) -> None:
    assert settings.PAYMENT_KEY_AGE_LIMIT + settings.PAYMENT_TIME_LIMIT < settings.PAYMENT_KEY_RETENTION
    charges = [charge(key="k", reference="r", amount=100) for _ in range(2)]
    requests.put(f"{settings.PAYMENT_GATEWAY_URL}/keys", json={"seconds": 0}, timeout=5)
    charges.append(charge(key="k", reference="r", amount=100))
    assert [charges.count(found) for found in charges] == [2, 2, 1]


@pytest.fixture
def old_order(order: Order, gateway: Server) -> Order:
    """Asked for yesterday without an answer; the gateway has forgotten the key since, and there is no charge."""
    misbehave(gateway, "charges", "fail", times=1)
    with pytest.raises(OutcomeUnknown):
        services.pay(order_id=order.pk)
    Order.objects.update(asked_at=timezone.now() - timedelta(seconds=settings.PAYMENT_KEY_AGE_LIMIT + 60))
    order.refresh_from_db()
    return order


def test_an_order_too_old_for_its_key_is_not_charged_but_needs_attention(old_order: Order, gateway: Server) -> None:
    assert services.pay(order_id=old_order.pk) == State.NEEDS_ATTENTION
    assert gateway.charges == {}
    old_order.refresh_from_db()
    assert "no charge" in old_order.error
    assert services.pay(order_id=old_order.pk) == State.NEEDS_ATTENTION
    assert gateway.requests["charges"] == 1


def act(site: Client, action: str, order: Order) -> str:
    form = {"action": action, "_selected_action": [order.pk]}
    return site.post("/admin/payments/order/", form, follow=True).content.decode()


def test_the_admin_charges_an_old_order_with_a_new_key(
    old_order: Order, admin: User, site: Client, worker: Worker, gateway: Server
) -> None:
    services.pay(order_id=old_order.pk)
    site.force_login(admin)
    assert "1 sent again" in act(site, "charge_anew", old_order)
    wait_until(lambda: Order.objects.get().state == State.PAID)
    assert len(gateway.charges) == 1


def test_the_admin_cancels_an_old_order_only_when_the_gateway_knows_no_charge(
    old_order: Order, admin: User, site: Client, gateway: Server
) -> None:
    services.pay(order_id=old_order.pk)
    site.force_login(admin)
    misbehave(gateway, "lookups", "fail", times=1)
    assert "The gateway does not tell" in act(site, "close_unpaid", old_order)
    charge(key="late", reference=str(old_order.reference), amount=1300)
    assert "0 cancelled" in act(site, "close_unpaid", old_order)
    gateway.charges.clear()
    assert "1 cancelled" in act(site, "close_unpaid", old_order)
    assert Order.objects.get().state == State.CANCELLED


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_request_the_gateway_will_never_take_needs_attention_at_once(
    order: Order, gateway: Server, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    misbehave(gateway, "charges", "reject", status=status)
    assert services.pay(order_id=order.pk) == State.NEEDS_ATTENTION
    order.refresh_from_db()
    assert str(status) in order.error
    assert not order.unsettled
    assert [record.levelname for record in caplog.records if f"order {order.pk}" in record.message] == ["CRITICAL"]


@pytest.mark.parametrize("status", [408, 409, 425, 429])
def test_a_request_the_gateway_may_take_later_is_repeated(order: Order, gateway: Server, status: int) -> None:
    misbehave(gateway, "charges", "reject", status=status, times=1)
    with pytest.raises(OutcomeUnknown, match=str(status)):
        services.pay(order_id=order.pk)
    assert services.pay(order_id=order.pk) == State.PAID


@pytest.mark.parametrize(
    "body",
    [
        "<html>",
        "",
        "[]",
        "{}",
        "null",
        '{"id": null, "amount": 1300}',
        '{"id": "", "amount": 1300}',
        '{"id": "ch_1"}',
        '{"id": "ch_1", "amount": "13.00"}',
        f'{{"id": "{"c" * 65}", "amount": 1300}}',
    ],
)
def test_an_answer_that_cannot_be_read_is_an_unknown_outcome(order: Order, gateway: Server, body: str) -> None:
    misbehave(gateway, "charges", "garbage", times=1, body=body)
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        services.pay(order_id=order.pk)
    order.refresh_from_db()
    assert (order.state, order.unsettled) == (State.PENDING, True)
    assert services.pay(order_id=order.pk) == State.PAID


def test_a_refusal_without_a_readable_reason_is_still_a_refusal(order: Order, gateway: Server) -> None:
    misbehave(gateway, "charges", "garbage", status=402)
    assert services.pay(order_id=order.pk) == State.FAILED
    order.refresh_from_db()
    assert order.error == "no reason given"


def test_another_amount_than_the_orders_needs_attention_and_keeps_the_receipt(order: Order, gateway: Server) -> None:
    misbehave(gateway, "charges", "wrong")
    assert services.pay(order_id=order.pk) == State.NEEDS_ATTENTION
    order.refresh_from_db()
    assert "1301 cents instead of 1300" in order.error
    assert order.receipt.amount == 1301


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_a_late_charge_on_an_order_that_is_over_is_not_silent(
    order: Order, state: Order.State, caplog: pytest.LogCaptureFixture
) -> None:
    order.move(state=state)
    assert services.record_charge(order_id=order.pk, charge=Charge("ch_1", 1300)) == State.NEEDS_ATTENTION
    order.refresh_from_db()
    assert order.error == f"Charged although {state}: ch_1."
    assert any(record.levelname == "CRITICAL" and f"order {order.pk}" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ({"mode": "ok"}, "is paid: ch_"),
        ({"mode": "reject"}, "is failed: refused"),
        ({"mode": "reject", "status": 422}, "is needs_attention: the gateway refused"),
        ({"mode": "fail"}, "is pending: the gateway answered 503"),
        ({"mode": "drop"}, "is pending: the connection to the gateway broke"),
        ({"mode": "wrong"}, "Charged 1301 cents instead of 1300"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_how_each_attempt_ended_is_logged_with_the_order(
    order: Order, gateway: Server, caplog: pytest.LogCaptureFixture, mode: dict[str, Any], said: str
) -> None:
    caplog.set_level("INFO", "payments")
    with gateway.lock:
        gateway.modes["charges"] = mode
    with contextlib.suppress(OutcomeUnknown):
        services.pay(order_id=order.pk)
    assert [line for line in caplog.messages if line.startswith(f"order {order.pk}")] == caplog.messages
    assert said in caplog.messages[-1]


def test_what_ends_an_order_without_an_attempt_is_logged_too(order: Order, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "payments")
    services.cancel(order_id=order.pk)
    services.pay(order_id=order.pk)
    assert caplog.messages == [
        f"order {order.pk} is cancelled by its customer",
        f"order {order.pk} is cancelled: nothing to do",
    ]


def test_a_second_charge_is_not_silent(order: Order) -> None:
    services.record_charge(order_id=order.pk, charge=Charge("ch_1", 1300))
    services.record_charge(order_id=order.pk, charge=Charge("ch_2", 1300))
    order.refresh_from_db()
    assert (order.state, order.error) == (State.NEEDS_ATTENTION, "Charged twice: ch_1 and ch_2.")


def test_an_answer_that_trickles_in_does_not_outlive_the_claim(order: Order, worker: Worker, gateway: Server) -> None:
    # No single read times out, so only the task's limit ends it.
    misbehave(gateway, "charges", "trickle", times=1)
    result = process_payment.apply_async((order.pk,), soft_time_limit=1, time_limit=10)
    assert result.get(timeout=60) == State.PAID
    assert process_payment.time_limit == settings.PAYMENT_TIME_LIMIT
    order.refresh_from_db()
    assert order.attempts == 2


def test_no_lock_is_held_while_the_gateway_is_asked(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*, key: str, reference: str, amount: int) -> Charge:
        before = len(connection.savepoint_ids)
        seen.append(before)
        return Charge("ch_1", amount)

    seen: list[int] = []
    monkeypatch.setattr("payments.gateway.charge", look)
    services.pay(order_id=order.pk)
    assert seen == [len(connection.savepoint_ids)]


def test_a_charge_of_another_order_is_not_taken_for_this_ones(order: Order, caplog: pytest.LogCaptureFixture) -> None:
    other = Order.objects.create(product=order.product, amount=1300)
    services.record_charge(order_id=other.pk, charge=Charge("ch_1", 1300))
    assert services.record_charge(order_id=order.pk, charge=Charge("ch_1", 1300)) == State.NEEDS_ATTENTION
    order.refresh_from_db()
    assert order.error == f"The gateway answered with the charge of order {other.pk}: ch_1."
    assert Receipt.objects.get().order == other


@pytest.fixture
def overcharged(order: Order, gateway: Server) -> Order:
    misbehave(gateway, "charges", "wrong", times=1)
    services.pay(order_id=order.pk)
    order.refresh_from_db()
    return order


def test_an_order_with_a_receipt_is_neither_charged_again_nor_cancelled_when_it_is_given_back(
    overcharged: Order, gateway: Server
) -> None:
    assert outbox.try_again(Order.objects.all()) == 0, "staff say that the charge is right, or give it back"
    with pytest.raises(services.NotCancellable):
        services.cancel(order_id=overcharged.pk)
    gateway.reset()  # it knows nothing of the charge any more
    assert services.pay(order_id=overcharged.pk) == State.NEEDS_ATTENTION
    assert gateway.requests["charges"] == 0
    assert "1301 cents instead of 1300" in Order.objects.get().error


def test_the_admin_counts_a_charged_order_as_paid(overcharged: Order, admin: User, site: Client) -> None:
    site.force_login(admin)
    assert "1 paid" in act(site, "accept_charge", overcharged)
    overcharged.refresh_from_db()
    assert overcharged.state == State.PAID
    assert "1301 cents instead of 1300" in overcharged.error, "what was wrong stays to be read"
    assert overcharged.paid_at
    assert "0 paid" in act(site, "accept_charge", overcharged)


def test_a_late_failure_does_not_undo_what_another_attempt_settled(order: Order) -> None:
    services.record_charge(order_id=order.pk, charge=Charge("ch_1", 1300))
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
    Product.objects.update(price=product.price + 1)  # a new price makes no other order
    product.refresh_from_db()
    second = services.place_order(product=product, quantity=1, reference=reference)
    assert first == second
    with pytest.raises(AlreadySent):
        services.place_order(product=product, quantity=9, reference=reference)
    assert Order.objects.get().quantity == 1


def test_another_broken_rule_is_not_taken_for_a_form_sent_twice(product: Product) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        services.place_order(product=product, quantity=-1, reference=uuid.uuid4())


def test_the_gateways_failures_are_told_apart(gateway: Server) -> None:
    misbehave(gateway, "charges", "reject", times=1)
    with pytest.raises(Declined):
        charge(key="k", reference="r", amount=100)
    misbehave(gateway, "charges", "timeout", times=1)
    with pytest.raises(OutcomeUnknown, match="in time"):
        charge(key="k", reference="r", amount=100)
    misbehave(gateway, "charges", "drop", times=1)
    with pytest.raises(OutcomeUnknown, match="broke"):
        charge(key="k", reference="r", amount=100)
    misbehave(gateway, "charges", "fail", times=1)
    with pytest.raises(OutcomeUnknown, match="503"):
        charge(key="k", reference="r", amount=100)


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


def test_an_order_delivered_again_right_after_a_crash_is_paid_without_the_sweep(
    order: Order, worker: Worker, gateway: Server
) -> None:
    """The claim of the worker that was lost still holds then."""
    worker.kill()
    worker.start(DOWNSTREAM_TIMEOUT_MS="10000")
    misbehave(gateway, "charges", "timeout", times=1)
    process_payment.delay(order.pk)
    wait_until(lambda: gateway.requests["charges"])
    assert worker.process
    worker.process.send_signal(signal.SIGQUIT)  # ends it at once, but lets it give its messages back
    worker.process.wait(20)
    message = worker.broker.rpop("celery:critical")
    assert isinstance(message, bytes)
    worker.start()
    assert Order.objects.filter(state=State.PROCESSING).update(moved_at=timezone.now())  # a start may take long
    worker.broker.rpush("celery:critical", message)
    wait_until(lambda: Order.objects.get().state == State.PAID)
    assert len(gateway.charges) == 1


def test_ten_deliveries_and_dropped_connections_charge_once(order: Order, worker: Worker, gateway: Server) -> None:
    misbehave(gateway, "charges", "drop", times=3)
    for _ in range(10):
        process_payment.delay(order.pk)
    wait_until(lambda: Order.objects.filter(state=State.PAID).exists())
    wait_until(worker.is_idle)
    assert Receipt.objects.count() == len(gateway.charges) == 1


@pytest.mark.results
# What was charged before the connection dropped is found by the next attempt.
@pytest.mark.parametrize(("mode", "attempts"), [("fail", 3), ("timeout", 3), ("drop", 2)])
def test_the_task_tries_again_until_the_gateway_answers(
    order: Order, worker: Worker, gateway: Server, mode: str, attempts: int
) -> None:
    misbehave(gateway, "charges", mode, times=2)
    assert process_payment.delay(order.pk).get(timeout=60) == State.PAID
    order.refresh_from_db()
    assert order.attempts == attempts


def test_an_outage_longer_than_the_retries_leaves_the_order_pending(
    order: Order, worker: Worker, gateway: Server
) -> None:
    misbehave(gateway, "charges", "fail")
    with pytest.raises(OutcomeUnknown):
        process_payment.delay(order.pk).get(timeout=60)
    order.refresh_from_db()
    assert (order.state, order.attempts, order.unsettled) == (State.PENDING, 6, True)
