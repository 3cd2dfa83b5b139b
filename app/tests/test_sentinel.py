"""Celery, the cache and Beat's lock, where Sentinels say which Redis is the primary; in clear text and over TLS."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from core import beat, sentinel
from core.sentinel import PrimaryPool
from django.core.cache.backends.redis import RedisCache
from redis import Redis, RedisError
from redis.sentinel import MasterNotFoundError

from tests.conftest import wait_until

PASSWORD = "asked for by the Sentinel"
FAILOVER = 120  # seconds: a Sentinel that was kept from the processor for two believes nothing for thirty, and sixty lie between two tries
OPTIONS: dict[str, Any] = {
    "master_name": "primary",
    "sentinel_kwargs": {"password": PASSWORD, "socket_timeout": 5, "socket_connect_timeout": 5, "retry": None},
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def certificate(path: Path) -> Path:
    """Of this machine, with its key, and its own authority."""
    key = path.with_suffix(".key")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=redis"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(path)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path


class Group:
    """A primary, a replica and a Sentinel that decides alone; over TLS they answer nothing else."""

    def __init__(self, folder: Path, stack: ExitStack, *, over_tls: bool) -> None:
        self.ports = [free_port(), free_port()]
        self.sentinel = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        settings, query = [], ""
        self.tls: dict[str, Any] = {"ssl": over_tls}
        if over_tls:
            file = certificate(folder / "certificate.pem")
            settings = [f"{name} {file}" for name in ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")]
            settings += ["port 0", "tls-auth-clients no", "tls-replication yes"]
            query = f"?ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs={file}"
            self.tls["ssl_ca_certs"] = str(file)
        listen = "tls-port" if over_tls else "port"
        own = [
            f"{listen} {self.sentinel}",
            f"requirepass {PASSWORD!r}",
            f"dir {folder}",
            f"sentinel monitor primary 127.0.0.1 {self.ports[0]} 1",
            "sentinel down-after-milliseconds primary 5000",
            "sentinel auth-user primary app",
            "sentinel auth-pass primary secret/@",
        ]
        configuration = folder / "sentinel.conf"
        configuration.write_text("\n".join([*settings, *own, ""]))
        login = ["user app on >secret/@ ~* &* +@all", "masteruser app", "masterauth secret/@", 'save ""']
        for port in self.ports:
            home = folder / str(port)
            home.mkdir()
            replica = [f"replicaof 127.0.0.1 {self.ports[0]}"] if port != self.ports[0] else []
            lines = [*settings, f"{listen} {port}", f"dir {home}", *login, *replica, ""]
            (home / "redis.conf").write_text("\n".join(lines))
            self.start(stack, str(home / "redis.conf"))
        self.start(stack, str(configuration), "--sentinel")
        # The address behind which nobody is comes first.
        self.urls = ";".join(
            f"sentinel://app:secret%2F%40@127.0.0.1:{port}/3{query}" for port in (free_port(), self.sentinel)
        )
        # As in the settings.
        asked = {**OPTIONS["sentinel_kwargs"], "ssl": over_tls, **sentinel.tls(self.urls)}
        self.options = {**OPTIONS, "sentinel_kwargs": asked}

    def start(self, stack: ExitStack, *words: str) -> None:
        process = stack.enter_context(subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL))
        stack.callback(process.kill)
        self.processes.append(process)

    def replicas(self) -> int:
        """How many the Sentinel has heard of."""
        with Redis(port=self.sentinel, host="127.0.0.1", password=PASSWORD, **self.tls) as found:
            return len(found.sentinel_slaves("primary"))


@pytest.fixture(params=[False, True], ids=["clear text", "TLS"])
def group(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Group]:
    with ExitStack() as stack:
        yield Group(tmp_path, stack, over_tls=request.param)


def is_done(function: Any) -> bool:
    try:
        function()
    except RedisError:
        return False
    return True


# redis-py leaves connections to Sentinels to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_all_that_asks_redis_goes_over_to_another_primary(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache, Beat's turn, Celery's messages and its results."""
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):  # to Celery itself they are worth more
        monkeypatch.delenv(name)
    limits = {"socket_timeout": 5, "socket_connect_timeout": 5}
    options = {"pool_class": "core.sentinel.PrimaryPool", **limits, **group.options}
    cache = RedisCache([group.urls], {"OPTIONS": options})
    wait_until(lambda: is_done(lambda: cache.set("name", "value")))
    turn = beat.Turn(beat.client(group.urls, group.options | limits), prefix="celery:", holder="this one")
    wait_until(turn.renew)
    app = Celery(broker=group.urls, backend=group.urls, set_as_current=False)
    app.conf.broker_transport_options = group.options | limits
    app.conf.result_backend_transport_options = group.options
    app.conf.redis_backend_use_ssl = sentinel.tls(group.urls)
    app.send_task("anything", queue="before", ignore_result=True)
    results: Any = app.backend
    results.client.set("a task", "its result")
    wait_until(lambda: group.replicas() == 1, timeout=FAILOVER)
    with Redis(
        port=group.ports[1], host="127.0.0.1", username="app", password="secret/@", db=3, **group.tls
    ) as replica:
        # A turn lasts for seconds alone.
        wait_until(lambda: turn.renew() and replica.exists("celery:beat"))
        wait_until(lambda: replica.exists("a task"))
        wait_until(lambda: replica.llen("before") == 1)
    group.processes[0].kill()
    wait_until(lambda: is_done(lambda: cache.set("name", "another")), timeout=FAILOVER)
    assert cache.get("name") == "another"
    wait_until(turn.renew, timeout=FAILOVER)
    wait_until(lambda: is_sent(app), timeout=FAILOVER)
    assert results.client.get("a task") == b"its result"


def is_sent(app: Celery) -> bool:
    try:
        app.send_task("anything", queue="after", ignore_result=True)
    except app.connection_for_write().recoverable_connection_errors:
        return False
    return True


def test_where_no_sentinel_answers_it_is_an_error_of_redis() -> None:
    url = f"sentinel://127.0.0.1:{free_port()}/0"
    with pytest.raises(MasterNotFoundError):
        Redis(connection_pool=PrimaryPool.from_url(url, **OPTIONS)).ping()


def test_only_addresses_of_sentinels_are_asked_for_their_tls() -> None:
    """What others say of it, whoever they are for reads itself."""
    query = "?ssl_cert_reqs=required&ssl_check_hostname=false&ssl_ca_certs=/own.pem"
    told = {"ssl_cert_reqs": "required", "ssl_check_hostname": False, "ssl_ca_certs": "/own.pem"}
    assert sentinel.tls(f"sentinel://a:1/0{query};sentinel://b:1/0{query}") == told
    for url in (f"rediss://a:1/0{query}", "sentinel://a:1/0", "django-db", "amqps://a/b"):
        assert sentinel.tls(url) == {}
