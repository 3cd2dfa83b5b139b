"""Flower answers with its password and not without, sees the workers, and comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

# What hosts.yml says: one host has the defaults.
PLACES = {"flower-bookworm": (5555, "/flower"), "flower-trixie": (5600, "/tools/watch")}
PASSWORD = 'flower "pass\\word" $HOME'

# Status and text of a page, asked for from the host itself.
ASK = """
import base64, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1])
if len(sys.argv) > 2:
    request.add_header("Authorization", "Basic " + base64.b64encode(sys.argv[2].encode()).decode())
try:
    answer = urllib.request.urlopen(request, timeout=20)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status)
print(answer.read().decode())
"""


@pytest.fixture
def ask(host: Any, host_name: str) -> Callable[..., tuple[int, str]]:
    """Status and text of a page: `ask("/workers", "user:password")`; raises ValueError while nothing answers."""
    port, prefix = PLACES[host_name]

    def run(path: str, user: str = "") -> tuple[int, str]:
        arguments = (f"http://127.0.0.1:{port}{prefix}{path}", *([user] if user else []))
        result = host.run("python3 -c " + " ".join(["%s"] * (1 + len(arguments))), ASK, *arguments)
        status, _, text = result.stdout.partition("\n")
        return int(status), text

    return run


def main_pid(host: Any) -> str:
    return host.check_output("systemctl show --property=MainPID --value press-flower.service")


def test_nothing_is_shown_without_the_password(ask: Callable[..., Any], wait_until: Callable[..., Any]) -> None:
    for path in ("/", "/workers", "/api/workers", "/api/tasks"):
        assert wait_until(lambda path=path: ask(path))[0] == 401, path
        assert ask(path, "flower:wrong")[0] == 401, path


def test_the_password_opens_it(ask: Callable[..., Any]) -> None:
    status, text = ask("/workers", f"flower:{PASSWORD}")
    assert status == 200
    assert "Flower" in text


def test_it_sees_the_worker_through_the_prefix_of_the_broker(
    ask: Callable[..., Any], host_name: str, wait_until: Callable[..., Any]
) -> None:
    def workers() -> list[str]:
        return list(json.loads(ask("/api/workers?refresh=1", f"flower:{PASSWORD}")[1]))

    assert wait_until(workers, timeout=40) == [f"letters@{host_name}"]


@pytest.mark.long
def test_a_blind_flower_fails_the_run_and_the_variable_is_named(
    host_name: str, converge_again: Callable[..., Any]
) -> None:
    """It sees this host's worker, and is asked for another one too."""
    seeing = {"flower_expected_workers": [f"letters@{host_name}"]}
    assert converge_again("-e", json.dumps(seeing), limit=host_name, playbook="seen.yml").returncode == 0
    missing = {"flower_expected_workers": [f"letters@{host_name}", "pages@elsewhere"]}
    run = converge_again("-e", json.dumps(missing), limit=host_name, playbook="seen.yml")
    assert run.returncode != 0
    assert "does not see pages@elsewhere" in run.stdout
    assert "flower_key_prefix" in run.stdout
    assert PASSWORD not in run.stdout
    assert "celery-password-of-the-test" not in run.stdout


def test_it_shows_no_secret_of_the_project(
    ask: Callable[..., Any], host_name: str, wait_until: Callable[..., Any]
) -> None:
    login = f"flower:{PASSWORD}"
    assert wait_until(lambda: "pool" in ask("/api/workers?refresh=1", login)[1], timeout=40)
    status, page = ask(f"/worker/letters@{host_name}", login)
    assert status == 200
    assert "letters" in page
    for text in (page, ask("/api/workers", login)[1]):
        assert "celery-password-of-the-test" not in text


def test_it_listens_on_the_loopback_address_alone(host: Any, host_name: str) -> None:
    port, _ = PLACES[host_name]
    listening = host.check_output("ss --listening --tcp --numeric --no-header %s", f"sport = :{port}")
    assert [line.split()[3] for line in listening.splitlines()] == [f"127.0.0.1:{port}"]


def test_its_secrets_are_in_no_command_line_and_no_readable_file(host: Any) -> None:
    file = host.file("/etc/press/flower.environment")
    assert (file.user, file.group, file.mode) == ("root", "root", 0o600)
    for secret in (PASSWORD, "celery-password-of-the-test"):
        assert secret not in host.check_output("ps -ewwo args")
        assert secret not in host.check_output("systemctl cat press-flower.service")
        assert secret not in host.check_output("systemctl show press-flower.service")
        assert (
            host.run("grep --recursive --files-with-matches --fixed-strings %s /opt/flower /etc/systemd", secret).stdout
            == ""
        )


def test_its_memory_is_limited(host: Any) -> None:
    assert host.check_output("systemctl show --property=MemoryMax --value press-flower.service") == str(
        256 * 1024 * 1024
    )


def test_it_runs_as_it_was_told(host: Any, wait_until: Callable[..., Any]) -> None:
    """As its unit, its process and its log have it."""
    pid = main_pid(host)
    assert host.check_output("systemctl show -P CPUQuotaPerSecUSec press-flower.service") == "1.500000s"
    assert host.check_output("ps -o ni= -p %s", pid).strip() == "2"
    variables = host.check_output("tr '\\0' '\\n' </proc/%s/environ", pid).splitlines()
    assert "FLOWER_INSPECT_TIMEOUT=1500" in variables
    assert wait_until(lambda: "\n[D " in host.check_output("journalctl --no-pager -o cat _PID=%s", pid), timeout=40)


def test_it_comes_back_when_killed(host: Any, ask: Callable[..., Any], wait_until: Callable[..., Any]) -> None:
    before = main_pid(host)
    host.check_output("systemctl kill --signal=KILL press-flower.service")
    wait_until(lambda: main_pid(host) not in ("0", before))
    assert wait_until(lambda: ask("/workers", f"flower:{PASSWORD}"), timeout=40)[0] == 200


def test_redis_refused_nothing_that_flower_sent(host: Any) -> None:
    log = host.check_output("REDISCLI_AUTH='admin password of the test' redis-cli --user admin acl log")
    assert log == ""
