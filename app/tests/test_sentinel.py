"""The cache and Beat's lock, where Sentinels say which Redis is the primary."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from core import beat
from core.sentinel import PrimaryPool
from django.core.cache.backends.redis import RedisCache
from redis import Redis, RedisError
from redis.sentinel import MasterNotFoundError

from tests.conftest import wait_until

PASSWORD = "asked for by the Sentinel"
OPTIONS: dict[str, Any] = {
    "master_name": "primary",
    "sentinel_kwargs": {"password": PASSWORD, "socket_timeout": 1, "socket_connect_timeout": 1, "retry": None},
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


class Group:
    """A primary, a replica and a Sentinel that decides alone."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.ports = [free_port(), free_port()]
        self.sentinel = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"port {self.sentinel}\nrequirepass {PASSWORD!r}\ndir {folder}\nsentinel monitor primary 127.0.0.1 {self.ports[0]} 1\n"
            "sentinel down-after-milliseconds primary 1000\nsentinel auth-user primary app\nsentinel auth-pass primary secret/@\n"
        )
        login = (
            "--user",
            "app",
            "on",
            ">secret/@",
            "~*",
            "&*",
            "+@all",
            "--masteruser",
            "app",
            "--masterauth",
            "secret/@",
        )
        for port in self.ports:
            home = folder / str(port)
            home.mkdir()
            replica = ("--replicaof", "127.0.0.1", str(self.ports[0])) if port != self.ports[0] else ()
            self.start(stack, "--port", str(port), "--dir", str(home), "--save", "", *login, *replica)
        self.start(stack, str(configuration), "--sentinel")
        # The address behind which nobody is comes first.
        self.urls = ";".join(f"sentinel://app:secret%2F%40@127.0.0.1:{port}/3" for port in (free_port(), self.sentinel))

    def start(self, stack: ExitStack, *words: str) -> None:
        process = stack.enter_context(subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL))
        stack.callback(process.kill)
        self.processes.append(process)

    def replicas(self) -> int:
        """How many the Sentinel has heard of."""
        with Redis(port=self.sentinel, password=PASSWORD) as sentinel:
            return len(sentinel.sentinel_slaves("primary"))


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    with ExitStack() as stack:
        yield Group(tmp_path, stack)


def is_done(function: Any) -> bool:
    try:
        function()
    except RedisError:
        return False
    return True


def test_the_cache_and_beat_s_turn_go_over_to_another_primary(group: Group) -> None:
    options = {"pool_class": "core.sentinel.PrimaryPool", "socket_timeout": 1, "socket_connect_timeout": 1, **OPTIONS}
    cache = RedisCache([group.urls], {"OPTIONS": options})
    wait_until(lambda: is_done(lambda: cache.set("name", "value")))
    turn = beat.Turn(beat.client(group.urls, OPTIONS | {"socket_timeout": 1}), prefix="celery:", holder="this one")
    wait_until(turn.renew)
    wait_until(lambda: is_done(lambda: Redis(port=group.sentinel, password=PASSWORD).ping()))
    wait_until(lambda: group.replicas() == 1, timeout=30)
    with Redis(port=group.ports[1], username="app", password="secret/@", db=3) as replica:
        wait_until(lambda: replica.exists("celery:beat"))
    group.processes[0].kill()
    wait_until(lambda: is_done(lambda: cache.set("name", "another")), timeout=30)
    assert cache.get("name") == "another"
    wait_until(turn.renew, timeout=30)


def test_where_no_sentinel_answers_it_is_an_error_of_redis() -> None:
    url = f"sentinel://127.0.0.1:{free_port()}/0"
    with pytest.raises(MasterNotFoundError):
        Redis(connection_pool=PrimaryPool.from_url(url, **OPTIONS)).ping()
