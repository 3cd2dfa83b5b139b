"""What the app leaves in Redis: only under its prefixes, and never a secret."""

import contextlib
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from celery import current_app
from core import broker as waiting
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from inventory.models import Product
from kombu import Queue
from payments.models import Order
from payments.tasks import process_payment
from redis.exceptions import RedisError

from tests.conftest import Worker, database_of_tests, wait_until
from tests.relay import Relay

PASSWORD = "cobol-and-soup"


def everything(broker: redis.Redis) -> bytes:
    """All keys and values of the database the messages are in."""
    found = []
    for key in broker.scan_iter("*"):
        match broker.type(key):
            case b"list":
                found += [key, *broker.lrange(key, 0, -1)]
            case b"hash":
                found += [key, *(part for pair in broker.hgetall(key).items() for part in pair)]
            case b"string":
                found += [key, broker.get(key) or b""]
            case _:
                found.append(key)
    return b"\n".join(found)


def test_no_secret_travels_in_a_message(site: Client, worker: Worker, product: object) -> None:
    worker.kill()
    form = {"username": "grace", "email": "grace@example.org", "password1": PASSWORD, "password2": PASSWORD}
    site.post("/register/", form)
    site.post("/", {"product": product.pk, "quantity": 1, "reference": uuid.uuid4()})  # type: ignore[attr-defined]
    site.post("/contact/", {"name": "Alan", "email": "alan@example.org", "reference": uuid.uuid4()})
    content = everything(worker.broker)
    for task in (b"send_welcome_email", b"process_payment", b"sync_lead"):
        assert task in content
    secrets = [PASSWORD, User.objects.get().password, settings.SECRET_KEY, "grace@example.org", "alan@example.org"]
    secrets += [site.session.session_key or "no session", str(Order.objects.get().idempotency_key)]
    assert [secret for secret in secrets if secret.encode() in content] == []
    worker.start()


@pytest.mark.results
@pytest.mark.parametrize("question", ["conf", "report", "stats"])
def test_what_a_worker_tells_about_itself_holds_no_secret(worker: Worker, question: str) -> None:
    """Flower shows it to whoever may look."""
    answer = repr(getattr(current_app.control.inspect(timeout=30, limit=1), question)())
    assert "test@" in answer
    secrets = [settings.SECRET_KEY, settings.DATABASES["default"]["PASSWORD"]]
    secrets += [urlsplit(address).password for address in (settings.CELERY["broker_url"], os.environ["CACHE_URL"])]
    assert [secret for secret in secrets if not secret or secret in answer] == []


@pytest.mark.results
def test_every_key_is_under_the_prefix_its_user_may_write(order: Order, worker: Worker, site: Client) -> None:
    assert process_payment.delay(order.pk).get(timeout=60) == Order.State.PAID
    site.get("/readyz")
    prefixes = {}
    for number in range(3):
        address = settings.CELERY["broker_url"].removesuffix("/1")
        keys = redis.Redis.from_url(f"{address}/{number}").scan_iter("*")
        prefixes[number] = {key.split(b":")[0] for key in keys}
    assert prefixes[0] == {b"cache"}
    assert prefixes[1] == {b"celery"}
    assert prefixes[2] <= {b"celery"}


def test_queue_lengths_count_every_priority(worker: Worker) -> None:
    worker.kill()
    for priority in (0, 6, 9):
        current_app.send_task("celery.accumulate", queue="low-priority", priority=priority)
    assert waiting.queue_lengths() == dict.fromkeys(waiting.queue_names(), 0) | {"low-priority": 3}
    worker.start()
    wait_until(worker.is_idle)


def listening(broker: redis.Redis) -> dict[str, str]:
    """The connections on which an idle worker waits, by what for: messages (b, blocked), and remote control (P)."""
    return {
        client["flags"]: client["addr"]
        for client in broker.client_list()
        if client["db"] == "1" and client["flags"] in "bP"
    }


@pytest.mark.results
@pytest.mark.parametrize("cut", ["b", "P", "bP"], ids=["messages", "control", "both"])
def test_an_idle_worker_whose_connections_are_cut_goes_on_consuming(worker: Worker, cut: str) -> None:
    for number in range(3):
        found = wait_until(lambda: connections if len(connections := listening(worker.broker)) == 2 else None)
        assert found
        for waiting_for in cut:
            worker.broker.client_kill(found[waiting_for])
        result = current_app.send_task("celery.accumulate", args=(number,), kwargs={"index": 0}, queue="default")
        assert result.get(timeout=60) == number


@pytest.mark.results
def test_a_worker_outlives_a_broker_that_refuses_to_write(worker: Worker, tmp_path: Path) -> None:
    """As when its disk is full. One that ends instead takes no task while its own run on."""
    worker.kill()
    patient = Worker("patient", loglevel="WARNING")
    before = str(patient.broker.config_get("min-replicas-to-write")["min-replicas-to-write"])
    log = tmp_path / "log"
    with log.open("wb") as file:
        patient.start(file)
    process = patient.process
    try:
        patient.broker.config_set("min-replicas-to-write", 1)
        wait_until(lambda: "Trying to re-establish" in log.read_text())
    finally:
        patient.broker.config_set("min-replicas-to-write", before)
    result = current_app.send_task("celery.accumulate", args=(1,), kwargs={"index": 0}, queue="default")
    assert result.get(timeout=60) == 1
    assert process
    assert process.poll() is None
    patient.kill()
    worker.start()


@pytest.fixture
def void() -> Iterator[str]:
    """An address that neither takes nor refuses connections, as behind a firewall that drops packets."""
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # more than may wait to be accepted
            client = opened.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"127.0.0.1:{server.getsockname()[1]}"


VISIT = """
import signal, sys, django
django.setup()
from django.test import Client
signal.alarm(10)  # seconds a visitor waits
site = Client(headers={"x-forwarded-proto": "https"})
form = dict(pair.split("=") for pair in sys.argv[2:])
print((site.post(sys.argv[1], form) if form else site.get(sys.argv[1])).status_code)
"""


@pytest.mark.django_db(transaction=True)
def test_the_site_goes_on_while_redis_swallows_every_packet(product: Product, void: str) -> None:
    """An order is taken while its visitor still waits, and the sweep sends it later."""
    variables = os.environ | {
        "DATABASE_URL": database_of_tests(),
        "CACHE_URL": f"redis://{void}/0",
        "CELERY_BROKER_URL": f"redis://{void}/1",
        "CELERY_RESULT_BACKEND": f"redis://{void}/2",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    form = [f"product={product.pk}", "quantity=1", f"reference={uuid.uuid4()}"]
    for visit, status in (["/", *form], "302"), (["/readyz"], "503"):
        program = [sys.executable, "-c", VISIT, *visit]
        result = subprocess.run(program, env=variables, capture_output=True, text=True)
        assert result.stdout.strip() == status, result.stderr
    assert Order.objects.get().state == Order.State.PENDING


@pytest.mark.django_db
@pytest.mark.parametrize("setting", ["maxmemory", "min-replicas-to-write"])
def test_a_broker_that_answers_but_takes_no_message_is_not_ready(site: Client, setting: str) -> None:
    """It is full (nothing is evicted), or told not to write; with that gone it is ready, and nothing is left in it."""
    broker = redis.Redis.from_url(settings.CELERY["broker_url"])
    before = str(broker.config_get(setting)[setting])
    broker.config_set(setting, 1)
    try:
        refused = site.get("/readyz")
    finally:
        broker.config_set(setting, before)
    assert refused.status_code == 503
    assert refused.json()["broker"] != "ok"
    assert site.get("/readyz").json()["broker"] == "ok"
    assert list(broker.scan_iter("*check.*")) == []


@pytest.mark.results
def test_a_canary_passes_through_every_queue(worker: Worker) -> None:
    for number, queue in enumerate(waiting.queue_names()):
        result = current_app.send_task("celery.accumulate", args=(number,), kwargs={"index": 0}, queue=queue)
        assert result.get(timeout=60) == number


@pytest.fixture
def one_at_a_time() -> Iterator[tuple[Any, Relay]]:
    """A queue of two messages, "first" and "second", by way of a relay, for a worker that may hold one."""
    with Relay(settings.CELERY["broker_url"]) as relay, current_app.connection_for_read(relay.url) as connection:
        queue: Any = Queue(f"unheard-{uuid.uuid4()}")(connection.default_channel)
        queue.declare()
        try:
            for word in ("first", "second"):
                queue.exchange.publish(word, routing_key=queue.name)
            queue.channel.basic_qos(0, 1, False)
            yield queue, relay
        finally:
            relay.cuts = 0
            queue.delete()


@pytest.mark.parametrize("answer", ["ack", "reject", "requeue"])
def test_a_worker_goes_on_when_redis_does_not_hear_what_became_of_a_message(
    one_at_a_time: tuple[Any, Relay], answer: str
) -> None:
    """It has to have room for the next."""
    queue, relay = one_at_a_time
    first = queue.get()
    assert not queue.channel.qos.can_consume()
    relay.cuts = 100
    with pytest.raises(RedisError):
        getattr(first, answer)()
    relay.cuts = 0
    assert queue.channel.qos.can_consume()
    second = queue.get()
    assert second.payload == "second"
    second.ack()


def test_a_message_that_was_taken_is_noted_down_by_another_connection(one_at_a_time: tuple[Any, Relay]) -> None:
    """It has left the queue: who takes it and dies gives it back by that note."""
    queue, relay = one_at_a_time
    note = queue.channel.qos.append

    def cut_off(*taken: Any) -> None:
        relay.cuts = 1
        note(*taken)

    queue.channel.qos.append = cut_off
    assert queue.get().payload == "first"
    queue.channel.qos.restore_unacked()
    assert {queue.get().payload, queue.get().payload} == {"first", "second"}
