"""gunicorn with several processes, as servers run it."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from tests.conftest import wait_until


@pytest.fixture
def address() -> Iterator[str]:
    """A running gunicorn with two workers; its listening socket is opened here, as systemd does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "gunicorn", "config.wsgi:application", "--workers=2", "--no-control-socket"]
        command += [f"--bind=fd://{listener.fileno()}", "--log-level=warning"]
        environment = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
        environment["ALLOWED_HOSTS"] = "127.0.0.1"
        process = subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()])
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        process.terminate()
        process.wait(20)


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
