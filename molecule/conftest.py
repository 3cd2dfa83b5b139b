"""What the tests of every scenario share: the hosts, waiting for a condition, the power switch, published ports."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from lab import LAB, LAB_FOLDER, LAB_HOSTS, PROJECT, lab_ports


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that takes `host` or `host_name` once on each host of the lab.

    One that runs a playbook, or is marked `costly`, costs half a minute: in `make test` a file's run on one of the hosts, on another
    one for the next file. `make prove` sets EVERY_HOST, and they run on each. What is marked `on` runs on the hosts that the mark names.
    """
    if "host_name" not in metafunc.fixturenames:
        return
    hosts = sorted(lab_ports())
    if named := metafunc.definition.get_closest_marker("on"):
        hosts = list(named.args)
    is_costly = "converge_again" in metafunc.fixturenames or metafunc.definition.get_closest_marker("costly")
    if is_costly and not os.environ.get("EVERY_HOST"):
        file = metafunc.definition.path
        hosts = [hosts[sorted(file.parent.glob("test_*.py")).index(file) % len(hosts)]]
    metafunc.parametrize("host_name", hosts, scope="session")


class ByHost(LoadScopeScheduling):
    """Where a scenario has several processes, a host's tests run in one of them, in order."""

    def _split_scope(self, nodeid: str) -> str:
        _, _, parameters = nodeid.partition("[")
        return next((name for name in lab_ports() if name in parameters), "all")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByHost:
    """For `pytest -n 2`."""
    return ByHost(config, log)


@pytest.fixture(scope="session")
def host(host_name: str) -> testinfra.host.Host:
    """The server under test, over SSH."""
    return testinfra.get_host(f"ssh://{host_name}", ssh_config=str(LAB_FOLDER / "ssh_config"), controlpersist=60)


@pytest.fixture(scope="session")
def exposure(host: testinfra.host.Host) -> Callable[[str], float]:
    """systemd's own measure of what a service could reach; 9.6 is a service without any confinement."""

    def measure(service: str) -> float:
        summary = host.check_output(f"systemd-analyze security --no-pager {service}.service | tail -1")
        measured = float(summary.split("level for")[1].split(":")[1].split()[0])
        print(f"exposure of {service}: {measured}")
        return measured

    return measure


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., Any]:
    """Poll a function until it returns something true, and return that.

    Errors inside the function that an answer which is not there yet leads to count as "not yet"; the last one is shown when time is up.
    """

    def poll(function: Callable[[], Any], timeout: float = 60) -> Any:
        deadline = time.monotonic() + timeout
        last: object = None
        while time.monotonic() < deadline:
            try:
                if last := function():
                    return last
            except (AssertionError, AttributeError, LookupError, TypeError, ValueError, OSError) as error:
                last = error
            time.sleep(0.3)
        raise AssertionError(f"not within {timeout} s; last: {last!r}")

    return poll


@pytest.fixture(scope="session")
def published() -> Callable[[str, int], tuple[str, int]]:
    """Where a port (80 or 443) of a host is reached from this machine: (address, port)."""
    return lambda host_name, port: ("127.0.0.1", lab_ports()[host_name][str(port)])


@pytest.fixture(scope="session")
def lab_restart() -> Callable[[str], None]:
    """Reboot a host, or restart its container, and wait until it answers over SSH."""

    def restart(host_name: str) -> None:
        machines = os.environ.get("LAB_MACHINES", "container")
        subprocess.run([PROJECT / "lab" / machines, "restart", LAB, host_name], check=True, timeout=900)

    return restart


@pytest.fixture(scope="session")
def converge_again() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a playbook on the lab once more: `converge_again("-e", "x=1", limit="host")`. Never raises: look at returncode.

    hosts: another inventory in place of the scenario's hosts.yml.
    """

    def run(
        *arguments: str, limit: str = LAB_HOSTS, playbook: str = "", hosts: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        scenario = PROJECT / "molecule" / LAB
        inventories = [
            hosts or scenario / "hosts.yml",
            *LAB_FOLDER.glob("connections.yml"),
            *LAB_FOLDER.glob("secrets.yml"),
        ]
        # Into a file: SSH's shared connection outlives the play and would hold a pipe open.
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(
                [
                    "ansible-playbook",
                    *(f"--inventory={path}" for path in inventories),
                    f"--limit={limit},localhost",
                    *arguments,
                    str(scenario / (playbook or "converge.yml")),
                ],
                cwd=PROJECT,
                # Molecule asks for colours, which a test would have to read past.
                env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=900,
            )
            output.seek(0)
            return subprocess.CompletedProcess(result.args, result.returncode, output.read(), "")

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have counted as a table, between the lines that bin/test looks for."""
    reports = [
        report for one in terminalreporter.stats.values() for report in one if isinstance(report, pytest.TestReport)
    ]
    rows = [
        row for report in reports if report.when == "call" for name, row in report.user_properties if name == "counted"
    ]
    if rows:
        lines = [list(rows[0]), *([str(figure) for figure in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        terminalreporter.section("counted")
        for line in lines:
            terminalreporter.write_line("   ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
