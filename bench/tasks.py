"""Tasks a second: how fast one process publishes them, and how fast a worker drains them against one with stock settings.

Runs with the release's python, in its environment. Each round publishes to a queue of its own and starts one worker process on it.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
import uuid

from celery import Celery

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
APP = os.environ.get("BENCH_CELERY_APP", "config")
PYTHON = sys.executable
LIMIT = 300  # seconds a round may take
STOCK = "with the stock worker's options"
# What is deployed, and what each of the options that are not stock costs alone.
SIDES = {
    "as deployed": ["--without-mingle", "--without-gossip", "-O", "fair", "--prefetch-multiplier", "1"],
    STOCK: ["-O", "default", "--prefetch-multiplier", "4"],
    "stock, a process gets a task when it is free (-O fair)": ["-O", "fair", "--prefetch-multiplier", "4"],
    "stock, no task waits in the worker (prefetch multiplier 1)": ["-O", "default", "--prefetch-multiplier", "1"],
}


def find_app() -> Celery:
    """The project's Celery application, as `celery -A` finds it."""
    module = importlib.import_module(APP)
    return getattr(module, "app", None) or importlib.import_module(f"{APP}.celery").app


def depth(app: Celery, queue: str) -> int:
    """Messages that wait in a queue."""
    with app.connection_for_read() as connection:
        return connection.default_channel.client.llen(queue)


def publish(app: Celery, queue: str) -> float:
    """Publishes COUNT tasks that do nothing; returns tasks a second."""
    began = time.monotonic()
    for number in range(COUNT):
        app.send_task("celery.accumulate", args=[number], kwargs={"index": 0}, queue=queue, ignore_result=True)
    return COUNT / (time.monotonic() - began)


def drain(app: Celery, queue: str, options: list[str]) -> float:
    """Lets one worker empty a queue; returns tasks a second, from the first taken to the last."""
    worker = subprocess.Popen(
        [
            PYTHON,
            "-m",
            "celery",
            "-A",
            APP,
            "worker",
            "-Q",
            queue,
            "-n",
            f"{queue}@bench",
            "-c",
            "2",
            "-l",
            "ERROR",
            *options,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + LIMIT
        while depth(app, queue) >= COUNT - 50:
            if time.monotonic() > deadline:
                raise TimeoutError("the worker did not begin")
            time.sleep(0.05)
        left, began = depth(app, queue), time.monotonic()
        while depth(app, queue) > 0:
            if time.monotonic() > deadline:
                raise TimeoutError("the worker did not finish")
            time.sleep(0.02)
        return left / (time.monotonic() - began)
    finally:
        worker.terminate()
        worker.wait(timeout=60)


def main() -> None:
    """Two rounds, the order turned round in the second, so that no side always has the warm machine."""
    app = find_app()
    published: list[float] = []
    drained: dict[str, list[float]] = {side: [] for side in SIDES}
    for order in (list(SIDES), list(reversed(SIDES))):
        for side in order:
            queue = f"bench-{uuid.uuid4().hex[:8]}"
            published.append(publish(app, queue))
            drained[side].append(drain(app, queue, SIDES[side]))
    mean = {side: sum(rates) / len(rates) for side, rates in drained.items()}
    print(f"published: {sum(published) / len(published):.0f} tasks/s from one process")
    for side, rate in mean.items():
        print(f"drained: {rate:.0f} tasks/s {side}; ratio {rate / mean[STOCK]:.2f}")


main()
