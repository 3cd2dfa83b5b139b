"""Workers go over from one process manager to the other and back while they work, and no task is lost or runs twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from test_stops import WORKERS, stops
from testinfra.host import Host

COUNT = 2000
BACKENDS = ("systemd", "supervisor")


def runs_under(host: Host) -> dict[str, str]:
    """Who has each worker's process, by the unit that it is in; both, should there be two."""
    units = {f"press-worker-{name}.{kind}": name for name in WORKERS for kind in ("service", "scope")}
    active = host.run("systemctl is-active -- " + " ".join(units)).stdout.split()
    found: dict[str, str] = {}
    for (unit, name), state in zip(units.items(), active, strict=True):
        if state == "active":
            found[name] = found.get(name, "") + BACKENDS[unit.endswith(".scope")]
    return found


def test_all_tasks_end_while_the_process_manager_is_another_there_and_back(
    host: Host, host_name: str, converge_again: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    own = host_name.rpartition("-")[2]
    [other] = set(BACKENDS) - {own}
    stops(host, "begin")
    for number, backend in enumerate((other, own)):
        stops(host, "send", number * COUNT // 2, COUNT // 2)
        wait_until(lambda: all(stops(host, "running", worker) for worker in WORKERS), timeout=120)
        run = converge_again("-e", json.dumps({"process_manager_backend": backend}), limit=host_name)
        assert run.returncode == 0, run.stdout[-4000:]
        assert runs_under(host) == dict.fromkeys(WORKERS, backend)
    wait_until(lambda: stops(host, "figures")["ended"] == COUNT, timeout=600)
    figures = stops(host, "figures")
    print(f"{host_name}: {COUNT} tasks, to {other} and back: {figures}")
    assert (figures["at_once"], figures["twice_elsewhere"], figures["cut_elsewhere"]) == (0, 0, 0)
