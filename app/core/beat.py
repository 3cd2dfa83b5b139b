"""One Beat sends the schedules, however many run: the one whose turn it is, by a lock in the Redis that takes the messages, or the
results where another broker takes those.

A Beat that dies or is frozen loses the lock with its lease, one whose Redis is away can send nothing anyway. It holds for every
scheduler, and for a worker with a Beat inside, because it hangs on Celery's own signal.
"""

import logging
import os
import uuid
from socket import gethostname
from typing import Any

from celery.beat import ScheduleEntry, Scheduler, Service
from celery.signals import beat_init
from redis import Redis, RedisError
from redis.exceptions import LockError
from redis.lock import Lock

from core import sentinel

logger = logging.getLogger(__name__)

# Seconds. A Beat that says nothing more is replaced after the lease; it renews it at least this often, and again before each task.
LEASE = 15
RENEWAL = 5
# How often a Beat that waits asks.
LOOK = 1.0
# Of a connection to Redis.
REDIS = ("redis://", "rediss://", sentinel.SCHEME)
LIMITS: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 1,
    "socket_keepalive": True,
    "health_check_interval": 30,
}
# One that ends keeps its turn for so long: the next one sends nothing in the same second.
PAUSE = 1


class Turn:
    """Whether it is this Beat's turn to send.

    client: of the Redis that keeps it; prefix: before its keys; holder: what the others are told.
    """

    def __init__(self, client: Redis, *, prefix: str, holder: str) -> None:
        self.client, self.holder = client, holder
        self.lock = Lock(client, f"{prefix}beat", timeout=LEASE, thread_local=False)
        self.is_held = False
        self.said = ""

    def renew(self) -> bool:
        """Takes the turn or keeps it for another lease; False when it is another's, or Redis does not say."""
        try:
            self.is_held = self._is_kept() or self.lock.acquire(blocking=False, token=self.holder)
            by = None if self.is_held else self.client.get(self.lock.name)
        except RedisError as error:
            self.is_held = False
            self._say(
                logging.CRITICAL,
                f"No schedule runs: the Redis that says whose turn it is is away ({type(error).__name__}).",
            )
            return False
        if self.is_held:
            self._say(logging.INFO, "This Beat sends the schedules.")
        else:
            holder = by.decode() if isinstance(by, bytes) else "another Beat"
            self._say(logging.WARNING, f"This Beat waits, and sends nothing: {holder} sends the schedules.")
        return self.is_held

    def _is_kept(self) -> bool:
        try:
            return self.is_held and self.lock.reacquire()
        except LockError:
            return False

    def end(self) -> None:
        """Leaves it to the others."""
        self.lock.timeout = PAUSE
        try:
            self._is_kept()
        except RedisError as error:
            logger.warning("The turn ends with its lease: %s", type(error).__name__)
        self.is_held = False

    def _say(self, level: int, text: str) -> None:
        if text != self.said:
            self.said = text
            logger.log(level, text)


class Guard:
    """Lets a Beat's scheduler tick, and send, in its turn alone."""

    def __init__(self, service: Service, turn: Turn) -> None:
        self.service, self.turn = service, turn
        self.is_stale = False
        self._take(service.scheduler)

    def _take(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.of_scheduler = (scheduler.tick, scheduler.apply_entry, scheduler.close)
        for name in ("tick", "apply_entry", "close"):
            setattr(scheduler, name, getattr(self, name))

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Seconds until the next one."""
        if not self.turn.renew():
            self.is_stale = True
            return LOOK
        if self.is_stale:
            # Others have sent meanwhile: a new one reads from the schedule's store what was sent last.
            self.of_scheduler[2]()
            del self.service.scheduler
            self._take(self.service.scheduler)
            self.is_stale = False
            return 0.0
        return min(self.of_scheduler[0](*args, **kwargs), RENEWAL)

    def apply_entry(self, entry: ScheduleEntry, *args: Any, **kwargs: Any) -> None:
        """Sends a task, if it still may: the tick may have taken long."""
        if self.turn.renew():
            self.of_scheduler[1](entry, *args, **kwargs)
        else:
            self.is_stale = True

    def close(self) -> None:
        """What was sent is stored before another one may send."""
        self.of_scheduler[2]()
        self.turn.end()


def client(url: str, options: dict[str, Any]) -> Redis:
    """Of the Redis that keeps the turn; options: Celery's for it."""
    limits = LIMITS | {name: value for name, value in options.items() if name.startswith("socket_")}
    if not url.startswith(sentinel.SCHEME):
        return Redis.from_url(url, **limits)
    names = ("master_name", "sentinel_kwargs")
    return Redis(
        connection_pool=sentinel.PrimaryPool.from_url(url, **{name: options[name] for name in names}, **limits)
    )


@beat_init.connect
def guard(sender: Service, **kwargs: object) -> None:
    conf = sender.app.conf
    stores: tuple[tuple[str, dict[str, Any]], ...] = (
        (conf.broker_url, conf.broker_transport_options),
        (conf.result_backend, conf.result_backend_transport_options),
    )
    found = ((url, options) for url, options in stores if url and url.startswith(REDIS))
    url, options = next(found, ("", {}))
    if not url:
        logger.warning(
            "Neither broker nor results are a Redis's: nothing keeps a second Beat from sending the schedules too."
        )
        return
    Guard(
        sender,
        Turn(
            client(url, options),
            prefix=options.get("global_keyprefix", ""),
            holder=f"the Beat on {gethostname()}, process {os.getpid()} ({uuid.uuid4().hex[:8]})",
        ),
    )
