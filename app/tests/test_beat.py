"""One Beat sends, whatever happens to the others: counted with a schedule of one second."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import pytest
import redis
from celery import current_app
from django.conf import settings as configured
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from kombu.utils.json import loads

from tests.conftest import COUNTED, database_of_tests, wait_until

QUEUE = "ticks"
SECONDS = 20


class Beats:
    """Beats of one schedule, by names of the test's, each with a log of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self.words = folder, words
        self.broker = redis.Redis.from_url(configured.CELERY["broker_url"])
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.heard: dict[str, int] = {}

    def start(self, name: str, *words: str) -> None:
        own = words or ("beat", "--pidfile=", "--loglevel=INFO")
        command = [sys.executable, "-m", "celery", *self.words, *own, f"--schedule={self.folder}/{name}"]
        environment = os.environ | {"DATABASE_URL": database_of_tests()}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=environment, stderr=log, start_new_session=True)

    def send_signal(self, name: str, number: signal.Signals) -> None:
        os.killpg(self.processes[name].pid, number)

    def says(self, name: str, text: str) -> None:
        """Waits until one says something that it has not said before."""
        log = self.folder / f"{name}.log"
        heard = self.heard.get(name, 0)
        wait_until(lambda: text in log.read_text()[heard:], timeout=60)
        self.heard[name] = log.read_text().index(text, heard) + len(text)

    def sent(self) -> list[tuple[float, str]]:
        """When each task was sent, in order, and by which process; seconds since the epoch."""
        headers = [loads(text)["headers"] for text in self.broker.lrange(f"celery:{QUEUE}", 0, -1)]
        return sorted((one["published_at"], one["origin"]) for one in headers)

    def turns(self) -> list[str]:
        """Who sent, turn after turn."""
        return [origin for origin, _ in groupby(self.sent(), key=lambda one: one[1])]

    def sends_on(self, count: int = 3) -> None:
        """Waits for so many more."""
        before = len(self.sent())
        wait_until(lambda: len(self.sent()) >= before + count, timeout=60)


SCHEDULERS = {
    "DatabaseScheduler": ("--app=config",),
    "PersistentScheduler": ("--app=tests.every_second",),
}


@pytest.fixture(params=["DatabaseScheduler", pytest.param("PersistentScheduler", marks=pytest.mark.long)])
def beats(request: pytest.FixtureRequest, tmp_path: Path, transactional_db: None) -> Iterator[Beats]:
    own = Beats(tmp_path, *SCHEDULERS[request.param])
    own.broker.delete(f"celery:{QUEUE}", "celery:beat")
    if request.param == "DatabaseScheduler":
        every = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
        PeriodicTask.objects.create(name="Every second", task="core.tasks.forget_old_runs", interval=every, queue=QUEUE)
    yield own
    for process in own.processes.values():
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for log in sorted(tmp_path.glob("*.log")):
        print(f"{log.name}:\n{log.read_text()}")
    own.broker.delete(f"celery:{QUEUE}", "celery:beat")


def test_of_two_beats_one_sends_and_the_other_takes_over(beats: Beats, request: pytest.FixtureRequest) -> None:
    """Over a while with two Beats, and whatever ends the turn of the one that sends."""
    beats.start("first")
    beats.says("first", "This Beat sends the schedules")
    beats.start("second")
    beats.says("second", "This Beat waits, and sends nothing: the Beat on ")
    begun, before = time.time(), len(beats.sent())
    wait_until(lambda: time.time() - begun > SECONDS, timeout=3 * SECONDS)
    by_two, seconds = len(beats.sent()) - before, time.time() - begun
    turns = {}

    def takes_over(name: str, what: str) -> None:
        at = time.time()
        beats.says(name, "This Beat sends the schedules")
        turns[what] = f"{time.time() - at:.0f} s"
        beats.sends_on()

    beats.send_signal("first", signal.SIGKILL)
    takes_over("second", "killed")
    beats.start("third")
    beats.says("third", "This Beat waits")
    # Between two tasks: in the middle of one it would send that when it goes on.
    beats.sends_on(1)
    beats.send_signal("second", signal.SIGSTOP)
    takes_over("third", "frozen")
    beats.send_signal("second", signal.SIGCONT)
    beats.says("second", "This Beat waits")
    beats.sends_on()
    beats.send_signal("third", signal.SIGTERM)
    takes_over("second", "stopped")

    sent = beats.sent()
    # A Beat that was late once sends the next task sooner after: what counts is what comes from two of them.
    changes = [later[0] - earlier[0] for earlier, later in pairwise(sent) if later[1] != earlier[1]]
    COUNTED.append(
        {
            "Beat": request.node.callspec.params["beats"],
            f"two in {seconds:.0f} s": by_two,
            "in all": len(sent),
            "turns": len(changes) + 1,
            "shortest pause between two": f"{min(changes):.2f} s",
            **{f"{what}: taken over in": after for what, after in turns.items()},
        }
    )
    # One at either end; two that send would have sent about twice as many.
    assert by_two <= seconds + 2
    # first, second, third, second: nobody sends in another one's turn.
    assert len(changes) == 3
    assert min(changes) >= 1


def test_beside_another_broker_the_redis_of_the_results_says_whose_turn_it_is(
    beats: Beats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ knows no lock that lapses."""
    redis.Redis.from_url(configured.CELERY["result_backend"]).delete("celery:beat")
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://nobody@127.0.0.1:1/nowhere")
    beats.start("first")
    beats.says("first", "This Beat sends the schedules")
    beats.start("second")
    beats.says("second", "This Beat waits, and sends nothing: the Beat on ")


def test_a_beat_inside_a_worker_waits_too(beats: Beats) -> None:
    beats.start("first")
    beats.says("first", "This Beat sends the schedules")
    beats.start("inside", "worker", "--beat", "--pool=solo", "--queues=none", "--hostname=inside@%h", "--loglevel=INFO")
    beats.says("inside", "This Beat waits, and sends nothing: the Beat on ")
    beats.sends_on(5)
    assert len(beats.turns()) == 1


def test_a_beat_that_waits_answers_and_sends_when_redis_is_back(beats: Beats) -> None:
    """It is healthy: nobody has to restart it. A broker that forgot the turn gives it to one of them."""
    answers = ("--enable-remote-control", "--hostname=celerybeat@second")
    beats.start("first")
    beats.says("first", "This Beat sends the schedules")
    beats.start("second", "beat", "--pidfile=", "--loglevel=INFO", *answers)
    beats.says("second", "This Beat waits")
    wait_until(lambda: current_app.control.ping(destination=["celerybeat@second"], timeout=1))
    beats.broker.delete("celery:beat")
    beats.sends_on()
    assert len(beats.turns()) <= 2
