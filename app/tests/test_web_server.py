"""gunicorn with several processes, as servers run it."""

import re
from collections.abc import Iterator

import pytest
import requests

from tests.conftest import gunicorn, wait_until


@pytest.fixture
def address(db: None) -> Iterator[str]:
    with gunicorn(None, "--log-level=warning") as address:
        yield address


def test_the_processes_answer_for_one_another_at_metrics(address: str) -> None:
    def counted() -> float:
        page = requests.get(f"{address}/metrics", timeout=20).text
        found = re.search(r'^http_requests_total{method="GET",status="200",view="healthz"} (\S+)$', page, re.MULTILINE)
        return float(found[1]) if found else 0

    with requests.Session() as session:
        session.trust_env = False
        for _ in range(40):
            assert session.get(f"{address}/healthz", headers={"Connection": "close"}, timeout=20).ok
    # Whichever process is asked, the answer is the sum over both.
    assert {wait_until(counted) for _ in range(10)} == {40.0}
