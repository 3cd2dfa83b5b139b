"""Programs under supervisor run as defined, come back, stop gracefully, and go over to systemd and back without ever running twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

PROGRAMS = ("early", "clerk", "working", "deaf", "stubborn", "patient", "talker")
# What an operator may write by hand, which systemd and run-process have to read alike.
BY_HAND = r'''
# a comment \
AFTER=a comment that goes on in systemd 252 alone
A=1
A=two \
words
  B =  blanks around it
C='single $x \n' "double \$ \x \"" bare
D="unclosed in one line
and closed in the next"
E=a\ \
export F=1
G=tail # no comment
1H=1
I=ä €
J=
; K=1
L="ends \
here"'''
COMPARE = """
import os, subprocess, sys
def read(*command):
    given = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\\0")
    return {line for line in given if line and line.split("=")[0] in [*"ABCDEFGHIJKL", "AFTER", "F", "1H"]}
by_systemd = read("systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=mill", "--property=EnvironmentFile=/root/by-hand",
                  "/usr/bin/env", "-0")
by_program = read("/usr/local/lib/stockpot/run-process", "--name=trial", "--user=mill", "--group=mill", "--stop=60 TERM 90",
                  "--no-scope", "--environment-file=/root/by-hand", "--", "/usr/bin/env", "-0")
print(sorted(by_systemd ^ by_program), len(by_systemd))
"""


def status(host: Any) -> dict[str, list[str]]:
    """The words of each line of `supervisorctl status`, by program."""
    return {line.split()[0]: line.split()[1:] for line in host.run("supervisorctl status").stdout.splitlines()}


def pids(host: Any) -> dict[str, str]:
    """The main process of each program that runs."""
    return {
        name.removeprefix("mill-"): words[2].rstrip(",")
        for name, words in status(host).items()
        if words[0] == "RUNNING" and name.startswith("mill-")
    }


def all_run(host: Any, *names: str) -> bool:
    found = status(host)
    return {found[name][0] for name in (*(f"mill-{name}" for name in names or PROGRAMS), "stockpot-stop")} == {
        "RUNNING"
    }


def processes(host: Any) -> list[str]:
    """How each process of the daemons' user was started."""
    return sorted(host.check_output("ps -u mill -o args= | grep -F /usr/local/lib/daemon.py").splitlines())


def ledger(host: Any) -> list[list[str]]:
    return [line.split() for line in host.file("/var/lib/mill-clerk/ledger").content_string.splitlines()]


def assert_one_after_the_other(entries: list[list[str]]) -> None:
    """Each process ended, by itself, before the next one began."""
    assert [what for what, _ in entries] == ["begin", "end"] * (len(entries) // 2) + ["begin"] * (len(entries) % 2)
    assert all(begun[1] == ended[1] for begun, ended in zip(entries[::2], entries[1::2], strict=False))


def status_lines(host: Any, pid: str) -> dict[str, str]:
    lines = host.check_output("cat /proc/%s/status", pid).splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def end_the_patient_one(host: Any) -> None:
    """A stop of it would take ten minutes."""
    host.check_output(
        "supervisorctl stop mill-patient & until supervisorctl status mill-patient | grep STOPPING; do :; done; kill -s QUIT %s; wait",
        pids(host)["patient"],
    )


def seen(host: Any) -> dict[str, Any]:
    return json.loads(host.file("/var/lib/mill/seen.json").content_string)


@pytest.fixture(scope="module", autouse=True)
def started(host: Any, wait_until: Callable[..., Any]) -> None:
    """The server may have just been switched on again, by the tests before."""
    wait_until(lambda: all_run(host), timeout=90)


def test_arguments_and_variables_arrive_as_they_were_written(host: Any) -> None:
    assert seen(host)["arguments"] == ["a b", "100%", "$HOME", '"', "c ; d #e"]
    assert seen(host)["environment"] == {"GREETING": "it's $HOME, 5%", "VALUE": "first"}


def test_an_environment_file_written_by_hand_is_read_as_systemd_reads_it(host: Any) -> None:
    host.check_output("printf %%s %s > /root/by-hand", BY_HAND)
    different, count = host.check_output("python3 -c %s", COMPARE).rsplit(maxsplit=1)
    # Comments that end with a backslash are the one thing in which the two versions of systemd differ.
    assert different.replace("'AFTER=a comment that goes on in systemd 252 alone'", "") == "[]"
    assert int(count) >= 9


def test_no_variable_is_in_supervisors_configuration_or_in_what_it_tells(host: Any) -> None:
    told = host.check_output("cat /etc/supervisor/conf.d/*; supervisorctl status; supervisorctl avail; ps -ewwo args")
    assert "it's $HOME, 5%" not in told
    own = host.file("/etc/mill/processes/early.environment")
    assert (own.user, own.mode) == ("root", 0o600)


def test_a_program_is_its_user_and_gains_no_privileges(host: Any) -> None:
    found = status_lines(host, pids(host)["early"])
    assert (found["NoNewPrivs"], found["CapBnd"], found["CapPrm"], found["Umask"]) == ("1", "0" * 16, "0" * 16, "0027")
    user, group = (host.check_output("id -%s mill", kind) for kind in "ug")
    assert (set(found["Uid"].split()), set(found["Gid"].split())) == ({user}, {group})
    assert not host.run("runuser -u mill -- supervisorctl status").succeeded


def test_the_limits_are_those_of_its_scope(host: Any) -> None:
    shown = host.check_output("systemctl show --property=MemoryMax,CPUQuotaPerSecUSec,ActiveState mill-early.scope")
    assert set(shown.splitlines()) == {
        f"MemoryMax={64 * 1024 * 1024}",
        "CPUQuotaPerSecUSec=1.500000s",
        "ActiveState=active",
    }
    pid = pids(host)["early"]
    assert "/mill-early.scope" in host.check_output("cat /proc/%s/cgroup", pid)
    assert host.check_output("ps -o ni= -p %s", pid).strip() == "7"


def test_logs_are_rotated_and_closed_to_others(host: Any) -> None:
    """Where supervisor itself keeps them, as root."""
    folder = host.file("/var/log/mill")
    assert (folder.user, folder.group, folder.mode) == ("root", "adm", 0o2750)
    assert host.file("/var/log/mill/talker.log.1").size > 0
    assert host.check_output("supervisorctl tail mill-talker").splitlines()[-1] == "all said"
    assert host.run("runuser -u nobody -- cat /var/log/mill/talker.log").rc != 0


def test_the_web_process_is_systemds(host: Any) -> None:
    assert host.service("mill-web.service").is_running
    assert "mill-web" not in status(host)


def test_a_killed_program_comes_back(host: Any, wait_until: Callable[..., Any]) -> None:
    before = pids(host)["early"]
    host.check_output("supervisorctl signal KILL mill-early")
    assert wait_until(lambda: pids(host)["early"] != before and all_run(host), timeout=60)


def test_a_stop_lets_work_end_and_its_children_live_until_then(host: Any, wait_until: Callable[..., Any]) -> None:
    host.check_output("supervisorctl stop mill-working")
    assert host.file("/var/lib/mill-working/finished").content_string == "child alive"
    host.check_output("supervisorctl start mill-working")


def test_what_does_not_end_in_time_gets_the_quit_signal_or_is_killed(host: Any) -> None:
    before = pids(host)
    host.check_output("supervisorctl stop mill-deaf mill-stubborn")
    assert host.file("/var/lib/mill-deaf/quit").content_string == "given back"
    assert not host.file(f"/proc/{before['stubborn']}").exists
    assert host.check_output("ls /run/stockpot/stopping") == ""
    host.check_output("supervisorctl start mill-deaf mill-stubborn")


def test_of_a_killed_supervisor_no_process_is_left_beside_those_of_the_next(
    host: Any, wait_until: Callable[..., Any]
) -> None:
    """Each ends as it does when it is stopped; only then the next one of its name begins."""
    wait_until(lambda: all_run(host), timeout=60)
    before, began, running = pids(host), ledger(host), processes(host)
    host.check_output("rm -f /var/lib/mill-deaf/quit")
    # Not waiting ten minutes for this one.
    host.check_output("systemctl kill --signal=KILL --kill-who=main supervisor && kill -s QUIT %s", before["patient"])
    wait_until(lambda: all_run(host) and processes(host) == running, timeout=120)
    after = pids(host)
    assert not {name for name in PROGRAMS if before[name] == after[name]}
    assert_one_after_the_other(ledger(host))
    assert len(ledger(host)) == len(began) + 2
    assert host.file("/var/lib/mill-deaf/quit").content_string == "given back"
    assert "finishing" in host.file("/var/log/mill/clerk.log").content_string


def test_supervisor_itself_stops_all_gracefully_and_side_by_side(host: Any, wait_until: Callable[..., Any]) -> None:
    began = ledger(host)
    host.check_output("rm -f /var/lib/mill-deaf/quit /var/lib/mill-working/finished")
    end_the_patient_one(host)
    host.check_output("systemctl restart supervisor")
    wait_until(lambda: all_run(host), timeout=60)
    assert_one_after_the_other(ledger(host))
    assert len(ledger(host)) == len(began) + 2
    assert host.file("/var/lib/mill-working/finished").content_string == "child alive"
    assert host.file("/var/lib/mill-deaf/quit").exists


@pytest.mark.long
def test_a_reboot_waits_less_long_than_a_stop(
    host: Any, host_name: str, lab_restart: Callable[[str], None], wait_until: Callable[..., Any]
) -> None:
    """A container that does not go down is switched off after a minute."""
    wait_until(lambda: all_run(host), timeout=60)
    began = ledger(host)
    host.check_output("rm -f /var/lib/mill-patient/quit")
    lab_restart(host_name)
    wait_until(lambda: all_run(host), timeout=90)
    assert host.file("/var/lib/mill-patient/quit").content_string == "given back"
    assert_one_after_the_other(ledger(host))
    assert len(ledger(host)) == len(began) + 2


@pytest.fixture(scope="module")
def run(host_name: str, converge_again: Callable[..., Any]) -> Callable[..., Any]:
    """Runs the playbook of the programs: `run(value="x")`."""

    def again(*arguments: str, **values: Any) -> Any:
        return converge_again(*arguments, "-e", json.dumps(values), limit=host_name, playbook="programs.yml")

    return again


@pytest.fixture(scope="module")
def runs(host: Any, run: Callable[..., Any], wait_until: Callable[..., Any]) -> dict[str, Any]:
    """After a run with another value in one environment file, without one of the programs and with one that dies at once, and after
    one that is the same but for the last."""
    wait_until(lambda: all_run(host), timeout=60)
    before = pids(host)
    end_the_patient_one(host)
    values = {"value": "second", "dropped": ["deaf", "patient"]}
    dying = {
        "name": "dying",
        "phase": "scheduler",
        "command": ["/bin/sh", "-c", "echo the dog ate my settings >&2; exit 3"],
        "user": "mill",
        "directory": "/var/lib",
    }
    failed = run(**values, extra=[dying])
    between = pids(host)
    mended = run(**values)
    return {"before": before, "failed": failed, "between": between, "mended": mended, "after": pids(host)}


def test_a_changed_environment_file_restarts_its_program_and_no_other(host: Any, runs: dict[str, Any]) -> None:
    changed = {name for name in PROGRAMS if runs["before"][name] != runs["between"].get(name)}
    assert changed == {"early", "deaf", "patient"}
    assert seen(host)["environment"]["VALUE"] == "second"


def test_what_is_no_longer_defined_is_stopped_and_removed(host: Any, runs: dict[str, Any]) -> None:
    assert "mill-deaf" not in status(host)
    left = "/etc/supervisor/conf.d/mill-deaf.conf", "/etc/mill/processes/deaf.environment"
    assert [path for path in left if host.file(path).exists] == []
    assert not host.service("mill-deaf.scope").is_running


def test_a_program_that_dies_at_once_fails_the_run_with_its_log(runs: dict[str, Any]) -> None:
    assert runs["failed"].returncode != 0
    output = runs["failed"].stdout
    assert "mill-dying ended right after it was started" in output
    assert "the dog ate my settings" in output


def test_the_next_run_mends_it_and_restarts_nothing_else(host: Any, runs: dict[str, Any]) -> None:
    assert runs["mended"].returncode == 0, runs["mended"].stdout
    assert runs["after"] == runs["between"]
    assert not host.file("/etc/supervisor/conf.d/mill-dying.conf").exists


@pytest.fixture(scope="module")
def switched(host: Any, run: Callable[..., Any], runs: dict[str, Any]) -> dict[str, Any]:
    """After a run with the other process manager, and one with the first again."""
    values = {"dropped": ["patient"]}
    there = run(**values, backend="systemd")
    under_systemd = {
        "files": host.check_output("ls /etc/supervisor/conf.d /etc/systemd/system /etc/tmpfiles.d"),
        "drop_ins": host.run("ls /etc/systemd/system/supervisor.service.d").stdout,
        "units": host.check_output("systemctl is-active mill-early mill-clerk mill-web").split(),
        "scopes": host.check_output("systemctl list-units --plain --no-legend 'mill-*.scope'"),
        "programs": status(host),
        "own": host.file("/etc/mill/processes/early.environment").exists,
        "processes": processes(host),
    }
    back = run(**values)
    return {"there": there, "under_systemd": under_systemd, "back": back}


@pytest.mark.long
def test_one_variable_and_one_run_take_all_over_to_systemd_and_nothing_is_left(switched: dict[str, Any]) -> None:
    assert switched["there"].returncode == 0, switched["there"].stdout
    found = switched["under_systemd"]
    assert found["units"] == ["active"] * 3
    assert (found["scopes"], found["drop_ins"], found["programs"], found["own"]) == ("", "", {}, True)
    assert not {line for line in found["files"].split() if line.endswith(".conf") and "mill" in line}
    assert "stockpot-stop.conf" not in found["files"].split()


@pytest.mark.long
def test_the_way_back_is_the_same_variable(host: Any, switched: dict[str, Any], wait_until: Callable[..., Any]) -> None:
    assert switched["back"].returncode == 0, switched["back"].stdout
    wait_until(lambda: all_run(host, *set(PROGRAMS) - {"patient"}), timeout=60)
    assert host.check_output("ls /etc/systemd/system").count("mill-") == 2  # the web server's
    assert processes(host) == switched["under_systemd"]["processes"]


@pytest.mark.long
def test_no_process_ever_ran_beside_another_of_its_name(host: Any, switched: dict[str, Any]) -> None:
    assert_one_after_the_other(ledger(host))


@pytest.mark.long
def test_without_an_application_nothing_of_supervisors_configuration_is_left(
    host: Any, host_name: str, switched: dict[str, Any], converge_again: Callable[..., Any]
) -> None:
    gone = converge_again("-e", json.dumps({"application": "mill"}), limit=host_name, playbook="absent.yml")
    assert gone.returncode == 0, gone.stdout
    assert host.run("ls /etc/supervisor/conf.d /etc/systemd/system/supervisor.service.d").stdout.split() == [
        "/etc/supervisor/conf.d:",
        "/etc/systemd/system/supervisor.service.d:",
    ]
    assert host.run("pgrep -u mill").stdout == ""
    assert host.service("supervisor").is_running
