"""Workers take their own queues' tasks, tasks survive restarts, everything comes back, and the canary sees when it does not."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

Wait = Callable[..., Any]
RUN = (
    "systemd-run --quiet --pipe --wait --collect --uid=press --property=EnvironmentFile=/etc/press/environment "
    "--property=WorkingDirectory=/srv/press/source /srv/press/venv/bin/python -c %s"
)
PASSWORD = "celery-password-of-the-test"


def press(host: Host, code: str) -> str:
    """The output of Python code that has the project's tasks at hand."""
    return host.check_output(
        RUN, f"import sys; sys.path.insert(0, ''); from press import app, page, settings, who; {code}"
    )


def main_pid(host: Host, name: str) -> str:
    return host.check_output("systemctl show --property=MainPID --value press-%s.service", name)


def properties(host: Host, name: str) -> dict[str, str]:
    """The limits that systemd keeps a process to."""
    shown = host.check_output(
        "systemctl show --property=MemoryMax,CPUQuotaPerSecUSec,TimeoutStopUSec press-%s.service", name
    )
    return dict(line.split("=", 1) for line in shown.splitlines())


def printed(host: Host, name: str) -> list[str]:
    file = host.file(f"/var/lib/press/{name}")
    return file.content_string.split() if file.exists else []


def test_each_worker_takes_only_its_own_queues(host: Host) -> None:
    code = (
        "queues = ['letters', 'cards', 'pages', 'hasty', 'threads', 'solo', 'green', 'parts'] * 5; "
        "results = [(q, who.apply_async(queue=q)) for q in queues]; "
        "print(sorted({(q, r.get(timeout=60).split('-')[0]) for q, r in results}))"
    )
    alike = ("green", "hasty", "letters", "pages", "solo", "threads")
    assert press(host, code) == str(
        sorted([("cards", "letters"), ("parts", "whole"), *((name, name) for name in alike)])
    )


def test_workers_and_beat_have_the_settings_module_that_is_nearest_to_them(host: Host) -> None:
    """Their tasks see it, whatever the project's own file says."""
    code = "print([settings.apply_async(queue=queue).get(timeout=60) for queue in ('letters', 'pages')])"
    assert press(host, code) == str(["settings.workers", "settings.pages"])
    environment = host.check_output("tr '\\0' '\\n' </proc/%s/environ", main_pid(host, "beat"))
    assert "DJANGO_SETTINGS_MODULE=settings.beat" in environment.splitlines()


@pytest.fixture(scope="module")
def running(host: Host, wait_until: Wait) -> dict[str, Any]:
    """What each worker says of itself: its statistics and queues, and whether it sends events, by its name without the host."""
    code = (
        "import json; ask = app.control.inspect(timeout=5); "
        "stats = ask.stats(); wholes = [node for node in stats if node.startswith('whole')]; "
        "events = app.control.broadcast('enable_events', destination=wholes, reply=True, timeout=10); "
        "print(json.dumps([stats, ask.active_queues(), {n: r for reply in events for n, r in reply.items()}]))"
    )

    def ask() -> dict[str, Any]:
        stats, queues, events = json.loads(press(host, code))
        return {
            node.split("@")[0]: {
                **found,
                "queues": {queue["name"] for queue in queues[node]},
                "sends_events": events.get(node) == {"ok": "task events already enabled"},
            }
            for node, found in stats.items()
        }

    return wait_until(lambda: found if len(found := ask()) == 8 else None)


def test_a_running_worker_has_all_that_it_was_given(host: Host, running: dict[str, Any]) -> None:
    """Each of its instances, as it says itself, as its unit has it, and as the kernel runs it."""
    for name in ("whole-1", "whole-2"):
        stats = running[name]
        assert stats["queues"] == {"whole", "parts"}
        expected = {
            "implementation": "celery.concurrency.prefork:TaskPool",
            "max-concurrency": 1,
            "max-tasks-per-child": 50,
            "timeouts": [70, 80.5],
        }
        assert {key: stats["pool"][key] for key in expected} == expected
        assert stats["pool"]["writes"]["strategy"] == "fair"
        assert stats["prefetch_count"] == 3
        assert stats["sends_events"]
        pid = main_pid(host, f"worker-{name}")
        assert str(stats["pid"]) == pid
        for process in (pid, *map(str, stats["pool"]["processes"])):
            assert host.check_output("ps -o ni= -p %s", process).strip() == "4"
            assert "COLOUR=sky blue" in host.check_output("tr '\\0' '\\n' </proc/%s/environ", process).splitlines()
        assert properties(host, f"worker-{name}") == {
            "MemoryMax": str(300 * 1024**2),
            "CPUQuotaPerSecUSec": "1.500000s",
            # Above its 95 seconds and those after the second signal.
            "TimeoutStopUSec": "2min 15s",
        }
        journal = host.check_output("journalctl --no-pager -o cat _PID=%s", pid)
        assert "DEBUG/MainProcess]" in journal


def test_a_running_worker_replaces_a_process_that_has_taken_too_much_memory(
    host: Host, wait_until: Callable[..., Any]
) -> None:
    code = "from press import child; print(child.apply_async(args=[{}], queue='parts').get(timeout=40))"
    large, small = (press(host, code.format(megabytes)).strip() for megabytes in (200, 1))
    wait_until(lambda: not host.file(f"/proc/{large}").exists)
    assert host.file(f"/proc/{small}").exists


@pytest.mark.parametrize(
    ("name", "implementation", "concurrency"),
    [
        ("letters", "celery.concurrency.prefork:TaskPool", 2),
        ("threads", "celery.concurrency.thread:TaskPool", 3),
        ("solo", "celery.concurrency.solo:TaskPool", 1),
        ("green", "celery.concurrency.gevent:TaskPool", 20),
    ],
)
def test_every_pool_works_with_the_shipped_defaults(
    host: Host, running: dict[str, Any], name: str, implementation: str, concurrency: int
) -> None:
    pool = running[name]["pool"]
    assert pool["implementation"] == implementation
    assert pool["max-concurrency"] == concurrency
    assert press(host, f"print(who.apply_async(queue='{name}').get(timeout=60))") == name
    assert properties(host, f"worker-{name}")["MemoryMax"] == str(512 * 1024**2)


def test_an_autoscaled_worker_has_its_bounds(running: dict[str, Any]) -> None:
    assert {key: running["hasty"]["autoscaler"][key] for key in ("max", "min")} == {"max": 2, "min": 1}


def test_a_worker_that_is_to_log_warnings_alone_says_nothing_of_a_task(host: Host) -> None:
    assert press(host, "print(who.apply_async(queue='green').get(timeout=60))") == "green"
    said = {
        name: host.check_output("journalctl --no-pager -o cat -u press-worker-%s", name) for name in ("green", "solo")
    }
    assert "Task press.who" in said["solo"]
    assert "Task press.who" not in said["green"]


def test_beat_has_all_that_it_was_given(host: Host) -> None:
    pid = main_pid(host, "beat")
    assert host.check_output("ps -o ni= -p %s", pid).strip() == "3"
    found = properties(host, "beat")
    assert (found["MemoryMax"], found["CPUQuotaPerSecUSec"]) == (str(200 * 1024**2), "400ms")
    assert "beat: Waking up" in host.check_output("journalctl --no-pager -o cat _PID=%s", pid)


def test_a_worker_of_another_host_does_not_run_here(host: Host) -> None:
    assert not host.file("/etc/systemd/system/press-worker-elsewhere.service").exists


def test_no_pidfile_is_left_anywhere(host: Host) -> None:
    assert host.check_output("find /srv/press /var/lib/press /run -xdev -name '*celery*.pid'") == ""


def test_the_broker_password_is_in_no_command_line_and_no_readable_file(host: Host) -> None:
    assert PASSWORD not in host.check_output("ps -ewwo args")
    assert PASSWORD not in host.check_output("systemctl cat 'press-*'")
    assert host.file("/etc/press/environment").mode == 0o640


def test_beat_fires_its_schedule(host: Host, wait_until: Callable[..., Any]) -> None:
    before = printed(host, "tick")
    assert wait_until(lambda: printed(host, "tick") not in (before, []))


@pytest.mark.parametrize("name", ["worker-letters", "beat"])
def test_a_killed_process_comes_back_and_works(host: Host, wait_until: Callable[..., Any], name: str) -> None:
    before = main_pid(host, name)
    host.check_output("systemctl kill --signal=KILL press-%s.service", name)
    wait_until(lambda: main_pid(host, name) not in ("0", before))
    ticks = printed(host, "tick")
    assert wait_until(lambda: printed(host, "tick") not in (ticks, []), timeout=40)


def test_a_running_task_survives_a_restart_of_its_worker(host: Host, wait_until: Callable[..., Any]) -> None:
    name = uuid.uuid4().hex
    press(host, f"page.delay('{name}', 10)")
    wait_until(lambda: printed(host, name) == ["begin"])
    host.check_output("systemctl restart press-worker-pages.service")
    assert printed(host, name) == ["begin", "end"]


def test_a_task_that_takes_longer_than_the_stop_is_given_back(host: Host, wait_until: Callable[..., Any]) -> None:
    name = uuid.uuid4().hex
    press(host, f"page.apply_async(args=['{name}', 20], queue='hasty')")
    wait_until(lambda: printed(host, name) == ["begin"])
    host.check_output("systemctl restart press-worker-hasty.service")
    assert printed(host, name) in (["begin"], ["begin", "begin"])
    assert wait_until(lambda: printed(host, name) == ["begin", "begin", "end"], timeout=90)


def test_the_canary_names_what_is_wrong(host: Host, host_name: str, converge_again: Callable[..., Any]) -> None:
    """A worker that is stopped, and a second Beat, which the watch would end."""
    host.check_output("systemctl stop press-watch.service")
    host.check_output("systemctl stop press-worker-pages.service")
    host.check_output(
        "systemd-run --quiet --collect --unit=press-second-beat --uid=press --property=EnvironmentFile=/etc/press/environment "
        "--property=WorkingDirectory=/srv/press/source /srv/press/venv/bin/python -m celery -A press beat --pidfile= "
        "--schedule /tmp/second-schedule --enable-remote-control --hostname celerybeat@second"
    )
    try:
        full = converge_again(limit=host_name, playbook="canary.yml")
        fewer = {"celery_workers": [{"name": "letters", "queues": ["letters", "cards"]}], "celery_verify_timeout": 5}
        short = converge_again("-e", json.dumps(fewer), limit=host_name, playbook="canary.yml")
    finally:
        host.check_output("systemctl stop press-second-beat.service")
        host.check_output("systemctl start press-worker-pages.service press-watch.service")
    assert full.returncode != 0
    assert "press-worker-pages.service) is inactive, so nothing here consumes pages" in full.stdout
    assert "2 Beats run" in full.stdout
    assert short.returncode != 0
    assert "No worker consumes the queue pages (the task press.page goes there)" in short.stdout
    assert "Add it to a worker's `queues` in celery_workers" in short.stdout
    assert PASSWORD not in full.stdout + short.stdout


def test_a_frozen_worker_is_named_and_the_advice_heals_it(
    host: Host, host_name: str, converge_again: Callable[..., Any]
) -> None:
    """A restart could wait as long as its tasks may take; what is advised is over at once. The watch could be first."""
    host.check_output("systemctl stop press-watch.service")
    host.check_output("systemctl kill --signal=STOP press-worker-letters.service")
    try:
        run = converge_again("-e", '{"celery_verify_timeout": 5}', limit=host_name, playbook="canary.yml")
        assert run.returncode != 0
        said = re.search(r"The worker letters .* does not answer .* mend with: (systemctl kill [^(]+) \(", run.stdout)
        assert said, run.stdout
        host.check_output(said[1])
    finally:
        host.check_output("systemctl kill --signal=CONT press-worker-letters.service")
        host.check_output("systemctl start press-watch.service")
    assert press(host, "print(who.apply_async(queue='letters').get(timeout=40))") == "letters"


def test_the_canary_waits_for_no_solo_worker_that_is_at_work(
    host: Host, host_name: str, converge_again: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    """Its pool answers nothing while a task runs: that is noted, and is no failure."""
    name = uuid.uuid4().hex
    press(host, f"page.apply_async(args=['{name}', 60], queue='solo')")
    wait_until(lambda: printed(host, name) == ["begin"])
    try:
        run = converge_again("-v", "-e", '{"celery_verify_timeout": 5}', limit=host_name, playbook="canary.yml")
        assert printed(host, name) == ["begin"]
    finally:
        host.check_output("systemctl kill --signal=KILL press-worker-solo.service")
    assert run.returncode == 0, run.stdout
    assert "as is usual in the pool solo while a task runs" in run.stdout


def test_the_canary_is_content_again(host_name: str, host: Host, converge_again: Callable[..., Any]) -> None:
    run = converge_again(limit=host_name, playbook="canary.yml")
    assert run.returncode == 0, run.stdout


def test_redis_refused_nothing_that_celery_sent(host: Host) -> None:
    log = host.check_output("REDISCLI_AUTH='admin password of the test' redis-cli --user admin acl log")
    assert log == ""


def test_keys_with_another_prefix_are_named_with_the_variable(
    host: Any, host_name: str, converge_again: Callable[..., Any]
) -> None:
    before = host.file("/etc/press/environment").content_string
    host.run_expect([0], "sed -i 's/^KEY_PREFIX=.*/KEY_PREFIX=\"other:\"/' /etc/press/environment")
    try:
        run = converge_again("-e", json.dumps({"celery_verify_timeout": 5}), limit=host_name, playbook="canary.yml")
    finally:
        host.run_expect([0], "printf %%s %s > /etc/press/environment", before)
    assert run.returncode != 0
    assert "make that what the project uses" in " ".join(run.stdout.split())
