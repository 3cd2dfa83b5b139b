"""What is promised of a stop, counted: nothing is lost, nothing runs twice at once, nobody is killed before its time.

COUNT tasks on each host, a multiple of 25: 10,000 unless the environment says otherwise.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
import testinfra
from testinfra.host import Host

from lab import LAB_FOLDER, lab_ports

COUNT = int(os.environ.get("COUNT", 10000))
RESTARTS, STOPS = 20, 5
# Before each of them some are sent, so that all meet workers at work.
PORTION = COUNT // (RESTARTS + STOPS)
WORKERS = ("one", "two", "three")
RUN = (
    "systemd-run --quiet --pipe --wait --collect --uid=press --property=EnvironmentFile=/etc/press/environment "
    "--property=EnvironmentFile=/etc/press/processes/worker-one.environment --property=WorkingDirectory=/srv/press/source "
    "/srv/press/venv/bin/python -m stops "
)
Wait = Callable[..., Any]


class Backend(NamedTuple):
    """How an operator stops and starts a worker, and what shows where one was killed, by the word SIGKILL."""

    stop: str
    start: str
    restart: str
    log: str


BACKENDS = {
    "systemd": Backend(
        "systemctl stop press-worker-{}",
        "systemctl start press-worker-{}",
        "systemctl restart press-worker-{}",
        "journalctl --quiet --no-pager --output=cat --unit='press-worker-*'",
    ),
    "supervisor": Backend(
        "supervisorctl stop press-worker-{}",
        "supervisorctl start press-worker-{}",
        "supervisorctl restart press-worker-{}",
        "cat /var/log/supervisor/supervisord.log",
    ),
}


def stops(host: Host, function: str, *arguments: object) -> Any:
    """What one of the project's functions returns."""
    words = " ".join(f"'{json.dumps(argument)}'" for argument in arguments)
    return json.loads(host.check_output(f"{RUN}{function} {words}"))


def count_over_stops(host_name: str, wait_until: Wait) -> dict[str, Any]:
    """Send the tasks, restart and stop the workers while they run, wait for the last one; the figures."""
    host = testinfra.get_host(f"ssh://{host_name}", ssh_config=str(LAB_FOLDER / "ssh_config"), controlpersist=60)
    backend = BACKENDS[host_name.rpartition("-")[2]]
    killed = host.check_output(backend.log).count("SIGKILL")
    began = time.monotonic()
    stops(host, "begin")
    left_running, slowest = 0, 0.0
    for number in range(RESTARTS + STOPS):
        stops(host, "send", number * PORTION, PORTION)
        worker, asked = WORKERS[number % len(WORKERS)], time.monotonic()
        wait_until(lambda worker=worker: stops(host, "running", worker) > 0, timeout=180)
        if number % (RESTARTS // STOPS + 1):
            host.check_output(backend.restart.format(worker))
        else:
            host.check_output(backend.stop.format(worker))
            left_running += stops(host, "running", worker)
            host.check_output(backend.start.format(worker))
        slowest = max(slowest, time.monotonic() - asked)
    wait_until(lambda: stops(host, "figures")["ended"] == COUNT, timeout=1800)
    return {
        **stops(host, "figures"),
        "killed": host.check_output(backend.log).count("SIGKILL") - killed,
        "left_running": left_running,
        "slowest": slowest,
        "seconds": time.monotonic() - began,
    }


@pytest.fixture(scope="session")
def counted(wait_until: Wait) -> dict[str, dict[str, Any]]:
    """The figures of every host; all of them at the same time."""
    with ThreadPoolExecutor() as threads:
        hosts = sorted(lab_ports())
        found = dict(zip(hosts, threads.map(lambda name: count_over_stops(name, wait_until), hosts), strict=True))
    print("\n========== counted ==========")
    print(f"{COUNT} tasks of 1 to 60 s, {RESTARTS} restarts, {STOPS} stops")
    print(
        f"{'host':<28} {'ended':>6} {'lost':>5} {'twice':>6} {'at once':>8} {'cut':>4} {'killed':>7} {'slowest stop':>13} {'in all':>8}"
    )
    for name, figures in found.items():
        print(
            f"{name:<28} {figures['ended']:>6} {COUNT - figures['ended']:>5} {figures['twice']:>6} {figures['at_once']:>8} "
            f"{figures['cut']:>4} {figures['killed']:>7} {figures['slowest']:>11.0f} s {figures['seconds']:>6.0f} s"
        )
    print("=============================")
    return found


def test_every_task_ends_though_its_worker_is_stopped_and_none_runs_twice_at_once(
    counted: dict[str, dict[str, Any]], host_name: str
) -> None:
    figures = counted[host_name]
    assert figures["ended"] == COUNT
    assert figures["at_once"] == 0
    assert figures["twice_elsewhere"] == 0
    # Those with an ETA among them, which go back to the broker with every stop.
    assert figures["with_eta"] == len([number for number in range(COUNT) if number % 20 == 7])


def test_a_stop_waits_for_what_runs(counted: dict[str, dict[str, Any]], host_name: str) -> None:
    figures = counted[host_name]
    assert figures["left_running"] == 0
    assert figures["cut_elsewhere"] == 0
    assert figures["killed"] == 0
