"""Queues the same newsletter in three ways, by way of a relay that counts round trips and makes each 1 ms longer.

Runs in app/, with services of its own. Every way mails the same addresses; each has its connections before it is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from core import broker  # noqa: E402  they need what setup loads
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from newsletters.models import Subscriber  # noqa: E402
from tests.relay import Relay  # noqa: E402

ADDRESSES = 10_000
DELAY = 0.001  # seconds
WAYS = {
    "start": "services.start, a batch of chunks",
    "chunks": ".delay() in a loop over the chunks",
    "addresses": ".delay() in a loop over the addresses",
}


def measure(way: str) -> tuple[int, int, float]:
    """Messages, round trips and seconds of a way to queue the newsletter."""
    with Relay(settings.CELERY["broker_url"], delay=DELAY) as relay:
        variables = os.environ | {"CELERY_BROKER_URL": relay.url}
        variables["CELERY_RESULT_BACKEND"] = settings.CELERY["result_backend"]
        program = [sys.executable, "-m", "tests.enqueue", way]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(program, env=variables, text=True, **pipes) as process:
            if process.stdout.readline() != "warm\n":
                sys.exit(f"enqueue: {way} did not begin")
            messages, trips = broker.queue_lengths()["emails"], relay.round_trips
            seconds = float(process.communicate("go\n")[0])
        return broker.queue_lengths()["emails"] - messages, relay.round_trips - trips, seconds


def main() -> None:
    """Prints a line for each way, and how many times longer it takes than the first one."""
    call_command("migrate", verbosity=0)
    Subscriber.objects.bulk_create(Subscriber(email=f"reader{number}@example.org") for number in range(ADDRESSES))
    first = 0.0
    for way, meaning in WAYS.items():
        messages, trips, seconds = measure(way)
        first = first or seconds
        print(
            f"{ADDRESSES:,} addresses, {meaning}: {messages:,} messages, {trips:,} round trips, {seconds:.2f} s, "
            f"ratio {seconds / first:.1f}"
        )


main()
