"""A Celery project that is not Django's and knows nothing of these roles."""

import os
import time
from pathlib import Path

from celery import Celery

STATE = Path("/var/lib/press")
# A project without one does not name the option at all.
PREFIX = {"global_keyprefix": prefix} if (prefix := os.environ["KEY_PREFIX"]) else {}

app = Celery("press")
app.conf.update(
    broker_url=os.environ["BROKER"],
    broker_transport_options=PREFIX,
    result_backend=os.environ["RESULTS"],
    result_backend_transport_options=PREFIX,
    broker_connection_retry_on_startup=True,
    # A secret in a setting whose name does not tell, such as Django's CACHES.
    archive=os.environ["RESULTS"],
    # Results by default not kept: the canary asks for its own.
    task_ignore_result=True,
    task_acks_late=True,
    task_default_queue="letters",
    task_routes={"press.page": {"queue": "pages"}},
    beat_schedule={"tick": {"task": "press.tick", "schedule": 1}},
)


@app.task(bind=True, name="press.who", ignore_result=False)
def who(self) -> str:
    """The worker's name without its host."""
    return self.request.hostname.split("@")[0]


@app.task(name="press.settings", ignore_result=False)
def settings() -> str:
    """The settings module of the process that runs it."""
    return os.environ["DJANGO_SETTINGS_MODULE"]


@app.task(name="press.child", ignore_result=False)
def child(megabytes: int) -> int:
    """The process that runs it, having held so much memory."""
    bytearray(b"x" * (megabytes << 20))
    return os.getpid()


@app.task(name="press.page")
def page(name: str, seconds: float) -> None:
    """Print a page, noting its begin and end."""
    with (STATE / name).open("a") as file:
        print("begin", file=file, flush=True)
        time.sleep(seconds)
        print("end", file=file, flush=True)


@app.task(name="press.tick")
def tick() -> None:
    """Show that the schedule runs."""
    (STATE / "tick").write_text(str(time.time()))
