"""PostgreSQL as its clients meet it: who gets in, who does not, and what outlives a kill."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
import testinfra
from testinfra.backend.base import CommandResult
from testinfra.host import Host

from lab import LAB_FOLDER, lab_ports

PASSWORD = "the shop's password"


def connect(
    host: Host,
    sql: str,
    *,
    server: str = "127.0.0.1",
    database: str = "shop",
    user: str = "shop",
    password: str = PASSWORD,
) -> CommandResult:
    """Run SQL over TCP, from `host` to `server`, as an application would."""
    return host.run(
        f"PGPASSWORD={shlex.quote(password)} PGCONNECT_TIMEOUT=5 "
        f"psql --no-psqlrc -w -tA -h {server} -U {user} -d {database} -c {shlex.quote(sql)}"
    )


def as_postgres(host: Host, command: str) -> CommandResult:
    """A command of PostgreSQL's own system user, as an operator gives it."""
    return host.run(f"cd / && runuser -u postgres -- sh -c {shlex.quote(command)}")


def ask(host: Host, sql: str) -> str:
    """The answer PostgreSQL gives its own system user."""
    answer = as_postgres(host, f"psql --no-psqlrc -tA -c {shlex.quote(sql)}")
    assert answer.rc == 0, answer.stderr
    return answer.stdout.rstrip("\n")


def version(host: Host) -> str:
    """PostgreSQL's major version."""
    return ask(host, "SHOW server_version").split(".")[0]


def unit(host: Host) -> str:
    """The name of its service."""
    return f"postgresql@{version(host)}-main"


def address(host: Host) -> str:
    """The host's address on the network that the scenario's hosts share."""
    return host.check_output("hostname -I").split()[0]


def test_extensions_that_need_a_superuser_are_there(host: Host) -> None:
    """A migration's CREATE EXTENSION IF NOT EXISTS, which the application's role may not run by itself, passes."""
    sql = (
        "CREATE EXTENSION IF NOT EXISTS citext; CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"; SELECT 'A'::citext = 'a'"
    )
    answer = connect(host, sql)
    assert answer.rc == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "t"
    assert connect(host, "CREATE EXTENSION pg_visibility").rc != 0


def test_the_right_password_opens_the_application_s_database(host: Host) -> None:
    """The role logs in over TCP, owns its database and may create tables."""
    answer = connect(host, "CREATE TABLE a (b int); DROP TABLE a; SELECT current_user || '@' || current_database()")
    assert answer.rc == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "shop@shop"


def test_a_wrong_password_is_refused(host: Host) -> None:
    """SCRAM says no."""
    answer = connect(host, "SELECT 1", password="wrong")
    assert answer.rc == 2
    assert "password authentication failed" in answer.stderr


@pytest.mark.parametrize(("database", "user"), [("postgres", "shop"), ("template1", "shop"), ("shop", "postgres")])
def test_another_database_or_user_is_refused(host: Host, database: str, user: str) -> None:
    """Over TCP there is one database for one user, and no superuser."""
    answer = connect(host, "SELECT 1", database=database, user=user)
    assert answer.rc == 2
    assert "no pg_hba.conf entry" in answer.stderr


def test_only_the_named_host_may_connect(all_hosts: dict[str, Host]) -> None:
    """The one in postgresql_client_addresses gets in; a stranger is refused though he has the password."""
    bookworm, trixie = all_hosts["postgresql-bookworm"], all_hosts["postgresql-trixie"]
    named = connect(bookworm, "SELECT 1", server=address(trixie))
    assert named.rc == 0, named.stderr
    stranger = connect(trixie, "SELECT 1", server=address(bookworm))
    assert stranger.rc == 2
    assert "no pg_hba.conf entry for host" in stranger.stderr


def test_the_password_is_stored_as_a_scram_verifier_and_logged_nowhere(host: Host) -> None:
    """Neither the catalogue nor the server's log holds it in clear."""
    assert ask(host, "SELECT rolpassword FROM pg_authid WHERE rolname = 'shop'").startswith("SCRAM-SHA-256$4096:")
    found = host.run(f"grep -rlF {shlex.quote(PASSWORD)} /etc /var/log /var/lib/postgresql /root /tmp")
    assert (found.rc, found.stdout) == (1, "")


def test_the_application_s_role_has_no_privilege_beyond_its_database(host: Host) -> None:
    """It cannot create databases or roles, read the server's files or become another role."""
    rights = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles WHERE rolname = 'shop'"
    assert ask(host, rights) == "f|f|f|f"
    assert connect(host, "SELECT pg_read_file('/etc/passwd')").rc != 0


def test_settings_are_live(host: Host) -> None:
    """What group_vars asked for and what follows from the host's memory, as the server itself reports them."""
    megabytes = int(host.check_output("awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo")) * 25 // 100
    live = ask(
        host,
        "SELECT current_setting('work_mem'), current_setting('password_encryption'), "
        "pg_size_bytes(current_setting('shared_buffers')) / 1048576, "
        "pg_size_bytes(current_setting('effective_cache_size')) / 1048576",
    )
    assert live == f"8MB|scram-sha-256|{megabytes}|{megabytes * 2}"
    kind = "SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'shop'"
    assert ask(host, kind) == "C.UTF-8|UTF8"


def test_a_connection_to_a_host_that_is_gone_ends_after_two_minutes(host: Host) -> None:
    """As the kernel has it for the connection that asks."""
    asked = (
        "current_setting('tcp_keepalives_idle')::interval + 6 * current_setting('tcp_keepalives_interval')::interval"
    )
    answer = connect(host, f"SELECT {asked}, current_setting('tcp_keepalives_count')")
    assert answer.stdout.splitlines()[-1] == "00:02:00|6", answer.stderr


def test_a_killed_postgresql_returns_with_its_data(host: Host, wait_until: Callable[..., Any]) -> None:
    """systemd starts it again after SIGKILL, and what was committed is there."""
    assert connect(host, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer").rc == 0
    name = unit(host)
    before = host.check_output(f"systemctl show -P MainPID {name}")
    host.check_output(f"systemctl kill --signal KILL {name}")
    wait_until(lambda: host.check_output(f"systemctl show -P MainPID {name}") not in ("0", before))
    wait_until(lambda: connect(host, "SELECT answer FROM kept").stdout.strip() == "42")


def test_it_is_confined(host: Host, exposure: Callable[[str], float]) -> None:
    """By systemd's own measure, and by the kernel's word."""
    assert exposure(unit(host)) <= 2.5
    status = host.check_output(f"cat /proc/$(systemctl show -P MainPID {unit(host)})/status")
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)


@pytest.mark.parametrize(
    "command",
    ["mkdir /etc/postgresql/x && rmdir /etc/postgresql/x", "unshare --user true", "cat /proc/1/cmdline"],
    ids=["the system's files", "a namespace of its own", "others' processes"],
)
def test_a_query_cannot_do_what_its_system_user_could(host: Host, command: str) -> None:
    """A superuser's query may run programs; they are confined with the server."""
    assert as_postgres(host, command).rc == 0
    query = f"COPY (SELECT 1) TO PROGRAM '{command}'"
    inside = as_postgres(host, f"psql --no-psqlrc -c {shlex.quote(query)}")
    assert inside.rc == 1
    assert "child process exited with exit code" in inside.stderr


def test_extensions_and_compiled_queries_work(host: Host) -> None:
    """Code of theirs is loaded, and code is made at run time where Debian brings the compiler."""
    as_postgres(host, "dropdb --if-exists extended; createdb extended")
    names = ("pg_trgm", "pgcrypto", "postgres_fdw", "pg_stat_statements")
    sql = "; ".join([*(f"CREATE EXTENSION {name}" for name in names), "SELECT similarity('shop', 'ship') > 0"])
    extended = as_postgres(host, f"psql --no-psqlrc -qtA -d extended -c {shlex.quote(sql)}")
    assert (extended.rc, extended.stdout.strip()) == (0, "t"), extended.stderr
    query = "EXPLAIN ANALYZE SELECT sum(i) FROM generate_series(1, 1000) i"
    plan = ask(host, f"SET jit_above_cost = 0; {query}")
    assert ("JIT:" in plan) is (ask(host, "SELECT pg_jit_available()") == "t")


def test_an_operator_works_with_it_as_before(host: Host) -> None:
    """Dumps, copies to /tmp, settings, an archive's programs, and restarts by Debian's own command."""
    connect(host, "CREATE TABLE IF NOT EXISTS dumped AS SELECT 42 AS answer")
    as_postgres(host, "dropdb --if-exists restored; createdb restored")
    dumped = as_postgres(host, "pg_dump -Fc shop -f /tmp/shop.dump && pg_restore --no-owner -d restored /tmp/shop.dump")
    assert dumped.rc == 0, dumped.stderr
    assert as_postgres(host, "psql -tA -d restored -c 'SELECT answer FROM dumped'").stdout.strip() == "42"
    ask(host, "COPY (SELECT 42) TO '/tmp/copied'")
    assert host.file("/tmp/copied").content_string == "42\n"
    # As an archive_command does.
    ask(host, "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; cp -p /etc/hostname /var/lib/postgresql/archived'")
    assert host.file("/var/lib/postgresql/archived").size
    ask(host, "ALTER SYSTEM SET application_name = 'shop'")
    ask(host, "ALTER SYSTEM RESET application_name")
    host.check_output(f"pg_ctlcluster {version(host)} main restart")
    assert host.service(unit(host)).is_running
    assert connect(host, "SELECT 1").rc == 0


def test_the_log_is_written_rotated_and_made_anew(host: Host) -> None:
    """In the file where Debian has it."""
    path = f"/var/log/postgresql/postgresql-{version(host)}-main.log"
    host.check_output("logrotate --force /etc/logrotate.d/postgresql-common")
    connect(host, "SELECT after_the_rotation")
    assert "after_the_rotation" in host.file(path).content_string
    host.check_output(f"rm {path} && systemctl restart {unit(host)}")
    connect(host, "SELECT after_the_restart")
    assert "after_the_restart" in host.file(path).content_string
    assert host.file(path).mode == 0o640


def test_another_cluster_is_left_as_debian_has_it(host: Host, exposure: Callable[[str], float]) -> None:
    """An operator's own, or the next version's while pg_upgradecluster fills it."""
    other = f"{version(host)} other"
    host.check_output(f"pg_createcluster {other} --start")
    try:
        assert exposure(f"postgresql@{other.replace(' ', '-')}") > 9
        assert host.service(unit(host)).is_running
    finally:
        host.check_output(f"pg_dropcluster --stop {other}")


def test_a_setting_changed_by_hand_is_named(all_hosts: dict[str, Host], converge_again: Callable[..., Any]) -> None:
    """ALTER SYSTEM beats the role's file; the play says so, and what to do, instead of passing."""
    host = all_hosts["postgresql-trixie"]
    ask(host, "ALTER SYSTEM SET work_mem = '1MB'")
    ask(host, "SELECT pg_reload_conf()")
    try:
        run = converge_again(limit="postgresql-trixie,postgresql-bookworm")
    finally:
        ask(host, "ALTER SYSTEM RESET work_mem")
        ask(host, "SELECT pg_reload_conf()")
    assert run.returncode == 2
    assert "Settings overruled elsewhere: work_mem" in " ".join(run.stdout.split())
    assert PASSWORD not in run.stdout + run.stderr


def test_bad_input_is_refused_before_any_change(converge_again: Callable[..., Any]) -> None:
    """All mistakes at once, each with its variable."""
    bad = {
        "postgresql_password": "",
        "postgresql_client_addresses": ["everywhere"],
        "postgresql_settings": {"password_encryption": "md5"},
    }
    run = converge_again("-e", json.dumps(bad), limit="postgresql-trixie")
    output = " ".join(run.stdout.split())
    assert run.returncode == 2
    assert "postgresql_password is empty" in output
    assert "everywhere is neither an address nor a network" in output
    assert "postgresql_settings: password_encryption belongs to the role" in output
    assert "changed=0" in output


@pytest.fixture(scope="module")
def all_hosts() -> dict[str, Host]:
    """The scenario's hosts by name."""
    return {
        name: testinfra.get_host(f"ssh://{name}", ssh_config=str(LAB_FOLDER / "ssh_config"), controlpersist=60)
        for name in lab_ports()
    }
