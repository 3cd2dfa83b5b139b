"""What is promised of every order, message and mail, counted over many of them.

COUNT orders: 150 unless the environment says otherwise (`make prove`: 2,000), and five times as many mails.
"""

import base64
import contextlib
import json
import os
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from core import outbox
from core.models import TaskRun
from django.core.cache import cache
from django.db.models import F
from django.utils import timezone
from gateway.server import MODES, Server
from inventory.models import Product
from newsletters import services as newsletters
from newsletters.models import Newsletter, Subscriber
from payments import services
from payments.models import Order, Receipt
from pytest_django import Settings

from tests.conftest import COUNTED, Mailbox, Worker, misbehave, wait_until

COUNT = int(os.environ.get("COUNT", 150))
State = Order.State
WEEKEND = timedelta(days=3)

# Every way in which the gateway answers a request for a charge, with a good answer between them.
ANSWERS: list[dict[str, Any]] = [
    {"mode": "fail"},
    {"mode": "cut"},
    {"mode": "timeout"},
    {"mode": "slow", "seconds": 0.2},
    {"mode": "slow", "seconds": 1.2},  # longer than is waited for
    {"mode": "drop"},
    {"mode": "silence"},
    {"mode": "trickle"},
    {"mode": "torn"},
    {"mode": "wrong"},
    *({"mode": "reject", "status": status} for status in (400, 401, 402, 403, 404, 408, 409, 422, 425, 429)),
    {"mode": "garbage", "status": 402},
    {"mode": "garbage", "status": 500},  # an error after the charge
    {"mode": "garbage"},
    *({"mode": "garbage", "body": body} for body in ("", "[]", "{}", "null", '{"id": null, "amount": 1300}')),
    {"mode": "garbage", "body": '{"id": "ch_1", "amount": "13.00"}'},
]
# A gateway that looks a charge up wrongly as missing, or as another, is beyond help.
LOOKUP_ANSWERS = [answer for answer in ANSWERS if answer["mode"] != "wrong" and answer.get("status") not in (402, 404)]


# All that may be left to staff.
REASON = re.compile(
    r"the gateway refused with 4\d\d: |There is no charge, and the first attempt|Charged \d+ cents instead of \d+: "
)


def turns(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The mode in which every other answer is a good one."""
    return {"mode": "turns", "of": [part for answer in answers for part in (answer, {"mode": "ok"})]}


def place(product: Product, orders: int) -> list[Order]:
    return [services.place_order(product=product, quantity=1, reference=uuid.uuid4()) for _ in range(orders)]


def unfinished() -> int:
    return Order.objects.filter(state__in=Order.unfinished).count()


def sweep_until_finished() -> None:
    def finished() -> bool:
        outbox.resend_stuck()
        return not unfinished()

    wait_until(finished, timeout=60 + COUNT, interval=0.3)


@pytest.fixture
def second_worker(worker: Worker) -> Iterator[Worker]:
    second = Worker("second", concurrency=8)
    second.start()
    yield second
    second.stop()


def audit(gateway: Server) -> dict[str, int]:
    """Holds the gateway's ledger against the orders; returns how many there are of each kind."""
    charged = Counter(charge["reference"] for charge in gateway.charges.values())
    orders = list(Order.objects.select_related("receipt"))
    states = Counter(order.state for order in orders)
    settled = (State.PAID, State.NEEDS_ATTENTION)
    lost = [order for order in orders if charged[str(order.reference)] and order.state not in settled]
    paid_for_nothing = [order for order in orders if order.state == State.PAID and not charged[str(order.reference)]]
    assert paid_for_nothing == []
    for receipt in Receipt.objects.select_related("order"):
        assert receipt.order.state in settled, f"{receipt.order.pk} has a receipt and is {receipt.order.state}"
        charge = gateway.charges[receipt.charge]
        assert (charge["reference"], charge["amount"]) == (str(receipt.order.reference), receipt.amount)
    for order in orders:
        assert order.state != State.PAID or order.receipt.amount == order.amount
        assert order.state != State.PAID or order.paid_at
        assert order.state != State.NEEDS_ATTENTION or REASON.match(order.error), order.error
    return {
        "orders": len(orders),
        "charged": len(charged),
        "paid": states[State.PAID],
        "declined": states[State.FAILED],
        "cancelled": states[State.CANCELLED],
        "needs attention": states[State.NEEDS_ATTENTION],
        "charged twice": sum(times > 1 for times in charged.values()),
        "lost": len(lost) + sum(states[state] for state in Order.unfinished),
    }


def test_no_order_is_charged_twice_or_lost_whatever_the_gateway_answers(
    product: Product, worker: Worker, second_worker: Worker, gateway: Server, settings: Settings
) -> None:
    began = time.monotonic()
    unlucky = Product.objects.create(sku="test-pie", name="Test pie", price=702)
    gateway.modes = {"charges": turns(ANSWERS), "lookups": turns(LOOKUP_ANSWERS)}
    orders = []
    for number in range(COUNT):
        orders += place(unlucky if number % 20 == 0 else product, 1)
        if number % 10 == 5:  # the customer is as fast as the worker
            with contextlib.suppress(services.NotCancellable):
                services.cancel(order_id=orders[-1].pk)
    for _ in range(9):
        outbox.send_all(orders)

    # On Friday evening nobody gets an answer, though every other one is charged. On Monday the keys are forgotten.
    wait_until(worker.is_idle, timeout=60 + COUNT, interval=0.3)
    gateway.modes = {
        "charges": {"mode": "turns", "of": [{"mode": "drop"}, {"mode": "cut"}]},
        "lookups": {"mode": "fail"},
    }
    friday = [order.pk for order in place(product, COUNT // 20 * 2)]
    wait_until(worker.is_idle, timeout=60 + COUNT, interval=0.3)
    assert Order.objects.filter(pk__in=friday, state=State.PENDING, unsettled=True).count() == len(friday)
    Order.objects.filter(state__in=Order.unfinished).update(
        asked_at=F("asked_at") - WEEKEND, moved_at=F("moved_at") - WEEKEND, next_send_at=F("next_send_at") - WEEKEND
    )
    gateway.keys = {key: (charge, made_at - WEEKEND.total_seconds()) for key, (charge, made_at) in gateway.keys.items()}
    served = {mode for service, mode in gateway.served if service == "charges"}
    assert served == set(MODES) - {"turns"}

    gateway.modes = {}
    settings.WORK_DEADLINE = 1
    sweep_until_finished()
    counts = audit(gateway)
    assert (counts["charged twice"], counts["lost"]) == (0, 0)
    assert all(counts[kind] for kind in ("charged", "paid", "declined", "needs attention"))
    half = len(friday) // 2
    ends = Counter(Order.objects.filter(pk__in=friday).values_list("state", flat=True))
    assert ends == {State.PAID: half, State.NEEDS_ATTENTION: half}

    # What is left to staff has a way out too, and is charged once like the others.
    services.charge_anew(orders=Order.objects.all())
    sweep_until_finished()
    afterwards = audit(gateway)
    assert (afterwards["charged twice"], afterwards["lost"]) == (0, 0)
    assert not Order.objects.filter(state=State.NEEDS_ATTENTION, receipt=None).exists()
    COUNTED.append(counts | {"seconds": round(time.monotonic() - began)})


def messages_of_rows(broker: redis.Redis) -> Counter[int]:
    """How many messages about each order are in Redis: those that wait, expired ones too, and those a worker held."""
    payloads = [json.loads(message) for message in broker.lrange("celery:critical", 0, -1)]
    payloads += [json.loads(held)[0] for held in broker.hvals("celery:unacked")]
    return Counter(json.loads(base64.b64decode(payload["body"]))[0][0] for payload in payloads)


@pytest.mark.parametrize(
    "are_lost",
    [pytest.param(False, id="messages wait", marks=pytest.mark.long), pytest.param(True, id="messages are lost")],
)
def test_eight_hours_without_workers_leave_at_most_two_messages_of_an_order(
    product: Product,
    worker: Worker,
    gateway: Server,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    are_lost: bool,
) -> None:
    misbehave(gateway, "charges", "timeout")
    rows = Order.objects.bulk_create(Order(product=product, amount=product.price) for _ in range(COUNT))
    outbox.send_all(rows)
    wait_until(lambda: worker.broker.hlen("celery:unacked") >= 4)
    worker.kill()
    gateway.reset()
    if are_lost:
        worker.broker.delete("celery:critical")
    back = timezone.now()
    away = timedelta(hours=8)
    for field in ("sent_at", "moved_at", "next_send_at"):
        Order.objects.update(**{field: F(field) - away})
    cache.set(outbox.taken_key("critical"), outbox.taken_until("critical") - away, timeout=None)

    most, seen = 1, (0, 0)
    with monkeypatch.context() as patch:
        for minute in range(8 * 60):
            patch.setattr(timezone, "now", lambda minute=minute: back - away + timedelta(minutes=minute))
            outbox.resend_stuck()
            lengths = worker.broker.llen("celery:critical"), worker.broker.hlen("celery:unacked")
            if lengths != seen:
                seen, most = lengths, max(most, *messages_of_rows(worker.broker).values())
    messages = sum(messages_of_rows(worker.broker).values())
    assert most <= 2
    COUNTED.append({"rows": COUNT, "sweeps": 480, "messages": messages, "most of one row": most})

    # A new order waits behind one message of each row, if its own was not lost, and behind no copy of them.
    new = place(product, 1)[0]
    assert max(Counter(messages_of_rows(worker.broker)).values()) <= 2
    TaskRun.objects.all().delete()
    worker.start()
    wait_until(lambda: Order.objects.get(pk=new.pk).state == State.PAID, timeout=60 + COUNT)
    if are_lost:
        # A run is recorded when its task has ended, before its message is acknowledged.
        wait_until(worker.is_idle)
        assert TaskRun.objects.count() == 1, "expired messages are dropped without being run"
    settings.WORK_DEADLINE = 1
    sweep_until_finished()
    assert len(gateway.charges) == Receipt.objects.count() == COUNT + 1


def test_a_newsletter_reaches_every_address_once(worker: Worker, mails: Mailbox) -> None:
    began = time.monotonic()
    addresses = [f"reader{number}@example.org" for number in range(5 * COUNT)]
    Subscriber.objects.bulk_create(Subscriber(email=address) for address in addresses)
    newsletter = Newsletter.objects.create(subject="Winter soups", body="Come in, it is warm.")
    newsletters.start(newsletter_id=newsletter.pk)
    everybody = (len(addresses), 0, 0, 0)
    wait_until(lambda: newsletters.progress(newsletter_id=newsletter.pk) == everybody, timeout=60 + COUNT, interval=0.3)
    delivered = Counter(mails.addresses)
    twice = sum(times > 1 for times in delivered.values())
    assert sorted(mails.addresses) == sorted(addresses)
    COUNTED.append(
        {
            "addresses": len(addresses),
            "mails": len(mails.addresses),
            "mailed twice": twice,
            "missing": len(addresses) - len(delivered),
            "seconds": round(time.monotonic() - began),
        }
    )
