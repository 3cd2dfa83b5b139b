"""The watch, with real workers: what is deaf is ended and consumes again, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watched import Host, Redis, Relay, Sentinel, free_port, until, virtualenv

MAIL = {"name": "mail", "queues": ["mail", "sms"], "concurrency": 1}
Start = Callable[..., Host]


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return virtualenv(tmp_path_factory.mktemp("celery") / "venv", "celery[redis]==5.7.0")


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return virtualenv(tmp_path_factory.mktemp("older") / "venv", "celery[redis]==5.6.3")


@pytest.fixture
def host(tmp_path: Path, venv: Path) -> Iterator[Start]:
    """Makes a host with one worker, or others; all of it ends with the test."""
    made: list[Host] = []

    def make(*workers: dict[str, Any], **keys: Any) -> Host:
        made.append(Host(tmp_path, keys.pop("venv", venv), list(workers or (MAIL,)), **keys))
        return made[0]

    yield make
    for one in made:
        one.stop()


def replaced(host: Host, pid: int, name: str = "worker-mail") -> int:
    """Waits until another process stands in the place of this one."""
    return until(lambda: host.pid(name) != pid and host.pid(name), host.logs)


def test_a_frozen_worker_is_killed_and_consumes_again(host: Start) -> None:
    here = host()
    here.start()
    pid = here.pid("worker-mail")
    os.kill(pid, signal.SIGSTOP)
    replaced(here, pid)
    here.consumes()
    here.says(
        "The worker mail (parcels-worker-mail.service) is deaf", "stopped by a signal", f"process {pid} is killed"
    )
    assert 'celery_watch_ended_total{application="parcels",worker="mail",reason="stopped"} 1' in here.metrics()


@pytest.mark.parametrize("pool", ["threads", pytest.param("solo", marks=pytest.mark.long)])
def test_a_frozen_worker_of_another_pool_too(host: Start, pool: str) -> None:
    """However long its tasks may silence it."""
    here = host({"name": "mail", "queues": ["mail"], "pool": pool})
    here.start()
    pid = here.pid("worker-mail")
    os.kill(pid, signal.SIGSTOP)
    replaced(here, pid)
    here.consumes()


def test_a_worker_that_no_longer_consumes_a_queue_is_told_to_and_goes_on(host: Start) -> None:
    here = host()
    here.start()
    pid = here.pid("worker-mail")
    here.control("cancel_consumer", queue="sms")
    here.consumes("sms")
    assert here.pid("worker-mail") == pid
    here.says("did not consume sms, which is its own: told it to")
    here.looks(1)
    assert 'celery_watch_consumers_added_total{application="parcels",worker="mail",queue="sms"} 1' in here.metrics()


def test_a_worker_whose_connections_were_cut_consumes_again(host: Start) -> None:
    """With the option that makes it wait for a connection without a subscription."""
    here = host(settings={"broker_transport_options": {"retry_on_timeout": True}})
    here.start()
    pid = here.pid("worker-mail")
    for _ in range(5):
        here.redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
    replaced(here, pid)
    here.consumes()
    here.says("The worker mail", "is deaf: it does not answer, though the broker serves")


def test_connections_that_are_cut_do_no_harm_without_that_option(host: Start) -> None:
    here = host()
    here.start()
    pid = here.pid("worker-mail")
    for _ in range(5):
        here.redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
        here.redis.cli("CLIENT", "KILL", "TYPE", "normal")
        here.looks(1)
        here.consumes()
    assert here.pid("worker-mail") == pid


def test_a_worker_whose_way_to_the_broker_swallows_everything_consumes_again(host: Start) -> None:
    """As when its packets are dropped; the watch has another connection."""
    with Relay() as relay:
        here = host(broker=relay.address)
        relay.port = here.redis.port
        here.start()
        pid = here.pid("worker-mail")
        relay.swallow()
        replaced(here, pid)
        here.consumes()
    here.says("The worker mail", "is deaf: it does not answer, though the broker serves")


@pytest.mark.long
def test_workers_have_time_to_find_another_primary_that_the_watch_has_found(host: Start, tmp_path: Path) -> None:
    """As long as for a broker that was away; one that does not is deaf after all."""
    port = free_port()
    with Relay() as relay:
        options = {"broker_transport_options": {"master_name": "primary"}}
        here = host(broker=relay.address, settings=options, environment={"BROKER": f"sentinel://127.0.0.1:{port}/1"})
        relay.port = here.redis.port
        other = Redis(tmp_path / "other")
        with Sentinel(tmp_path / "sentinel", port, here.redis, other) as sentinel:
            here.start(interval=5, reconnect=25)
            pid = here.pid("worker-mail")
            begun = time.monotonic()
            until(lambda: time.monotonic() > begun + 26, here.logs)  # when it is up, the watch waits as long
            here.looks(1)
            # All of it happens before the next look, which finds a broker that serves.
            here.redis.process.send_signal(signal.SIGSTOP)
            until(sentinel.names_the_second, here.logs)
            here.looks(3)
            assert here.pid("worker-mail") == pid, here.logs()
            relay.port = other.port
            replaced(here, pid)
            here.consumes()
        other.stop()
    here.says("The worker mail", "is deaf: it does not answer, though the broker serves")


@pytest.mark.parametrize("rate", ["", "20/s"])
@pytest.mark.long
def test_a_worker_that_says_it_consumes_but_takes_nothing_consumes_again(host: Start, rate: str) -> None:
    """A task with a rate limit is no excuse, but for as long as it may hold messages back."""
    here = host(environment={"RATE": rate} if rate else {})
    here.start()
    pid = here.pid("worker-mail")
    here.control("stand_still")
    here.looks(12)
    assert here.pid("worker-mail") == pid, "nothing waited for it"
    here.consumes()
    assert here.pid("worker-mail") != pid
    here.says("The worker mail", "it has room and consumes mail, sms, where messages wait, but takes none")


def test_a_broker_that_is_away_is_nobodys_fault(host: Start) -> None:
    """However long, and while workers come back to it, which they try after 2, 4, 6 … s."""
    here = host()
    here.start(reconnect=10)
    pid = here.pid("worker-mail")
    here.redis.stop()
    here.says("The broker does not serve")
    here.looks(10)
    here.redis.start()
    here.consumes()
    here.says("The broker serves again")
    here.looks(10)
    assert here.pid("worker-mail") == pid


def test_a_broker_that_refuses_writes_is_nobodys_fault_and_what_it_leaves_consumes_again(host: Start) -> None:
    """Its disk is full: it answers, but takes nothing. What workers make of that is not the same each time."""
    here = host()
    here.start()
    here.redis.cli("CONFIG", "SET", "save", "3600 1")
    here.redis.cli("CONFIG", "SET", "dbfilename", "gone.rdb")
    (here.redis.folder / "temp").mkdir()
    here.redis.cli("CONFIG", "SET", "dir", str(here.redis.folder / "temp"))
    (here.redis.folder / "temp").rmdir()
    here.redis.cli("SET", "changed", "1")
    here.redis.cli("BGSAVE")
    until(lambda: "MISCONF" in here.redis.cli("SET", "a", "1").stdout, here.logs)
    here.says("The broker does not serve", "MISCONF")
    here.looks(10)
    assert " is deaf" not in (here.folder / "watch.log").read_text()
    here.redis.cli("CONFIG", "SET", "dir", str(here.redis.folder))
    here.redis.cli("BGSAVE")
    until(lambda: here.redis.cli("SET", "a", "1").stdout.strip() == "OK", here.logs)
    here.consumes()


@pytest.mark.long
def test_healthy_workers_at_work_are_never_touched(host: Start) -> None:
    """Busy, with a place free or none, holding tasks for later, and with more messages in the queue than they may take."""
    here = host(
        {"name": "mail", "queues": ["mail"], "concurrency": 2},
        {"name": "full", "queues": ["full"], "concurrency": 1},
        {"name": "greedy", "queues": ["greedy"], "concurrency": 1, "prefetch_multiplier": 0},
        {"name": "threads", "queues": ["threads"], "concurrency": 1, "pool": "threads"},
        {"name": "solo", "queues": ["solo"], "pool": "solo"},
    )
    here.start()
    names = [f"worker-{name}" for name in ("mail", "full", "greedy", "threads", "solo")]
    pids = [here.pid(name) for name in names]
    here.send("hold", "held-mail", 3600)
    here.send("note", "later", queue="mail", countdown=3600)
    for queue in ("full", "greedy", "threads", "solo"):
        here.send("hold", f"held-{queue}", 3600, queue=queue)
        for _ in range(3):
            here.send("note", "waiting", queue=queue)
    for queue in ("mail", "full", "greedy", "threads", "solo"):
        until(lambda queue=queue: here.has(f"held-{queue}"), here.logs)
    # Half a second each, and more where somebody does not answer; patience is four seconds.
    here.looks(int(os.environ.get("LOOKS", "20")))
    assert [here.pid(name) for name in names] == pids
    assert not here.has("waiting")
    here.consumes("mail")


@pytest.mark.long
def test_a_solo_worker_with_one_task_after_another_is_not_touched(host: Start) -> None:
    """It hardly ever answers, for longer than any stop takes."""
    here = host({"name": "mail", "queues": ["mail"], "pool": "solo", "stop_timeout": 4})
    here.start()
    here.consumes()
    here.looks(3)
    pid = here.pid("worker-mail")
    for name in ("one", "other"):
        here.send("again", name, 3)
    until(lambda: here.has("other"), here.logs)
    here.looks(15)
    assert here.pid("worker-mail") == pid


def test_a_worker_that_waits_for_a_rate_limit_is_not_touched(host: Start) -> None:
    """Nobody sees what it holds meanwhile."""
    here = host(environment={"RATE": "1/h"})
    here.start()
    pid = here.pid("worker-mail")
    for number in range(4):
        here.send("hold", f"held-{number}", 0)
    until(lambda: here.has("held-0"), here.logs)
    here.looks(20)
    assert here.pid("worker-mail") == pid
    assert not here.has("held-3")


@pytest.mark.long
def test_a_worker_that_is_being_stopped_is_left_alone_until_its_mark_expires(host: Start) -> None:
    here = host()
    here.start()
    pid = here.pid("worker-mail")
    mark = here.folder / "marks/parcels-worker-mail"
    mark.write_text("99999999999\n")
    os.kill(pid, signal.SIGSTOP)
    here.looks(20)
    assert here.pid("worker-mail") == pid
    mark.write_text("1000000000\n")
    replaced(here, pid)


@pytest.mark.long
def test_a_worker_that_is_deaf_again_and_again_is_given_more_time_each_time(host: Start) -> None:
    here = host()
    here.start()
    for seconds in (8, 16):
        pid = here.pid("worker-mail")
        os.kill(pid, signal.SIGSTOP)
        replaced(here, pid)
        here.says(f"process {pid} is killed", f"it has {seconds} s")


@pytest.mark.long
def test_workers_that_were_told_to_answer_nobody_are_not_touched(host: Start) -> None:
    here = host(settings={"worker_enable_remote_control": False})
    here.start(start_patience=5)
    pid = here.pid("worker-mail")
    here.says("Nobody has answered yet")
    here.looks(10)
    assert here.pid("worker-mail") == pid
    here.consumes()


def test_a_systemd_that_does_not_answer_is_nobodys_fault(host: Start) -> None:
    """The watch says so once, and looks on when it answers again."""
    here = host()
    here.start()
    pid = here.pid("worker-mail")
    known = here.refuse_states()
    here.says("systemd does not answer", "nobody is judged")
    os.kill(pid, signal.SIGSTOP)
    new = here.folder / "states.known"
    new.write_text(known)
    new.replace(here.folder / "states.json")
    replaced(here, pid)
    assert (here.folder / "watch.log").read_text().count("systemd does not answer") == 1


def test_a_watch_that_hangs_ends(host: Start) -> None:
    """And says where; whoever runs it starts it again."""
    here = host()
    here.start(longest_look=15)
    here.hang_states()
    assert here.watch
    assert here.watch.wait(timeout=60) == 1
    assert "Timeout" in (here.folder / "watch.log").read_text()


def test_a_frozen_beat_is_killed(host: Start) -> None:
    here = host(celery_beat=True)
    here.start()
    pid = here.pid("beat")
    os.kill(pid, signal.SIGSTOP)
    replaced(here, pid, "beat")
    here.says("Beat (parcels-beat.service) is deaf", "stopped by a signal")


def test_a_beat_whose_schedule_stands_still_is_killed(host: Start) -> None:
    """It then answers nothing."""
    here = host(celery_beat=True, settings={"beat_remote_control_max_tick_age": 2, "beat_max_loop_interval": 300})
    here.start()
    pid = here.pid("beat")
    (here.folder / "hang").touch()
    until(lambda: here.has("hanging"), here.logs)
    (here.folder / "hang").unlink()
    replaced(here, pid, "beat")
    here.says("Beat (parcels-beat.service) is deaf: it does not answer")


@pytest.mark.long
def test_a_beat_of_an_older_celery_that_no_longer_wakes_up_is_killed(host: Start, older: Path) -> None:
    """It answers nothing ever; how long it may sleep is known."""
    here = host(venv=older, celery_beat=True, version="5.6.3")
    here.start()
    pid = here.pid("beat")
    here.looks(10)
    assert here.pid("beat") == pid
    (here.folder / "hang").touch()
    until(lambda: here.has("hanging"), here.logs)
    (here.folder / "hang").unlink()
    replaced(here, pid, "beat")
    here.says("Beat (parcels-beat.service) is deaf: its main process has not woken up")


def test_a_second_beat_is_ended_and_the_units_goes_on(host: Start) -> None:
    here = host(celery_beat=True)
    here.start()
    pid = here.pid("beat")
    second = here.by_hand("beat", "--pidfile=", "--schedule", str(here.folder / "second"))
    second.wait(timeout=60)
    here.says(f"A second Beat ran, process {second.pid}", "Beat is parcels-beat.service")
    inside = here.by_hand("worker", "--beat", "--hostname", "other@%h", "--queues", "other")
    inside.wait(timeout=60)
    other = here.by_hand("beat", "--pidfile=", "--schedule", str(here.folder / "third"), app="others")
    here.looks(5)
    assert other.poll() is None
    other.kill()
    other.wait()
    assert here.pid("beat") == pid
    assert 'celery_watch_second_beats_total{application="parcels"} 2' in here.metrics()


def test_a_beat_on_a_host_without_one_is_ended(host: Start) -> None:
    here = host()
    here.start()
    second = here.by_hand("beat", "--pidfile=", "--schedule", str(here.folder / "second"))
    second.wait(timeout=60)
    here.says("A second Beat ran", "Beat runs on another host")
