"""A second project's cluster beside the first: nobody's role gets into the other's database."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from test_postgresql import PASSWORD, version
from testinfra.host import Host

# What each project logs in with: role and database by that name, port, password.
LOGINS = {"shop": (5432, PASSWORD), "blog": (5433, "the blog's password")}


@pytest.fixture(scope="session")
def second_project(converge_again: Callable[..., Any]) -> Any:
    """The run of the second project, once."""
    return converge_again(playbook="second.yml")


@pytest.fixture(autouse=True)
def _both(second_project: Any) -> None:
    """Both are there."""
    assert second_project.returncode == 0, second_project.stdout


def connect(host: Host, who: str, *, port: int, database: str, sql: str = "SELECT current_database()") -> Any:
    """SQL over TCP, as a project's role with its own password."""
    return host.run(
        f"PGPASSWORD={shlex.quote(LOGINS[who][1])} PGCONNECT_TIMEOUT=5 "
        f"psql --no-psqlrc -w -tA -h 127.0.0.1 -p {port} -U {who} -d {database} -c {shlex.quote(sql)}"
    )


def main_processes(host: Host) -> list[str]:
    """The process ids of both clusters."""
    names = [f"postgresql@{version(host)}-{cluster}" for cluster in ("main", "blog")]
    return [host.check_output(f"systemctl show -P MainPID {name}") for name in names]


def test_each_project_gets_into_its_own_database(host: Host) -> None:
    for who, (port, _) in LOGINS.items():
        assert connect(host, who, port=port, database=who).stdout.strip() == who


@pytest.mark.parametrize(("who", "other"), [("shop", "blog"), ("blog", "shop")])
def test_no_project_gets_into_the_other_s(host: Host, who: str, other: str) -> None:
    """Not with its own role, not by the other's name with its own password, and not from its own cluster."""
    port = LOGINS[other][0]
    for database in (other, who, "postgres"):
        refused = connect(host, who, port=port, database=database)
        assert refused.rc == 2
        assert "no pg_hba.conf entry" in refused.stderr
    by_name = host.run(
        f"PGPASSWORD={shlex.quote(LOGINS[who][1])} psql -w -h 127.0.0.1 -p {port} -U {other} -d {other} -c 'SELECT 1'"
    )
    assert by_name.rc == 2
    assert "password authentication failed" in by_name.stderr
    # The server's own files and programs are a superuser's.
    assert connect(host, who, port=LOGINS[who][0], database=who, sql="COPY (SELECT 1) TO PROGRAM 'true'").rc == 1


def test_the_second_is_as_safe_as_the_first(host: Host, exposure: Callable[[str], float]) -> None:
    """Confined, with the memory it was given."""
    assert exposure(f"postgresql@{version(host)}-blog") <= 2.5
    megabytes = int(host.check_output("awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo")) * 5 // 100
    sql = "SELECT pg_size_bytes(current_setting('shared_buffers')) / 1048576"
    assert connect(host, "blog", port=5433, database="blog", sql=sql).stdout.strip() == str(megabytes)


def test_neither_project_s_run_touches_the_other_s(host: Host, converge_again: Callable[..., Any]) -> None:
    """Nothing changes by turns, and nothing restarts."""
    # The other host, which this one lets in, may have been restarted and have another address.
    assert converge_again().returncode == 0
    before = main_processes(host)
    for playbook in ("second.yml", "converge.yml"):
        run = converge_again(playbook=playbook)
        assert set(re.findall(r"changed=(\d+)", run.stdout)) == {"0"}, run.stdout
    assert main_processes(host) == before


def test_both_return_after_a_restart_of_the_host(
    host: Host, host_name: str, lab_restart: Callable[[str], None], wait_until: Callable[..., Any]
) -> None:
    """The cluster is one of those that Debian starts."""
    lab_restart(host_name)
    for who, (port, _) in LOGINS.items():
        wait_until(lambda who=who, port=port: connect(host, who, port=port, database=who).stdout.strip() == who)


def changes(run: Any) -> set[str]:
    """The counts of changed tasks in a run's recap."""
    return set(re.findall(r"changed=(\d+)", run.stdout))


@pytest.mark.long
def test_it_is_taken_away_and_comes_back_with_its_data(
    host: Host, host_name: str, converge_again: Callable[..., Any], lab_restart: Callable[[str], None]
) -> None:
    """By its own application alone; foretold, done, done once, over a restart of the host; the other goes on."""
    where = {"limit": host_name, "playbook": "absent.yml"}
    cluster = f"postgresql@{version(host)}-blog"
    assert connect(host, "blog", port=5433, database="blog", sql="CREATE TABLE kept AS SELECT 42 AS answer").rc == 0
    before = main_processes(host)
    assert changes(converge_again("-e", "whose=blo", **where)) == {"0"}
    assert changes(converge_again("--check", **where)) == {"2"}
    assert main_processes(host) == before
    assert [changes(converge_again(**where)) for _ in range(2)] == [{"2"}, {"0"}]
    assert main_processes(host) == [before[0], "0"]
    lab_restart(host_name)
    assert host.service(f"postgresql@{version(host)}-main").is_running
    assert not host.service(cluster).is_running
    assert changes(converge_again(**where)) == {"0"}
    back = converge_again(playbook="second.yml", limit=host_name)
    assert back.returncode == 0, back.stdout
    assert connect(host, "blog", port=5433, database="blog", sql="SELECT answer FROM kept").stdout.strip() == "42"


@pytest.mark.long
def test_its_data_goes_when_that_is_said(host: Host, host_name: str, converge_again: Callable[..., Any]) -> None:
    """The whole cluster; the next run makes a new one."""
    removal = {"limit": host_name, "playbook": "absent.yml"}
    removed = converge_again("-e", "app_state_remove_data=true", **removal)
    assert removed.returncode == 0, removed.stdout
    assert "blog" not in host.check_output("pg_lsclusters")
    assert changes(converge_again("-e", "app_state_remove_data=true", **removal)) == {"0"}
    assert connect(host, "shop", port=5432, database="shop").stdout.strip() == "shop"
    assert converge_again(playbook="second.yml", limit=host_name).returncode == 0
    assert "kept" in connect(host, "blog", port=5433, database="blog", sql="SELECT FROM kept").stderr
