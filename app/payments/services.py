"""What happens to an order. A row is locked only while something is decided, never while the gateway is asked."""

import logging
import uuid
from datetime import datetime, timedelta

from core import outbox
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from inventory.models import Product

from payments import gateway
from payments.models import Order, Receipt

logger = logging.getLogger(__name__)
State = Order.State


class TooOld(Exception):
    """The gateway may have forgotten the order's key: asking again could charge twice."""


class NotCancellable(Exception):
    """The order is paid, over, or a charge may be under way."""


def place_order(*, product: Product, quantity: int, reference: uuid.UUID, customer: User | None = None) -> Order:
    """Creates the order and queues its payment; the same form again returns the order it made.

    Raises outbox.AlreadySent if the reference was used for another order.
    """
    amount = product.price * quantity
    return outbox.create_and_send(
        Order,
        reference=reference,
        told_apart_by=("product", "quantity", "customer"),
        product=product,
        quantity=quantity,
        amount=amount,
        customer=customer,
    )


def pay(*, order_id: int) -> str:
    """Charges the order's amount and records the receipt; returns the state the order is in afterwards.

    Raises gateway.OutcomeUnknown, with the order back in pending, if the gateway gave no usable answer.
    """
    order = claim(order_id=order_id)
    if order is None:
        return Order.objects.values_list("state", flat=True).get(pk=order_id)
    try:
        charge = charge_once(order=order)
    except gateway.Declined as error:
        return settle(order_id=order_id, state=State.FAILED, error=str(error))
    except (gateway.Refused, TooOld) as error:
        return settle(order_id=order_id, state=State.NEEDS_ATTENTION, error=str(error), unsettled=order.attempts > 1)
    except gateway.OutcomeUnknown as error:
        settle(order_id=order_id, state=State.PENDING, error=str(error), unsettled=True)
        raise
    return record_charge(order_id=order_id, charge=charge)


def claim(*, order_id: int) -> Order | None:
    """Takes the order for one attempt, or returns None: it is over, or another worker is at it.

    A worker that died in the middle leaves the order in processing; its claim lapses when the task's time limit, which
    no attempt outlives, is past.
    """
    now = timezone.now()
    lapsed = now - timedelta(seconds=settings.PAYMENT_TIME_LIMIT + 1)
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order_id)
        if order.is_over or (order.state == State.PROCESSING and order.moved_at > lapsed):
            logger.info("order %s is %s: nothing to do", order.pk, order.state)
            return None
        attempts, asked_at = order.attempts + 1, order.asked_at or now
        order.move(state=State.PROCESSING, attempts=attempts, asked_at=asked_at, unsettled=True)
        return order


def charge_once(*, order: Order) -> gateway.Charge:
    """The charge for the order: the one that an earlier attempt made, or a new one.

    Raises TooOld, and what the gateway module raises.
    """
    if receipt := Receipt.objects.filter(order=order).first():
        return gateway.Charge(id=receipt.charge, amount=receipt.amount)
    key, reference = str(order.idempotency_key), str(order.reference)
    if order.attempts > 1:
        found = gateway.find(reference=reference)
        if found:
            logger.warning("order %s: found the charge %s of an earlier attempt", order.pk, found.id)
            return found
        limit = timedelta(seconds=settings.PAYMENT_KEY_AGE_LIMIT)
        if order.asked_at and timezone.now() - order.asked_at > limit:
            raise TooOld(f"There is no charge, and the first attempt is more than {limit} ago.")
    try:
        return gateway.charge(key=key, reference=reference, amount=order.amount)
    except gateway.Declined:
        # An earlier attempt without an answer may have been charged after it was looked for.
        if order.attempts > 1 and (found := gateway.find(reference=reference)):
            logger.warning("order %s: declined, but there is the charge %s of an earlier attempt", order.pk, found.id)
            return found
        raise


def settle(*, order_id: int, state: Order.State, error: str, unsettled: bool = False) -> str:
    """Records how an attempt without a charge ended; what another attempt settled in the meantime stays."""
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order_id)
        if order.is_over:
            logger.warning("order %s is %s already; a late attempt ended with: %s", order.pk, order.state, error)
        else:
            order.move(state=state, error=error, unsettled=unsettled)
            urgent = logging.CRITICAL if state == State.NEEDS_ATTENTION else logging.WARNING
            logger.log(urgent, "order %s is %s: %s", order.pk, state, error)
        return order.state


def record_charge(*, order_id: int, charge: gateway.Charge) -> str:
    """Records that the customer was charged; returns the state the order is in then.

    It is paid, unless the money does not fit what is known of the order: that needs a person.
    """
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order_id)
        problem = write_receipt(order=order, charge=charge)
        if problem:
            logger.critical("order %s: %s", order.pk, problem)
            order.move(state=State.NEEDS_ATTENTION, error=problem, unsettled=False)
        elif order.state != State.PAID:
            order.move(state=State.PAID, error="", unsettled=False, paid_at=timezone.now())
            logger.info("order %s is paid: %s", order.pk, charge.id)
        return order.state


def write_receipt(*, order: Order, charge: gateway.Charge) -> str:
    """Keeps the proof of the charge unless there is one; returns what is wrong with the charge, if anything."""
    others = Receipt.objects.filter(charge=charge.id).exclude(order=order)
    if other := others.first():
        return f"The gateway answered with the charge of order {other.order_id}: {charge.id}."
    receipt, _ = Receipt.objects.get_or_create(order=order, defaults={"charge": charge.id, "amount": charge.amount})
    if receipt.charge != charge.id:
        return f"Charged twice: {receipt.charge} and {charge.id}."
    if charge.amount != order.amount:
        return f"Charged {charge.amount} cents instead of {order.amount}: {charge.id}."
    if order.state in (State.FAILED, State.CANCELLED):
        return f"Charged although {order.state}: {charge.id}."
    return ""


def cancel(*, order_id: int) -> Order:
    """Cancels an order nobody has tried to charge. Raises NotCancellable otherwise."""
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order_id)
        if not order.can_be_cancelled:
            raise NotCancellable(f"The order is {order.state} and cannot be cancelled now.")
        order.move(state=State.CANCELLED)
        logger.info("order %s is cancelled by its customer", order.pk)
        return order


def charge_anew(*, orders: QuerySet[Order]) -> int:
    """Lets orders that need attention be charged with a new key, after another look for a charge; returns how many.

    For orders that are too old for the key they have, and whose customer still wants them.
    """
    count = 0
    for order in orders.filter(state=State.NEEDS_ATTENTION, receipt=None):
        with transaction.atomic():
            order.sent_at = now = timezone.now()
            if Order.objects.filter(pk=order.pk, state=State.NEEDS_ATTENTION).update(
                state=State.PENDING,
                idempotency_key=uuid.uuid4(),
                asked_at=None,
                moved_at=now,
                sent_at=now,
                next_send_at=now,
                sends=0,
            ):
                logger.warning("order %s is charged with a new key", order.pk)
                outbox.send_on_commit(order)
                count += 1
    return count


def close_unpaid(*, orders: QuerySet[Order]) -> int:
    """Cancels orders that need attention and for which the gateway knows no charge; returns how many.

    Raises gateway.OutcomeUnknown or gateway.Refused if it does not tell.
    """
    count = 0
    for order in orders.filter(state=State.NEEDS_ATTENTION, receipt=None):
        row = Order.objects.filter(pk=order.pk, state=State.NEEDS_ATTENTION)
        cancelled = {"state": State.CANCELLED, "unsettled": False, "moved_at": timezone.now()}
        if gateway.find(reference=str(order.reference)) is None and row.update(**cancelled):
            logger.warning("order %s is cancelled: no charge", order.pk)
            count += 1
    return count


def accept_charge(*, orders: QuerySet[Order]) -> int:
    """Counts orders that need attention as paid with the charge they have; returns how many.

    For those whose charge is right after all, or was put right at the gateway.
    """
    count = 0
    for order in orders.filter(state=State.NEEDS_ATTENTION, receipt__isnull=False):
        now = timezone.now()
        if Order.objects.filter(pk=order.pk, state=State.NEEDS_ATTENTION).update(
            state=State.PAID, moved_at=now, paid_at=now
        ):
            logger.warning("order %s is paid, as staff say", order.pk)
            count += 1
    return count


def paid_between(start: datetime, end: datetime) -> QuerySet[Order]:
    """Orders paid from the start until before the end.

    While a release is under way, the one before it still pays orders, and knows no `paid_at`: their receipts tell when.
    """
    receipts = Receipt.objects.filter(created_at__gte=start, created_at__lt=end)
    known = Q(paid_at__gte=start, paid_at__lt=end)
    return Order.objects.filter(known | Q(paid_at=None, pk__in=receipts.values("order")), state=State.PAID)
