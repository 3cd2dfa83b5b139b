"""Makes workers deaf, each in a way that was seen on servers, and measures until they consume again. Run by bench/deaf."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible.plugins.loader import init_plugin_loader
from watched import Host, Relay, until, virtualenv

ROOT = Path(__file__).resolve().parent.parent
WORKER = {"name": "mail", "queues": ["mail"], "concurrency": 2}
# What is promised, in seconds.
LONGEST = 60


def frozen(host: Host, relay: Relay) -> None:
    """The main process is stopped by a signal."""
    os.kill(host.pid("worker-mail"), signal.SIGSTOP)


def cut_off(host: Host, relay: Relay) -> None:
    """Its connections swallow what is sent, as a packet filter that drops."""
    relay.swallow()


def told(host: Host, relay: Relay) -> None:
    """It is told to consume its queue no more."""
    host.control("cancel_consumer", queue="mail")


def subscription_cut(host: Host, relay: Relay) -> None:
    """Its connections are cut five times, with the option that makes it wait for ever."""
    for _ in range(5):
        host.redis.cli("CLIENT", "KILL", "TYPE", "pubsub")


def standing(host: Host, relay: Relay) -> None:
    """It answers, says that it consumes, and takes nothing."""
    host.control("stand_still")


def broker_restarted(host: Host, relay: Relay) -> None:
    """Redis is killed and started again."""
    host.redis.stop()
    host.redis.start()


def disk_full(host: Host, relay: Relay) -> None:
    """Redis cannot write its data for a minute, and then can."""
    folder = host.redis.folder / "full"
    folder.mkdir()
    for words in (("save", "3600 1"), ("dir", str(folder))):
        host.redis.cli("CONFIG", "SET", *words)
    folder.rmdir()
    host.redis.cli("SET", "changed", "1")
    host.redis.cli("BGSAVE")
    until(lambda: "MISCONF" in host.redis.cli("SET", "a", "1").stdout, host.logs)
    time.sleep(60)
    host.redis.cli("CONFIG", "SET", "dir", str(host.redis.folder))
    host.redis.cli("BGSAVE")
    until(lambda: "OK" in host.redis.cli("SET", "a", "1").stdout, host.logs)


CAUSES: dict[str, tuple[Callable[[Host, Relay], None], bool]] = {
    "SIGSTOP": (frozen, False),
    "packets dropped": (cut_off, False),
    "cancel_consumer": (told, False),
    "connections cut five times, retry_on_timeout": (subscription_cut, True),
    "connections cut five times": (subscription_cut, False),
    "takes nothing, though it says so": (standing, False),
    "broker restarted": (broker_restarted, False),
    "broker's disk full for a minute": (disk_full, False),
}


def measure(cause: str, venv: Path, folder: Path) -> tuple[str, float, str]:
    """The cause, seconds from the fault (its end, where the broker had it) until a task has run, and what the watch did."""
    fault, retries = CAUSES[cause]
    settings = {"broker_transport_options": {"retry_on_timeout": True}} if retries else {}
    folder.mkdir()
    with Relay() as relay:
        host = Host(folder, venv, [WORKER], settings=settings, broker=relay.address, celery_watch_patience=30)
        relay.port = host.redis.port
        try:
            host.start(**host.times)
            pid = host.pid("worker-mail")
            fault(host, relay)
            began = time.monotonic()
            host.consumes()
            seconds = time.monotonic() - began
            did = "killed" if host.pid("worker-mail") != pid else "told to" if host.said("told it to") else "nothing"
        finally:
            host.stop()
    return cause, seconds, did


def main() -> int:
    """Prints the table; 1 when a cause took longer than is promised."""
    init_plugin_loader([str(ROOT / "collections")])
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(4) as pool:
        venv = virtualenv(Path(scratch, "venv"), "celery[redis]==5.7.0")
        rows = list(pool.map(lambda pair: measure(pair[1], venv, Path(scratch, str(pair[0]))), enumerate(CAUSES)))
    print("=========== counted ===========")
    print("seconds until a deaf worker consumes again, and what the watch did")
    for cause, seconds, did in rows:
        print(f"{cause:<46} {seconds:6.1f}  {did}")
    print("===============================")
    return int(any(seconds > LONGEST for _cause, seconds, _did in rows))


if __name__ == "__main__":
    sys.exit(main())
