"""Tasks that write down when they begin and end."""

import json
import os
import sys
import threading
import time

import psycopg
from press import app

KEPT = threading.local()
TABLE = """
CREATE TABLE IF NOT EXISTS run (
    id bigserial PRIMARY KEY,
    number integer NOT NULL,
    worker text NOT NULL,
    began timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended timestamptz
)"""
# Celery forgets a task that it has handed to a process but not yet heard of again when it is told to stop: the task's message goes back.
# A worker that is just starting processes hears late, so that this happens to the one with autoscale, `two`, alone.
FIGURES = {
    "ended": "SELECT count(DISTINCT number) FROM run WHERE ended IS NOT NULL",
    "cut": "SELECT count(*) FROM run WHERE ended IS NULL",
    "cut_elsewhere": "SELECT count(*) FROM run WHERE ended IS NULL AND worker <> 'two'",
    "twice": """
        SELECT count(DISTINCT one.number) FROM run AS one JOIN run AS other ON one.number = other.number AND one.id < other.id""",
    "twice_elsewhere": """
        SELECT count(DISTINCT one.number) FROM run AS one JOIN run AS other ON one.number = other.number AND one.id < other.id
        WHERE one.worker <> 'two'""",
    "at_once": """
        SELECT count(*) FROM run AS one JOIN run AS other ON one.number = other.number AND one.id < other.id
        WHERE other.began < coalesce(one.ended, one.began)""",
    "with_eta": "SELECT count(*) FROM run WHERE number % 20 = 7 AND ended IS NOT NULL",
}

app.conf.worker_prefetch_multiplier = 1


def ledger() -> psycopg.Connection:
    """This thread's own connection."""
    if not hasattr(KEPT, "ledger"):
        KEPT.ledger = psycopg.connect(os.environ["LEDGER"], autocommit=True)
    return KEPT.ledger


def seconds_of(number: int) -> float:
    """How long a task takes: most of them a second, one in fifty a minute."""
    return 60 if number % 50 == 0 else 5 if number % 12 == 0 else 1


@app.task(name="stops.work", bind=True)
def work(self, number: int) -> None:
    """Note the begin, take one's time, note the end."""
    worker = self.request.hostname.split("@")[0]
    row = ledger().execute("INSERT INTO run (number, worker) VALUES (%s, %s) RETURNING id", (number, worker)).fetchone()
    time.sleep(seconds_of(number))
    ledger().execute("UPDATE run SET ended = clock_timestamp() WHERE id = %s", row)


def begin() -> None:
    """Open the ledger."""
    ledger().execute(TABLE)
    ledger().execute("TRUNCATE run")


def send(first: int, count: int) -> None:
    """Send so many tasks, one in twenty with an ETA within two minutes."""
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(first, first + count):
            later = {"countdown": 5 + number % 115} if number % 20 == 7 else {}
            work.apply_async(args=[number], queue="work", producer=producer, **later)


def figures() -> dict[str, int]:
    """What stands in the ledger."""
    return {name: ledger().execute(query).fetchone()[0] for name, query in FIGURES.items()}


def running(worker: str) -> int:
    """How many tasks of a worker have begun and not ended."""
    query = "SELECT count(*) FROM run WHERE worker = %s AND ended IS NULL"
    return ledger().execute(query, (worker,)).fetchone()[0]


if __name__ == "__main__":
    function, *arguments = sys.argv[1:]
    found = {"begin": begin, "send": send, "figures": figures, "running": running}[function](
        *map(json.loads, arguments)
    )
    print(json.dumps(found))
