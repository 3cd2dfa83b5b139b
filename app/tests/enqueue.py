"""`python -m tests.enqueue WAY`: queues the tasks that send a newsletter to all subscribers, and prints the seconds it took.

start      newsletters.services.start: chunks, in one batch
chunks     the same, but with `.delay()` in a loop over the chunks
addresses  a message for each address, with `.delay()` in a loop

Like a web process it has its connections already: it sends one message, prints "warm" and waits for a line before it begins.
"""

import sys
import time
from collections.abc import Sequence

import django

django.setup()

from celery import current_app  # noqa: E402  they need what setup loads
from core import outbox  # noqa: E402
from core.models import OutboxRow  # noqa: E402
from newsletters import services, tasks  # noqa: E402
from newsletters.models import Newsletter, Subscriber  # noqa: E402


def send_in_a_loop(rows: Sequence[OutboxRow]) -> None:
    for row in rows:
        tasks.send_chunk.delay(row.pk)


def main(way: str) -> None:
    newsletter = Newsletter.objects.create(subject="Winter soups", body="Come in, it is warm.")
    if way == "chunks":
        outbox.send_all = send_in_a_loop
    current_app.send_task("celery.accumulate", queue="emails", ignore_result=True)
    print("warm", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    if way == "addresses":
        for pk in Subscriber.objects.values_list("pk", flat=True):
            tasks.send_chunk.delay(pk)
    else:
        services.start(newsletter_id=newsletter.pk)
    print(time.monotonic() - began)


main(sys.argv[1])
