"""Daemons run as defined, come back, stop gracefully, and nothing restarts without a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

# Asks the web process, restarts it after the first answer, and asks on until another process answers. A request that is refused ends it.
ASK = """
import socket, subprocess, time
answers = []
deadline = time.monotonic() + 20
while len(set(answers)) < 2 and time.monotonic() < deadline:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect("/run/shop/web.sock")
        client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        answers.append(client.makefile().read().split()[-1])
    if len(answers) == 1:
        subprocess.run(["systemctl", "restart", "--no-block", "shop-web.service"], check=True)
print(answers[0], answers[-1])
"""
NAMES = ("early", "middle", "working", "deaf", "stubborn", "patient", "endless", "web", "secluded")


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
    # Its own win over those in the file.
    assert seen(host)["environment"] == {"GREETING": "it's $HOME, 5%", "VALUE": "first"}


def test_a_processs_own_variables_are_for_root_alone(host: Any) -> None:
    file = host.file("/etc/shop/processes/early.environment")
    assert (file.user, file.mode) == ("root", 0o600)
    assert "GREETING" not in host.check_output("systemctl show shop-early.service")


def test_a_process_writes_only_where_it_may(host: Any) -> None:
    writes = seen(host)["writes"]
    assert {path for path, outcome in writes.items() if outcome == "written"} == {
        "/srv/uploads/x",
        "/var/lib/shop/x",
        "/tmp/shop",
    }
    assert seen(host)["root_home"] != "written"
    assert not host.file("/tmp/shop").exists


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


def test_its_share_of_the_cpus_is_the_running_processs(host: Any) -> None:
    pid = pids(host)["patient"]
    assert host.check_output("ps -o ni= -p %s", pid).strip() == "7"
    assert show(host, "shop-patient.service", "CPUQuotaPerSecUSec")["CPUQuotaPerSecUSec"] == "1.500000s"


def test_further_settings_of_a_definition_are_the_units(host: Any) -> None:
    assert show(host, "shop-middle.service", "Documentation", "Nice", "UMask", "LimitNOFILE") == {
        "Documentation": "https://example.com/middle",
        "Nice": "5",
        "UMask": "0077",
        "LimitNOFILE": "65536",
    }
    assert show(host, "shop-web.socket", "Backlog") == {"Backlog": "77"}


def test_a_killed_process_comes_back(host: Any, wait_until: Callable[..., Any]) -> None:
    before = pids(host)["middle"]
    host.check_output("systemctl kill --signal=KILL shop-middle.service")
    assert wait_until(lambda: pids(host)["middle"] not in ("0", before))


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


@pytest.mark.long
def test_a_reboot_waits_less_long_than_a_stop(
    host: Any, host_name: str, lab_restart: Callable[[str], None], wait_until: Callable[..., Any]
) -> None:
    """One is being stopped already. A container that does not go down is switched off after a minute, before which each had its signals."""
    before = pids(host)
    host.check_output("systemctl stop --no-block shop-patient.service")
    lab_restart(host_name)
    wait_until(lambda: "0" not in pids(host).values(), timeout=60)
    assert pids(host) != before
    assert host.file("/var/lib/shop-patient/quit").content_string == "given back"
    assert host.file("/var/lib/shop-endless/stopped").exists


def test_connections_wait_while_the_web_process_restarts(host: Any) -> None:
    first, last = host.check_output("python3 -c %s", ASK).split()
    assert first != last


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
    assert not host.file("/etc/shop/processes/deaf.environment").exists
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


@pytest.fixture(scope="module")
def completed(host: Any, host_name: str, runs: dict[str, Any], converge_again: Callable[..., Any]) -> dict[str, Any]:
    """After a run that found one unit written but not loaded, as a run leaves it that is cut off there, and one changed by hand."""
    host.check_output("touch /etc/systemd/system/shop-middle.service")
    host.check_output("sed -i s/^Nice=.*// /etc/systemd/system/shop-middle.service")
    host.check_output("touch /etc/systemd/system/shop-secluded.service")
    before = pids(host)
    values = json.dumps({"value": "second", "dropped": ["deaf"]})
    foretold = converge_again("--check", "--diff", "-e", values, limit=host_name, playbook="processes.yml")
    assert pids(host) == before
    return {
        "foretold": foretold,
        "run": converge_again("-e", values, limit=host_name, playbook="processes.yml"),
        "restarted": {name for name, pid in pids(host).items() if pid != before[name]},
    }


@pytest.mark.long
def test_a_run_that_was_cut_off_is_completed_by_the_next(host: Any, completed: dict[str, Any]) -> None:
    assert completed["run"].returncode == 0, completed["run"].stdout
    assert completed["restarted"] == {"middle", "secluded"}
    assert show(host, "shop-middle.service", "Nice", "NeedDaemonReload") == {"Nice": "5", "NeedDaemonReload": "no"}


@pytest.mark.long
def test_check_mode_foretells_what_the_next_run_does(completed: dict[str, Any]) -> None:
    output = completed["foretold"].stdout
    assert completed["foretold"].returncode == 0, output
    assert output.count("+Nice=5") == 1
    assert output.count("+to be restarted") == 2


@pytest.fixture(scope="module")
def careful(host: Any, host_name: str, converge_again: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Runs the daemon that reloads: `careful(value="x")`; returns the run, what the daemon has loaded and its pid."""

    def run(*arguments: str, **values: str) -> dict[str, Any]:
        done = converge_again(*arguments, "--diff", "-e", json.dumps(values), limit=host_name, playbook="careful.yml")
        return {
            "code": done.returncode,
            "output": done.stdout,
            "changed": "changed=0" not in done.stdout,
            "loaded": host.file("/var/lib/careful/loaded").content_string if arguments == () else "",
            "pid": show(host, "careful.service", "MainPID")["MainPID"],
        }

    return run


def test_a_file_that_is_reloaded_reaches_the_same_process(host: Any, careful: Callable[..., dict[str, Any]]) -> None:
    first = careful(value="first")
    assert (first["code"], first["loaded"]) == (0, "first\n"), first["output"]
    second = careful(value="second!")
    assert (second["loaded"], second["pid"]) == ("second!\n", first["pid"])
    assert show(host, "careful.service", "RestartUSec", "NeedDaemonReload") == {
        "RestartUSec": "9s",
        "NeedDaemonReload": "no",
    }
    assert not careful(value="second!")["changed"]


def test_a_file_that_somebody_wrote_is_loaded_by_the_next_run(
    host: Any, careful: Callable[..., dict[str, Any]]
) -> None:
    before = careful(value="first")
    host.check_output("rm /var/lib/careful/loaded && touch /etc/careful.conf && systemctl daemon-reload")
    assert careful(value="first")["loaded"] == "first\n"
    host.check_output("rm /var/lib/careful/loaded && touch /etc/systemd/system/careful.service")
    after = careful(value="first")
    assert after["loaded"] == "first\n"
    assert after["pid"] != before["pid"]
    assert not careful(value="first")["changed"]


def test_a_file_that_is_refused_changes_nothing(host: Any, careful: Callable[..., dict[str, Any]]) -> None:
    careful(value="first")
    refused = careful(value="wrong")
    assert refused["code"] != 0
    assert "/etc/careful.conf is left as it was" in refused["output"]
    assert refused["loaded"] == "first\n"
    assert not careful(value="first")["changed"]


def test_a_secret_is_in_no_output_and_not_in_the_journal(host: Any, careful: Callable[..., dict[str, Any]]) -> None:
    shown = careful("-vvv", value="first", secret="hunter2")
    assert shown["code"] == 0, shown["output"]
    assert "/etc/careful.secret: other content, which is secret" in shown["output"]
    # The arguments of ansible-playbook itself are the test's.
    assert "password hunter2" not in shown["output"]
    assert "password hunter2" not in host.check_output("journalctl --no-pager --boot")
    assert host.file("/etc/careful.secret").content_string == "password hunter2\n"
