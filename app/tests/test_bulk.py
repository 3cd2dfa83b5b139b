"""Many messages at once: few round trips to the broker, and none lost when the connection breaks."""

import os
import subprocess
import sys

import pytest
from core import broker
from django.conf import settings
from newsletters.models import Chunk, Subscriber

from tests.conftest import Worker, database_of_tests
from tests.relay import Relay

ADDRESSES = 10_000


@pytest.fixture
def subscribers(transactional_db: None) -> None:
    Subscriber.objects.bulk_create(Subscriber(email=f"reader{number}@example.org") for number in range(ADDRESSES))


class Enqueuer:
    """A warm process that queues a newsletter by way of the relay when it is told to."""

    def __init__(self, way: str, relay: Relay) -> None:
        variables = os.environ | {
            "DATABASE_URL": database_of_tests(),
            "CELERY_BROKER_URL": relay.url,
            "CELERY_RESULT_BACKEND": settings.CELERY["result_backend"],
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        program = [sys.executable, "-m", "tests.enqueue", way]
        self.process = subprocess.Popen(
            program, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "warm\n"

    def run(self) -> None:
        self.process.communicate("go\n")
        assert self.process.returncode == 0


def test_a_newsletter_takes_a_fifth_of_the_round_trips_of_a_loop(subscribers: None, worker: Worker) -> None:
    """For the same messages: the loop is one over chunks, not over addresses."""
    worker.kill()
    trips = {}
    for way in ("start", "chunks"):
        with Relay(settings.CELERY["broker_url"]) as relay:
            enqueuer = Enqueuer(way, relay)
            before = relay.round_trips
            enqueuer.run()
            trips[way] = relay.round_trips - before
        assert broker.queue_lengths()["emails"] == Chunk.objects.count() + 1 == 41
        Chunk.objects.all().delete()
        worker.broker.flushdb()
    assert trips["chunks"] >= 5 * trips["start"], trips


def test_a_connection_that_breaks_under_many_messages_loses_none(subscribers: None, worker: Worker) -> None:
    worker.kill()
    with Relay(settings.CELERY["broker_url"]) as relay:
        enqueuer = Enqueuer("start", relay)
        relay.cuts = 1
        enqueuer.run()
    assert relay.cuts == 0
    assert broker.queue_lengths()["emails"] == 41
    worker.broker.flushdb()
