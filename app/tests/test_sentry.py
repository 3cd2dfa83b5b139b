"""Reports to Sentry, received by a server that speaks its protocol."""

import contextlib
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from celery import current_app
from celery.result import AsyncResult
from django_guid.context import guid

from tests.conftest import Worker, gunicorn, order_by_form, wait_until
from tests.test_config import manage

QUEUE = "reported"
REQUEST_ID = "0123456789abcdef0123456789abcdef"
NOWHERE = "postgresql://test:hunter2@127.0.0.1:1/postgres"


class Sentry(ThreadingHTTPServer):
    """Keeps the events it is sent; a client may hang up. While `answers` is not set it takes reports and says nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.events: list[dict[str, Any]] = []
        self.asked, self.answers = threading.Event(), threading.Event()
        self.answers.set()

    @property
    def address(self) -> str:
        return f"http://key@127.0.0.1:{self.server_port}/1"


class Handler(BaseHTTPRequestHandler):
    server: Sentry

    def do_POST(self) -> None:
        """An envelope: a line about it, then for each item a line about it and the item, which is one line for events."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        self.server.asked.set()
        self.server.answers.wait()
        lines = [json.loads(line) for line in body.splitlines() if line]
        self.server.events += [
            item for kind, item in zip(lines[1::2], lines[2::2], strict=True) if kind["type"] == "event"
        ]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sentry]:
    with Sentry() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        monkeypatch.setenv("SENTRY_DSN", server.address)
        monkeypatch.setenv("SENTRY_ENVIRONMENT", "tests")
        monkeypatch.setenv("SENTRY_RELEASE", "42")
        yield server
        server.answers.set()
        server.shutdown()


@pytest.fixture
def reporting_worker(sentry: Sentry, transactional_db: None) -> Iterator[Worker]:
    worker = Worker("reporting", queues=[QUEUE], loglevel="CRITICAL")
    worker.start()
    token = guid.set(REQUEST_ID)
    yield worker
    guid.reset(token)
    worker.stop()


def fail() -> "AsyncResult[object]":
    """Sends a task that fails for good: it knows no such argument."""
    return current_app.send_task("media.tasks.process_document", kwargs={"note": "for nobody's eyes"}, queue=QUEUE)


def test_an_error_in_a_view_is_reported_with_its_request_and_nothing_private(sentry: Sentry, db: None) -> None:
    with gunicorn(DATABASE_URL=NOWHERE) as address:
        cookies = f"csrftoken={'csrf' * 8}; sessionid=key-of-a-session"
        headers = {"X-Request-ID": REQUEST_ID, "Cookie": cookies, "X-Forwarded-For": "203.0.113.9"}
        answer = order_by_form(f"{address}/?next=hidden-query", product=4711, **headers)
        assert answer.status_code == 500
        (event,) = wait_until(lambda: sentry.events)
    assert event["exception"]["values"][-1]["type"] == "OperationalError"
    assert (event["tags"]["request_id"], event["environment"], event["release"]) == (REQUEST_ID, "tests", "42")
    assert event["request"]["method"] == "POST"
    text = json.dumps(event)
    # The session and the throttle are asked of Redis by keys with both.
    for private in (
        "key-of-a-session",
        "203.0.113.9",
        "4711",
        "csrf" * 8,
        "hidden-query",
        "hunter2",
        "password-of-",
        os.environ["SECRET_KEY"],
    ):
        assert private not in text


def test_a_final_failure_of_a_task_is_reported_once_with_task_and_request(
    sentry: Sentry, reporting_worker: Worker
) -> None:
    result = fail()
    wait_until(result.failed)
    reporting_worker.stop()  # it sends what it has to say before it ends
    (event,) = sentry.events
    assert event["exception"]["values"][-1]["type"] == "TypeError"
    assert event["tags"]["task"] == "media.tasks.process_document"
    assert (event["tags"]["task_id"], event["tags"]["request_id"]) == (result.id, REQUEST_ID)
    assert "for nobody's eyes" not in json.dumps(event)


def test_what_the_workers_main_process_logs_as_critical_is_reported(sentry: Sentry, reporting_worker: Worker) -> None:
    result = current_app.send_task("shop.tasks.of_the_last_release", queue=QUEUE)
    (event,) = wait_until(lambda: sentry.events)
    assert (event["level"], event["logger"]) == ("fatal", "core.recorder")
    assert (event["tags"]["task_id"], event["tags"]["request_id"]) == (result.id, REQUEST_ID)


def test_a_sentry_that_does_not_answer_keeps_nobody_waiting(sentry: Sentry, reporting_worker: Worker) -> None:
    sentry.answers.clear()
    with gunicorn(DATABASE_URL=NOWHERE) as address:
        assert {order_by_form(address, product=1).status_code for _ in range(5)} == {500}
        wait_until(sentry.asked.is_set)
    sentry.asked.clear()
    results = [fail() for _ in range(5)]
    wait_until(lambda: all(result.failed() for result in results))
    wait_until(sentry.asked.is_set)
    assert sentry.events == []


def test_a_sentry_that_is_down_breaks_no_request(sentry: Sentry, db: None) -> None:
    sentry.server_close()
    with gunicorn(DATABASE_URL=NOWHERE) as address:
        assert {order_by_form(address, product=1).status_code for _ in range(5)} == {500}


@pytest.mark.parametrize(("dsn", "imported"), [("", "False"), ("http://key@127.0.0.1:1/1", "True")])
def test_without_an_address_sentry_is_not_even_imported(dsn: str, imported: str) -> None:
    program = "import sys, config.wsgi; print('sentry_sdk' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"SENTRY_DSN": dsn}, capture_output=True, text=True
    )
    assert result.stdout.strip() == imported, result.stderr


@pytest.mark.parametrize(("dsn", "starts"), [("", True), ("http://key@127.0.0.1:1/1", False)])
def test_an_address_without_the_package_is_refused(dsn: str, starts: bool) -> None:
    program = "import sys; sys.modules['sentry_sdk'] = None; import config.wsgi"
    result = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"SENTRY_DSN": dsn}, capture_output=True, text=True
    )
    assert (result.returncode == 0) == starts, result.stderr
    if not starts:
        assert 'Environment variable "SENTRY_DSN" is set, but sentry-sdk is not' in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("dsn", ["sentry", "http://127.0.0.1/no-number", "ftp://key@host/1"])
def test_what_is_no_address_of_sentry_is_refused(dsn: str) -> None:
    result = manage("check", SENTRY_DSN=dsn)
    assert result.returncode != 0
    assert 'Environment variable "SENTRY_DSN"' in result.stderr.splitlines()[-1]
    assert dsn not in result.stderr.splitlines()[-1]
