"""Daemons run as defined, come back, stop gracefully, and nothing restarts without a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

# Asks the web process eight times, the first time before its restart.
ASK = """
import socket, subprocess
for number in range(8):
    if number == 1:
        subprocess.run(["systemctl", "restart", "--no-block", "shop-web.service"], check=True)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect("/run/shop/web.sock")
        client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        print(client.makefile().read().split()[-1])
"""
NAMES = ("early", "middle", "working", "deaf", "stubborn", "web", "secluded")


def show(host: Any, unit: str, *properties: str) -> dict[str, str]:
    output = host.check_output("systemctl show --property=%s -- %s", ",".join(properties), unit)
    return dict(line.split("=", 1) for line in output.splitlines())


def pids(host: Any) -> dict[str, str]:
    units = [f"shop-{name}.service" for name in NAMES]
    output = host.check_output("systemctl show --property=MainPID --value -- " + " ".join(units))
    return dict(zip(NAMES, output.split(), strict=True))


def seen(host: Any, name: str = "shop") -> dict[str, Any]:
    return json.loads(host.file(f"/var/lib/{name}/seen.json").content_string)


def test_workers_start_before_the_scheduler_and_that_before_the_web(host: Any) -> None:
    started = [
        int(show(host, f"shop-{name}.service", "ExecMainStartTimestampMonotonic")["ExecMainStartTimestampMonotonic"])
        for name in ("early", "middle", "web")
    ]
    assert started == sorted(started)


def test_all_processes_start_at_boot(host: Any) -> None:
    assert (
        host.check_output("systemctl is-enabled shop-early.service shop-web.service shop-web.socket").split()
        == ["enabled"] * 3
    )


def test_arguments_and_variables_arrive_as_they_were_written(host: Any) -> None:
    assert seen(host)["arguments"] == ["a b", "100%", "$HOME", '"']
    assert seen(host)["environment"] == {"GREETING": "it's $HOME, 5%", "VALUE": "first"}


def test_a_process_writes_only_where_it_may(host: Any) -> None:
    writes = seen(host)["writes"]
    assert {path for path, outcome in writes.items() if outcome == "written"} == {
        "/srv/uploads/x",
        "/var/lib/shop/x",
        "/tmp/x",
    }
    assert seen(host)["root_home"] != "written"
    assert not host.file("/tmp/x").exists


def test_a_folder_may_hand_what_is_written_to_another_group(host: Any) -> None:
    """As uploads are handed to nginx."""
    file = host.file("/srv/uploads/x")
    assert (file.user, file.group, file.mode) == ("shop", "www-data", 0o640)


def test_a_process_gains_no_privileges(host: Any) -> None:
    assert seen(host)["privileges"].split() == ["NoNewPrivs:", "1"]


def test_a_process_without_network_reaches_nothing(host: Any) -> None:
    assert seen(host)["connects"] == "connected"
    assert seen(host, "shop-secluded")["connects"] != "connected"


def test_the_sandbox_leaves_little_exposed(host: Any) -> None:
    for name in NAMES:
        summary = host.check_output("systemd-analyze security --no-pager shop-%s.service | tail -1", name)
        assert float(summary.split(": ")[1].split()[0]) <= 2.0, summary


def test_the_memory_limit_is_the_units(host: Any) -> None:
    assert show(host, "shop-early.service", "MemoryMax")["MemoryMax"] == str(64 * 1024 * 1024)


def test_a_killed_process_comes_back(host: Any, wait_until: Callable[..., Any]) -> None:
    before = pids(host)["middle"]
    host.check_output("systemctl kill --signal=KILL shop-middle.service")
    assert wait_until(lambda: pids(host)["middle"] not in ("0", before), timeout=20)


def test_a_stop_lets_work_end_and_its_children_live_until_then(host: Any) -> None:
    host.check_output("systemctl stop shop-working.service")
    assert host.file("/var/lib/shop-working/finished").content_string == "child alive"
    assert show(host, "shop-working.service", "Result")["Result"] == "success"
    host.check_output("systemctl start shop-working.service")


def test_what_does_not_end_in_time_gets_the_quit_signal(host: Any) -> None:
    host.check_output("systemctl stop shop-deaf.service")
    assert host.file("/var/lib/shop-deaf/quit").content_string == "given back"
    host.check_output("systemctl start shop-deaf.service")


def test_what_ends_on_no_signal_is_killed(host: Any) -> None:
    before = pids(host)["stubborn"]
    host.check_output("timeout 20 systemctl stop shop-stubborn.service")
    assert not host.file(f"/proc/{before}").exists
    host.check_output("systemctl start shop-stubborn.service")


def test_connections_wait_while_the_web_process_restarts(host: Any) -> None:
    answers = host.check_output("python3 -c %s", ASK).split()
    assert len(answers) == 8
    assert answers[-1] != answers[0]


def test_the_socket_is_open_to_its_group_alone(host: Any) -> None:
    socket = host.file("/run/shop/web.sock")
    assert (socket.user, socket.group, socket.mode) == ("shop", "www-data", 0o660)


@pytest.fixture(scope="module")
def runs(host: Any, host_name: str, converge_again: Callable[..., Any]) -> dict[str, Any]:
    """After a run with another value in one environment file, without one of the processes and with one that dies at once, and after
    one that is the same but for the last."""
    values = {"value": "second", "dropped": ["deaf"]}
    dying = {
        "name": "dying",
        "phase": "scheduler",
        "command": ["/bin/sh", "-c", "echo the dog ate my settings >&2; exit 3"],
        "user": "shop",
        "directory": "/var/lib",
    }
    before = pids(host)
    failed = converge_again("-e", json.dumps({**values, "extra": [dying]}), limit=host_name, playbook="processes.yml")
    between = pids(host)
    mended = converge_again("-e", json.dumps(values), limit=host_name, playbook="processes.yml")
    return {"before": before, "failed": failed, "between": between, "mended": mended, "after": pids(host)}


def test_a_changed_environment_file_restarts_its_process_and_no_other(host: Any, runs: dict[str, Any]) -> None:
    assert {name for name in NAMES if runs["before"][name] != runs["between"][name]} == {"early", "deaf"}
    assert seen(host)["environment"]["VALUE"] == "second"


def test_what_is_no_longer_defined_is_stopped_and_removed(host: Any, runs: dict[str, Any]) -> None:
    state = show(host, "shop-deaf.service", "LoadState", "ActiveState", "UnitFileState")
    assert state == {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}
    assert host.run("systemctl list-units --failed --plain --no-legend 'shop-*'").stdout == ""


def test_a_process_that_dies_at_once_fails_the_run_with_its_journal(runs: dict[str, Any]) -> None:
    assert runs["failed"].returncode != 0
    output = runs["failed"].stdout
    assert "shop-dying.service ended right after it was started" in output
    assert "the dog ate my settings" in output
    assert "exit status 3" in output


def test_the_next_run_mends_it_and_restarts_nothing_else(host: Any, runs: dict[str, Any]) -> None:
    assert runs["mended"].returncode == 0, runs["mended"].stdout
    assert runs["after"] == runs["between"]
    assert not host.file("/etc/systemd/system/shop-dying.service").exists
