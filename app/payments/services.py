"""What happens to an order. A row is locked only while something is decided, never while the gateway is asked."""

import uuid
from datetime import timedelta

from core import outbox
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from inventory.models import Product

from payments import gateway
from payments.models import Order, Receipt


class NotCancellable(Exception):
    """The order is paid, over, or a charge may be under way."""


def place_order(*, product: Product, quantity: int, reference: uuid.UUID, customer: User | None = None) -> Order:
    """Creates the order and queues its payment; the same reference again returns the order it made."""
    amount = product.price * quantity
    return outbox.create_and_send(
        Order, reference=reference, product=product, quantity=quantity, amount=amount, customer=customer
    )


def pay(*, order_id: int) -> str:
    """Charges the order's amount and records the receipt; returns the state the order is in afterwards.

    Raises gateway.OutcomeUnknown, with the order back in pending, if the gateway gave no usable answer.
    """
    order = claim(order_id=order_id)
    if order is None:
        return Order.objects.values_list("state", flat=True).get(pk=order_id)
    try:
        charge = gateway.charge(key=str(order.idempotency_key), amount=order.amount)
    except gateway.Declined as error:
        return settle(order_id=order_id, state=Order.State.FAILED, error=str(error))
    except gateway.OutcomeUnknown as error:
        settle(order_id=order_id, state=Order.State.PENDING, error=str(error), unsettled=True)
        raise
    return settle(order_id=order_id, state=Order.State.PAID, charge=charge)


def claim(*, order_id: int) -> Order | None:
    """Takes the order for one attempt, or returns None: it is over, or another worker is at it.

    A worker that died in the middle leaves the order in processing; its claim lapses after twice the gateway's timeout.
    """
    lapsed = timezone.now() - timedelta(seconds=2 * settings.DOWNSTREAM_TIMEOUT + 1)
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order_id)
        if order.is_over or (order.state == Order.State.PROCESSING and order.moved_at > lapsed):
            return None
        order.move(state=Order.State.PROCESSING, attempts=order.attempts + 1, unsettled=True)
        return order


def settle(
    *,
    order_id: int,
    state: Order.State,
    error: str = "",
    unsettled: bool = False,
    charge: gateway.Charge | None = None,
) -> str:
    """Records how an attempt ended; what another attempt settled in the meantime stays."""
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order_id)
        if charge:
            Receipt.objects.get_or_create(order=order, defaults={"charge": charge.id, "amount": charge.amount})
        if not order.is_over:
            order.move(state=state, error=error, unsettled=unsettled)
        return order.state


def cancel(*, order_id: int) -> Order:
    """Cancels an order nobody has tried to charge. Raises NotCancellable otherwise."""
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order_id)
        if not order.can_be_cancelled:
            raise NotCancellable(f"The order is {order.state} and cannot be cancelled now.")
        order.move(state=Order.State.CANCELLED)
        return order
