"""The services the tests run against: PostgreSQL and Redis from bin/test-app, the stand-in for the downstream services and
a mail server in this process, and one real worker for the whole session."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import pytest
import redis
import requests
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from celery import current_app
from celery.utils.nodenames import host_format
from core import broker
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django_celery_results.models import TaskResult
from gateway.server import Server
from inventory.models import Product
from payments.models import Order
from pytest_django import DjangoDbBlocker, Settings

Value = TypeVar("Value")


def wait_until(function: Callable[[], Value], timeout: float = 60, interval: float = 0.02) -> Value:
    """Asks again after each `interval` until the answer is true; fails with the last answer after `timeout` (seconds)."""
    end = time.monotonic() + timeout
    while not (answer := function()):
        assert time.monotonic() < end, f"still {answer!r} after {timeout} s"
        time.sleep(interval)
    return answer


COUNTED: list[Mapping[str, object]] = []  # what tests counted, column by column; printed after the last one


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTED:
        terminalreporter.section("counted")
    for figures in COUNTED:
        cells = [(name, f"{figure:,}" if isinstance(figure, int) else str(figure)) for name, figure in figures.items()]
        for line in zip(*cells, strict=True):
            row = [text.rjust(max(map(len, cell))) for text, cell in zip(line, cells, strict=True)]
            terminalreporter.write_line("   ".join(row))
        terminalreporter.write_line("")


def database_of_tests() -> str:
    """The address of the database that tests write to."""
    return urlsplit(os.environ["DATABASE_URL"])._replace(path="/" + connection.settings_dict["NAME"]).geturl()


@contextlib.contextmanager
def gunicorn(log: IO[bytes] | None = None, *arguments: str, **environment: str) -> Iterator[str]:
    """Runs gunicorn with two workers on the tests' database; its listening socket is opened here, as systemd does.

    log: a file for what it writes. Yields its address.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "gunicorn", "config.wsgi:application", "--workers=2", "--no-control-socket"]
        command += [f"--bind=fd://{listener.fileno()}", "--threads=4", *arguments]
        own = {"DJANGO_SETTINGS_MODULE": "tests.web_settings", "DATABASE_URL": database_of_tests()}
        variables = os.environ | own | {"ALLOWED_HOSTS": "127.0.0.1"} | environment
        variables.pop("PROMETHEUS_MULTIPROC_DIR", None)
        process = subprocess.Popen(command, env=variables, pass_fds=[listener.fileno()], stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait(60)


def order_by_form(address: str, product: int, **headers: str) -> requests.Response:
    """Orders the product with this key from a running site as its form does, through a proxy that ends TLS."""
    token = "csrf" * 8
    form = {"csrfmiddlewaretoken": token, "reference": str(uuid.uuid4()), "quantity": "1"}
    secure = {"X-Forwarded-Proto": "https", "Referer": address.replace("http", "https"), "Cookie": f"csrftoken={token}"}
    with requests.Session() as session:
        session.trust_env = False
        body = form | {"product": str(product)}
        return session.post(address, data=body, headers=secure | headers, timeout=120, allow_redirects=False)


class Worker:
    """A `celery worker` process on the test database, for every queue unless some are named."""

    started: ClassVar[list["Worker"]] = []

    def __init__(
        self,
        name: str = "test",
        *,
        queues: list[str] | None = None,
        loglevel: str = "ERROR",
        concurrency: int = 4,
        pool: str = "prefork",
    ) -> None:
        self.name, self.queues, self.loglevel = name, queues or broker.queue_names(), loglevel
        self.concurrency, self.pool = concurrency, pool
        self.process: subprocess.Popen[bytes] | None = None
        self.broker = redis.Redis.from_url(configured.CELERY["broker_url"])

    def start(self, log: IO[bytes] | None = None, *, include: str = "", **variables: str) -> None:
        """Starts it unless it runs, and waits until it answers.

        log: a file for what it writes; include: a module with more tasks; variables: its environment differs in these.
        """
        if self.process and self.process.poll() is None:
            return
        # What a killed worker held would come back after the visibility timeout, twelve hours from now.
        self.broker.delete("celery:unacked", "celery:unacked_index")
        command = [sys.executable, "-m", "celery", "-A", "config", "worker", "--without-mingle", "--without-gossip"]
        command += [f"--pool={self.pool}", f"--concurrency={self.concurrency}", f"--queues={','.join(self.queues)}"]
        command += [f"--hostname={self.name}@%h", f"--loglevel={self.loglevel}"]
        command += [f"--include={include}"] if include else []
        environment = os.environ | {"DATABASE_URL": database_of_tests()} | variables
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=log)
        self.started.append(self)
        here = [host_format(f"{self.name}@%h")]
        wait_until(lambda: current_app.control.ping(destination=here, timeout=0.2, limit=1))

    def send_signal(self, number: signal.Signals) -> None:
        """Signals the worker and its children alike."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):  # it may have ended
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """Ends the worker as a power cut would."""
        assert self.process
        self.send_signal(signal.SIGKILL)
        self.process.wait()
        # A child may hold the connection a moment longer, and Redis would hand it one more message. Others wait for theirs.
        others = sum(worker.process is not None and worker.process.poll() is None for worker in self.started)
        wait_until(lambda: self.broker.info("clients")["blocked_clients"] <= others)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            finally:
                self.send_signal(signal.SIGKILL)

    def control(self, command: str) -> list[dict[str, Any]]:
        """The tasks the worker has in the given stage: "active", "reserved" ..."""
        answer = getattr(current_app.control.inspect(timeout=30, limit=1), command)()
        return [task for tasks in answer.values() for task in tasks]

    def is_idle(self) -> bool:
        return not any(broker.queue_lengths().values()) and not self.broker.hlen("celery:unacked")


@pytest.fixture(scope="session")
def session_worker(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.stop()


@pytest.fixture
def worker(transactional_db: None, session_worker: Worker, gateway: Server, mails: "Mailbox") -> Iterator[Worker]:
    """The running worker; the test's tables are emptied only when it has nothing left to do. No task leaves a large result."""
    session_worker.start()
    yield session_worker
    if session_worker.process and session_worker.process.poll() is None:
        wait_until(session_worker.is_idle)
        assert [result for result in results() if len(result) > 1000] == []


def results() -> Iterator[str]:
    """What the result backend keeps of tasks that succeeded, as it keeps it."""
    if configured.CELERY["result_backend"] == "django-db":
        for found in TaskResult.objects.filter(status="SUCCESS").values_list(
            "result", "task_args", "task_kwargs", "meta"
        ):
            yield json.dumps(found)
        return
    store = redis.Redis.from_url(configured.CELERY["result_backend"], decode_responses=True)
    for key in store.scan_iter("*celery-task-meta-*"):
        if '"status": "SUCCESS"' in (result := str(store.get(key))):
            yield result


@pytest.fixture(scope="session")
def gateway_server() -> Iterator[Server]:
    address = urlsplit(configured.PAYMENT_GATEWAY_URL)
    with Server((address.hostname or "", address.port or 0)) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def gateway(gateway_server: Server, settings: Settings) -> Server:
    """The downstream services, as if they had just been started. Tests wait for them as long as a busy machine may take; workers do not."""
    settings.DOWNSTREAM_TIMEOUT = 10
    with gateway_server.lock:
        gateway_server.reset()
    return gateway_server


def misbehave(server: Server, service: str, mode: str, **options: float | str) -> None:
    """Makes the service answer in the given mode, for so many `times` if that is among the options."""
    with server.lock:
        server.modes[service] = {"mode": mode, **options}
    if mode in ("timeout", "silence"):
        # The settings are the test's own, by the fixture.
        configured.DOWNSTREAM_TIMEOUT = 2


class Mailbox:
    """A mail server's handler: keeps what is delivered, refuses addresses at `refused`, can be out of order for a
    number of `failures`, or too `busy` for so many mails to `greylisted`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.envelopes: list[Envelope] = []
        self.failures, self.answer = 0, "451 out of order"
        self.busy = 0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.endswith("@refused.example"):
            return "550 no such user"
        if address.endswith("@later.example"):
            return "450 try later"
        if address.endswith("@greylisted.example") and self.busy:
            self.busy -= 1
            return "451 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.failures:
            self.failures -= 1
            return self.answer
        self.envelopes.append(envelope)
        return "250 OK"

    @property
    def addresses(self) -> list[str]:
        return [address for envelope in self.envelopes for address in envelope.rcpt_tos]


@pytest.fixture(scope="session")
def mail_server() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    address = urlsplit(os.environ["EMAIL_URL"])
    controller = Controller(mailbox, hostname=address.hostname, port=address.port or 0)
    controller.start()
    yield mailbox
    controller.stop()


@pytest.fixture
def mails(mail_server: Mailbox, settings: Settings) -> Mailbox:
    """The real mail server instead of Django's list in memory."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    mail_server.reset()
    return mail_server


@pytest.fixture(autouse=True)
def clean_start(settings: Settings) -> None:
    cache.clear()
    # collectstatic has not run; its own test uses the real storage.
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = configured.STORAGES | {"staticfiles": plain}


@pytest.fixture
def product(db: None) -> Product:
    return Product.objects.create(sku="test-soup", name="Test soup", price=650)


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ada", "ada@example.org", "correct horse battery")


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create_superuser("root", "root@example.org", "correct horse battery")


@pytest.fixture
def site() -> Client:
    """A visitor behind the proxy that ends TLS."""
    return Client(headers={"x-forwarded-proto": "https"}, raise_request_exception=False)


@pytest.fixture
def staff_site(user: User) -> Client:
    """A member of staff who may look and no more."""
    User.objects.filter(pk=user.pk).update(is_staff=True)
    site = Client(headers={"x-forwarded-proto": "https"}, raise_request_exception=False)
    site.force_login(user)
    return site


@pytest.fixture
def user_site(site: Client, user: User) -> Client:
    site.force_login(user)
    return site


@pytest.fixture
def order(product: Product) -> Order:
    return Order.objects.create(product=product, quantity=2, amount=1300)
