"""What the processes write to their logs, and what ties their lines together."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from analytics.models import Report
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from core import broker, outbox
from core.logs import Json, without_passwords
from core.tasks import resend_stuck_work
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_guid.context import guid
from gateway.server import Server
from inventory.models import Product
from inventory.tasks import sync_inventory
from kombu.exceptions import OperationalError
from payments.models import Order
from payments.tasks import process_payment

from tests.conftest import Worker, database_of_tests, gunicorn, order_by_form, wait_until
from tests.test_config import manage

QUEUE = "logged"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def request_id() -> Iterator[str]:
    """What the messages that the test sends say of the request they come from."""
    token = guid.set(uuid.uuid4().hex)
    yield guid.get()
    guid.reset(token)


@pytest.fixture
def json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes write JSON, and nothing else: Celery's warning of root comes before it sets up its log."""
    monkeypatch.setenv("LOG_FORMAT", "json")
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")


@pytest.fixture
def logging_worker(log: Path, json_lines: None, transactional_db: None) -> Iterator[Worker]:
    """A worker of its own for the queue of these tests."""
    worker = Worker("logging", queues=[QUEUE], loglevel="INFO")
    with log.open("wb") as file:
        worker.start(file)
    yield worker
    worker.stop()


def lines(log: Path, **wanted: object) -> list[dict[str, Any]]:
    """The log's lines, each of which is JSON, that have the wanted values."""
    found = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in found if wanted.items() <= line.items()]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("level", "other"), [("INFO", "ERROR"), ("ERROR", "INFO")])
def test_a_worker_logs_at_the_level_it_is_started_with(
    log: Path, monkeypatch: pytest.MonkeyPatch, level: str, other: str
) -> None:
    monkeypatch.setenv("LOG_LEVEL", other)
    worker = Worker("logging", queues=[QUEUE], loglevel=level)
    with log.open("wb") as file:
        worker.start(file)
    worker.stop()
    assert (" ready." in log.read_text()) == (level == "INFO")


@pytest.mark.django_db(transaction=True)
@pytest.mark.results
def test_lines_that_a_task_writes_name_it(product: Product, gateway: Server, log: Path, request_id: str) -> None:
    order = Order.objects.create(product=product, quantity=1, amount=1102)  # such amounts are declined
    worker = Worker("logging", queues=[QUEUE], loglevel="WARNING")
    with log.open("wb") as file:
        worker.start(file)
    result = process_payment.apply_async((order.pk,), queue=QUEUE)
    assert result.get(timeout=60) == Order.State.FAILED
    worker.stop()
    (line,) = [line for line in log.read_text().splitlines() if f"order {order.pk} is failed" in line]
    about = f"request={request_id} payments.tasks.process_payment[{result.id}]"
    assert line.startswith(f"WARNING payments.services {about} order")


@pytest.mark.django_db(transaction=True)
def test_one_id_finds_what_web_and_worker_wrote_about_an_order(
    product: Product, gateway: Server, session_worker: Worker, log: Path, tmp_path: Path, json_lines: None
) -> None:
    session_worker.stop()  # it would take the order; who needs it starts it again
    worker, web_log, request_id = Worker("logging", loglevel="INFO"), tmp_path / "web", uuid.uuid4().hex
    with log.open("wb") as file, web_log.open("wb") as web_file:
        worker.start(file)
        with gunicorn(web_file) as address:
            answer = order_by_form(address, product.pk, **{"X-Request-ID": request_id})
        assert (answer.status_code, answer.headers["X-Request-ID"]) == (302, request_id)
        wait_until(lambda: Order.objects.get().state == Order.State.PAID)
        worker.stop()
    web = lines(web_log, request_id=request_id)
    assert [line["logger"] for line in web] == ["core.outbox", "gunicorn.access"]
    assert '"POST / HTTP/1.1" 302' in web[1]["message"]
    done = lines(log, request_id=request_id)
    assert [line["logger"] for line in done] == ["core.tracing", "payments.services", "celery.app.trace"]
    assert {line["task"] for line in done} == {"payments.tasks.process_payment"}
    assert len({line["task_id"] for line in done}) == 1
    assert web[0]["message"] == f"payments.Order {Order.objects.get().pk}: sent"
    # The servers' own lines are in the same format.
    assert lines(web_log, logger="gunicorn.error")
    assert lines(log, logger="celery.apps.worker")


@pytest.mark.parametrize("claimed", ["", 'guess"} forged', "1234", "a" * 200])
def test_what_is_no_id_is_replaced(site: Client, db: None, claimed: str) -> None:
    """The proxy sends one of its own; whoever gets past it can write no lines with it."""
    given = site.get("/healthz", headers={"X-Request-ID": claimed})["X-Request-ID"]
    assert given != claimed
    assert uuid.UUID(given)


def test_another_format_than_the_two_is_refused() -> None:
    result = manage("check", LOG_FORMAT="xml")
    assert result.returncode != 0
    assert 'Environment variable "LOG_FORMAT"' in result.stderr.splitlines()[-1]


# --- What has failed for good is critical, wherever it fails --------------------------------------------------------
def process_of_the_task(worker: Worker) -> int:
    """Waits until the only task runs; returns its process."""
    return int(wait_until(lambda: [pid for task in worker.control("active") if (pid := task["worker_pid"])])[0])


def test_a_task_over_its_time_limit_is_critical(logging_worker: Worker, user: User, log: Path, request_id: str) -> None:
    report = Report.objects.create(owner=user, first_day=timezone.now().date(), days=100_000)
    result = outbox.signature(report).apply_async(queue=QUEUE, soft_time_limit=5, time_limit=7)
    os.kill(process_of_the_task(logging_worker), signal.SIGSTOP)  # it shall not hear of the soft limit
    wait_until(lambda: lines(log, level="CRITICAL"))
    logging_worker.stop()
    (line,) = lines(log, level="CRITICAL")
    assert "failed for good: TimeLimitExceeded" in line["message"]
    # Celery's own lines name it too: the main process writes them, which runs no task.
    for told in ("Soft time limit", "Hard time limit", "failed for good"):
        about = [line for line in lines(log) if told in line["message"]]
        assert {(line["request_id"], line["task"], line["task_id"]) for line in about} == {
            (request_id, Report.task, result.id)
        }


def test_a_task_that_costs_its_worker_the_process_for_the_last_time_is_critical(
    logging_worker: Worker, user: User, log: Path, request_id: str
) -> None:
    report = Report.objects.create(owner=user, first_day=timezone.now().date(), days=100_000)
    result = outbox.signature(report).apply_async(queue=QUEUE, retries=3)
    os.kill(process_of_the_task(logging_worker), signal.SIGKILL)
    (line,) = wait_until(lambda: lines(log, level="CRITICAL"))
    assert (line["request_id"], line["task"], line["task_id"]) == (request_id, Report.task, result.id)
    assert "failed for good: WorkerLostError" in line["message"]


def test_a_message_that_names_no_task_is_critical(logging_worker: Worker, log: Path, request_id: str) -> None:
    result = current_app.send_task("shop.tasks.of_the_last_release", queue=QUEUE)
    (line,) = wait_until(lambda: lines(log, level="CRITICAL"))
    assert (line["request_id"], line["task_id"]) == (request_id, result.id)
    assert "shop.tasks.of_the_last_release" in line["message"]


@pytest.mark.parametrize("error", [SoftTimeLimitExceeded(), ZeroDivisionError("division by zero")])
def test_a_task_that_raises_is_critical(
    db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail() -> int:
        raise error

    monkeypatch.setattr("inventory.services.sync", fail)
    sync_inventory.apply()
    assert [record.name for record in caplog.records if record.levelno == logging.CRITICAL] == ["core.recorder"]


def test_a_sweep_that_fails_is_critical(
    db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> dict[str, int]:
        raise OperationalError("no broker")

    monkeypatch.setattr(broker, "queue_lengths", away)
    resend_stuck_work.apply()
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "core.tasks.resend_stuck_work" in record.getMessage()


def start_redis(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


@pytest.mark.django_db(transaction=True)
def test_a_run_that_beat_skips_because_the_broker_is_away_is_critical(
    log: Path, tmp_path: Path, free_port: int, json_lines: None
) -> None:
    every = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(name="Every second", task="core.tasks.forget_old_runs", interval=every)
    redis = start_redis(tmp_path, free_port)
    variables = {"CELERY_BROKER_URL": f"redis://127.0.0.1:{free_port}/1"}
    command = [sys.executable, "-m", "celery", "-A", "config", "beat", "--pidfile=", "--loglevel=INFO"]
    environment = os.environ | variables | {"DATABASE_URL": database_of_tests()}
    with log.open("wb") as file:
        beat = subprocess.Popen(command, env=environment, stderr=file)
    try:
        wait_until(lambda: [line for line in lines(log) if "Sending due task Every second" in line["message"]], 30)
        assert lines(log, level="CRITICAL") == []
        redis.kill()
        told = "No schedule runs: the Redis that says whose turn it is is away"
        wait_until(lambda: [line for line in lines(log, level="CRITICAL") if told in line["message"]], 30)
        assert beat.poll() is None
    finally:
        beat.kill()
        redis.kill()
        beat.wait()
        redis.wait()


# --- Secrets --------------------------------------------------------------------------------------------------------
HIDDEN = "hunter2"


def test_no_password_reaches_a_log_when_connections_break(db: None, log: Path) -> None:
    """Wrong passwords, servers that are away: the processes say so, at their most talkative, and no more."""
    variables = {
        "LOG_LEVEL": "DEBUG",
        "DATABASE_URL": f"postgresql://test:{HIDDEN}@127.0.0.1:1/postgres",
        "CACHE_URL": f"redis://app:{HIDDEN}@127.0.0.1:1/0",
        "CELERY_BROKER_URL": os.environ["CELERY_BROKER_URL"].replace("password-of-redis", HIDDEN),
        "CELERY_RESULT_BACKEND": f"redis://app:{HIDDEN}@127.0.0.1:1/2",
        "EMAIL_URL": f"smtp://mail:{HIDDEN}@127.0.0.1:1",
        "SECRET_KEY": HIDDEN * 10,
    }
    with log.open("wb") as file:
        celery = [sys.executable, "-m", "celery", "-A", "config"]
        commands = [[*celery, "worker", "--loglevel=DEBUG"], [*celery, "beat", "--pidfile=", "--loglevel=DEBUG"]]
        commands += [[sys.executable, "manage.py", "migrate"], [sys.executable, "manage.py", "ensure_schedules"]]
        running = [subprocess.Popen(c, env=os.environ | variables, stdout=file, stderr=file) for c in commands]
        try:
            with gunicorn(file, "--log-level=debug", **variables) as address:
                assert order_by_form(address, product=1).status_code == 500
            wait_until(lambda: log.read_text().count("invalid username-password pair") > 1, 60)
            wait_until(lambda: all(process.poll() is not None for process in running[2:]), 60)
        finally:
            for process in running:
                process.kill()
                process.wait()
    text = log.read_text()
    for told in ("127.0.0.1", "Connection refused", "Internal Server Error", "core.throttle"):
        assert told in text
    assert [line for line in text.splitlines() if HIDDEN in line or "password-of-" in line] == []


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("no redis://app:s%40crt@db:6379/1 there", "no redis://app:***@db:6379/1 there"),
        ("redis://:secret@db", "redis://:***@db"),
        (
            "smtp+tls://a:b:c@mail and https://d:e@host/?f=g:h@i",
            "smtp+tls://a:***@mail and https://d:***@host/?f=g:h@i",
        ),
        ("see https://example.org/a:b@c", "see https://example.org/a:b@c"),
        ("https://example.org, mail ada@example.org: now", "https://example.org, mail ada@example.org: now"),
    ],
)
def test_passwords_in_addresses_are_masked(text: str, clean: str) -> None:
    assert without_passwords(text) == clean


def test_a_masked_line_is_json_still() -> None:
    record = logging.makeLogRecord({"msg": 'asked redis://x", "a:b@c" and http://app:secret@db/', "name": "shop"})
    assert json.loads(Json().format(record))["message"] == 'asked redis://x", "a:b@c" and http://app:***@db/'


def test_what_callers_attach_to_a_record_stays_out_of_the_line() -> None:
    record = logging.makeLogRecord({"msg": "hello", "name": "shop", "params": "a secret", "task_id": "42"})
    assert set(json.loads(Json().format(record))) == {"time", "level", "logger", "task_id", "message"}
