"""gunicorn with several processes, as servers run it."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests
from core import snapshots
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import database_of_tests, wait_until


@contextlib.contextmanager
def web_server() -> Iterator[str]:
    """The address of a running gunicorn with two workers; its listening socket is opened here, as systemd does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "gunicorn", "config.wsgi:application", "--workers=2", "--no-control-socket"]
        command += [f"--bind=fd://{listener.fileno()}", "--log-level=warning"]
        environment = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
        environment |= {"ALLOWED_HOSTS": "127.0.0.1", "DATABASE_URL": database_of_tests()}
        process = subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()])
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait(20)


def ask(address: str) -> str:
    """On a connection of its own, so that any of the processes may answer."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(address, headers={"Connection": "close"}, timeout=120)
    assert answer.ok, answer.text
    return answer.text


def counted(address: str) -> float:
    """How often the web server answered at /healthz."""
    families = text_string_to_metric_families(ask(f"{address}/metrics/web"))
    samples = [sample for family in families for sample in family.samples if sample.name == "http_requests_total"]
    assert {sample.labels["host"] for sample in samples} <= {socket.gethostname()}
    return sum(sample.value for sample in samples if sample.labels["view"] == "healthz")


def test_the_processes_of_a_web_server_answer_for_one_another() -> None:
    with web_server() as address:
        for _ in range(40):
            ask(f"{address}/healthz")
        # Whichever process is asked, the answer is the sum over both.
        assert {wait_until(lambda: counted(address)) for _ in range(10)} == {40.0}


@pytest.mark.django_db(transaction=True)
def test_two_web_servers_agree_on_the_fleet_and_add_up_what_they_answered() -> None:
    snapshots.save("one@a", figures="# TYPE celery_task_runs counter\ncelery_task_runs_total 7.0\n", is_up=True)
    with web_server() as one, web_server() as other:
        for number in range(30):
            ask(f"{one if number % 3 else other}/healthz")
        assert (counted(one), counted(other)) == (20, 10)
        pages = [ask(f"{address}/metrics") for address in (one, other)]
        assert pages[0] == pages[1]
        assert 'celery_task_runs_total{worker="one@a"} 7.0' in pages[0]
