"""Celery's messages signed: what is not is not run."""

import datetime
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.conftest import database_of_tests, wait_until

QUEUE = "signed"
SEND = f"""
from config.celery import app
sent = app.send_task("celery.accumulate", args=["done"], kwargs={{"index": 0}}, queue="{QUEUE}", ignore_result=False)
print(sent.id)
"""
"""Python that sends a task, built into every app, and says which it is."""


def key_and_certificate(folder: Path) -> dict[str, str]:
    """The variables that name them."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return {
        "CELERY_SECURITY_KEY": str(folder / "key.pem"),
        "CELERY_SECURITY_CERTIFICATE": str(folder / "certificate.pem"),
        "CELERY_SECURITY_CERT_STORE": str(folder / "certificate.pem"),
    }


def python(program: str, signing: dict[str, str]) -> str:
    """What a process of the app prints, with these variables beside the test's."""
    return subprocess.run(
        [sys.executable, "-c", program], env=os.environ | signing, capture_output=True, text=True, check=True
    ).stdout.strip()


def result(task: str, signing: dict[str, str], *, timeout: float = 30) -> str:
    """What came of a task; TimeoutError where nothing did."""
    waiting = f"from config.celery import app; print(app.AsyncResult({task!r}).get(timeout={timeout}))"
    return python(waiting, signing)


@pytest.fixture
def signing(tmp_path: Path) -> dict[str, str]:
    """The variables of a deployment that signs."""
    return key_and_certificate(tmp_path / "own")


@pytest.fixture
def log(tmp_path: Path, transactional_db: None, signing: dict[str, str]) -> Iterator[Callable[[], str]]:
    """A worker that signs, and what it has written."""
    path = tmp_path / "log"
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "--without-mingle", "--without-gossip"]
    command += ["--pool=solo", f"--queues={QUEUE}", "--hostname=signed@%h", "--loglevel=ERROR"]
    environment = os.environ | {**signing, "DATABASE_URL": database_of_tests()}
    with path.open("wb") as file, subprocess.Popen(command, env=environment, stderr=file) as process:
        yield path.read_text
        process.terminate()


def test_a_message_that_is_not_signed_or_by_another_key_is_not_run(
    log: Callable[[], str], signing: dict[str, str], tmp_path: Path
) -> None:
    """They are taken from the queue in order: what came of the last one says that the others were taken, too."""
    first = python(SEND, signing)
    assert result(first, signing) == "done"
    unsigned, foreign = python(SEND, {}), python(SEND, key_and_certificate(tmp_path / "foreign"))
    last = python(SEND, signing)
    assert result(last, signing) == "done"
    state = "from config.celery import app; print(*[app.AsyncResult(task).state for task in {}])"
    assert python(state.format([first, unsigned, foreign, last]), signing) == "SUCCESS PENDING PENDING SUCCESS"
    assert "Refusing to deserialize" in log()
    assert "Unknown certificate" in log()


def test_workers_that_sign_answer_who_signs(log: Callable[[], str], signing: dict[str, str]) -> None:
    """As the canary and Flower ask them; nobody else may tell them to shut down."""
    # Other tests' workers hear it too, and do not sign.
    ask = "from config.celery import app; print(sum('signed@' in name for answer in app.control.ping(timeout=2) for name in answer))"
    assert result(python(SEND, signing), signing) == "done"
    wait_until(lambda: python(ask, signing) == "1")
    assert python(ask, {}) == "0"
