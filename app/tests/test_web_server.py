"""gunicorn with several processes, as servers run it."""

import socket

import pytest
import requests
from core import snapshots
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import gunicorn, wait_until


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
    with gunicorn(None, "--log-level=warning") as address:
        for _ in range(40):
            ask(f"{address}/healthz")
        # Whichever process is asked, the answer is the sum over both.
        assert {wait_until(lambda: counted(address)) for _ in range(10)} == {40.0}


@pytest.mark.django_db(transaction=True)
def test_two_web_servers_agree_on_the_fleet_and_add_up_what_they_answered() -> None:
    snapshots.save("one@a", figures="# TYPE celery_task_runs counter\ncelery_task_runs_total 7.0\n", is_up=True)
    with gunicorn(None, "--log-level=warning") as one, gunicorn(None, "--log-level=warning") as other:
        for number in range(30):
            ask(f"{one if number % 3 else other}/healthz")
        assert (counted(one), counted(other)) == (20, 10)
        pages = [ask(f"{address}/metrics") for address in (one, other)]
        assert pages[0] == pages[1]
        assert 'celery_task_runs_total{worker="one@a"} 7.0' in pages[0]
