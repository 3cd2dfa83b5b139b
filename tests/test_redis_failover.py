"""Three real Redis servers and three Sentinels, started as their units start them, replace each other and never contradict Ansible."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rendering import ROOT, render

spec = importlib.util.spec_from_file_location("redis_failover", ROOT / "roles/redis/files/redis_failover.py")
assert spec
assert spec.loader
redis_failover = importlib.util.module_from_spec(spec)
spec.loader.exec_module(redis_failover)

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
PASSWORDS = {
    **{f"redis_{user}_password": f"the-password-of-{user}" for user in ("admin", "cache", "celery")},
    "redis_internal_password": "the-password-between-members",
    "redis_sentinel_password": "the-password-at-the-sentinels",
}


def free_port() -> int:
    """A port that is free on all three addresses."""
    while True:
        with socket.socket() as first:
            first.bind((ADDRESSES[0], 0))
            port: int = first.getsockname()[1]
            try:
                for address in ADDRESSES[1:]:
                    with socket.socket() as other:
                        other.bind((address, port))
            except OSError:
                continue
            return port


def wait_until(function: Callable[[], Any], seconds: float = 30) -> Any:
    """What a function returns once it is true; errors of a server that is not up count as not yet."""
    deadline, last = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if last := function():
                return last
        except (OSError, redis_failover.Refused) as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s; last: {last!r}")


class Member:
    """A server with its Redis and its Sentinel, configured by the role's own templates."""

    def __init__(self, folder: Path, address: str, ports: tuple[int, int]) -> None:
        self.folder, self.address, self.port = folder, address, ports[0]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.said: list[str] = []
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        etc = folder / "etc"
        etc.mkdir()
        names = {address: f"redis-{number}" for number, address in enumerate(ADDRESSES, 1)}
        paths = {
            "data": str(self.data),
            "replication_file": str(self.data / "failover/replication.conf"),
            "sentinel_template": str(etc / "sentinel.conf"),
            "sentinel_file": str(self.data / "failover/sentinel.conf"),
        }
        members = [{"name": name, "address": address} for address, name in names.items()]
        self.config = {
            "primary_name": "primary",
            "own": address,
            "members": members,
            "quorum": 2,
            "port": ports[0],
            "sentinel_port": ports[1],
            "password": PASSWORDS["redis_internal_password"],
            **paths,
        }
        given = {
            **PASSWORDS,
            "redis_members": members,
            "redis_member_address": address,
            "redis_port": ports[0],
            "redis_sentinel_port": ports[1],
            "redis_bind_addresses": [address],
            "__redis_failover": self.config,
            "__redis_users_file": str(etc / "users.acl"),
            "__redis_socket": str(folder / "redis.sock"),
            "__redis_data": str(self.data),
            "__redis_run_folder": str(folder),
            "ansible_facts": {"memtotal_mb": 256},
        }
        conf = render("redis", "redis.conf.j2", **given).replace("/var/log/redis", str(folder))
        (etc / "redis.conf").write_text(conf.replace("/etc/redis/failover.conf", str(etc / "failover.conf")))
        (etc / "failover.conf").write_text(render("redis", "failover.conf.j2", **given))
        (etc / "users.acl").write_text(render("redis", "users.acl.j2", **given))
        sentinel = render("redis", "failover-sentinel.conf.j2", **given)
        sentinel = sentinel.replace("/var/log/redis", str(folder)).replace("/run/sentinel", str(folder))
        (etc / "sentinel.conf").write_text(sentinel)
        # As in the unit's sandbox: nobody but Ansible writes there.
        etc.chmod(0o555)

    @property
    def failover(self) -> Any:
        """What the units' commands do on this server."""
        return redis_failover.Failover(self.config, self.said.append)

    def start(self, *what: str) -> None:
        """As systemd does: first the program, then the daemon."""
        for name in what or ("sentinel", "redis"):
            if name == "sentinel":
                self.failover.write_sentinel()
                command = ["redis-server", self.config["sentinel_file"], "--sentinel"]
            else:
                self.failover.server()
                command = ["redis-server", str(self.folder / "etc/redis.conf")]
            # Root, too, has to ask for a folder's permissions.
            self.processes[name] = subprocess.Popen(["setpriv", "--bounding-set=-all", *command], stdout=subprocess.DEVNULL)

    def kill(self, *what: str) -> None:
        """Without a word to anybody, as when the power goes."""
        for name in what or tuple(self.processes):
            process = self.processes.pop(name)
            process.kill()
            process.wait()

    def ask(self, *words: str, user: str = "admin") -> Any:
        """Redis's answer."""
        password = PASSWORDS[f"redis_{user}_password"]
        with redis_failover.Connection(self.address, self.port, password, user=user) as redis:
            return redis.ask(*words)

    def role(self) -> str:
        """Of this Redis: master or slave."""
        role: str = self.ask("ROLE")[0]
        return role

    def in_place(self) -> bool:
        """Whether it is the primary or follows it."""
        return bool(self.failover._is_in_place())


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[Member]]:
    """The three, one after the other, as the play deploys them."""
    ports = (free_port(), free_port())
    made = [Member(tmp_path / str(number), address, ports) for number, address in enumerate(ADDRESSES, 1)]
    try:
        for member in made:
            member.start()
            wait_until(member.in_place)
        wait_until(lambda: all(member.failover._is_replaceable() for member in made))
        yield made
    finally:
        for member in made:
            for process in member.processes.values():
                process.kill()
                process.wait()


def primary_of(members: list[Member]) -> Member:
    """The one that all Sentinels name, and that says so itself."""

    def find() -> Member | None:
        named = {view.primary for member in members if "sentinel" in member.processes for view in member.failover.views()}
        found = [member for member in members if member.address in named and "redis" in member.processes]
        return found[0] if len(named) == 1 and found and found[0].role() == "master" else None

    found: Member = wait_until(find)
    return found


def test_the_first_is_the_primary_and_the_others_have_what_it_has(members: list[Member]) -> None:
    assert [member.role() for member in members] == ["master", "slave", "slave"]
    members[0].ask("SET", "celery:order", "paid")
    for replica in members[1:]:
        wait_until(lambda replica=replica: replica.ask("GET", "celery:order") == "paid")


def test_a_dead_primary_is_replaced_and_returns_as_a_replica(members: list[Member]) -> None:
    first = members[0]
    first.ask("SET", "celery:before", "1")
    wait_until(lambda: all(member.ask("GET", "celery:before") for member in members))
    first.kill("redis")
    second = primary_of(members)
    assert second is not first
    wait_until(lambda: second.ask("SET", "celery:after", "1"))
    first.start("redis")
    wait_until(first.in_place)
    assert first.role() == "slave"
    assert first.ask("GET", "celery:after") == "1"
    assert primary_of(members) is second
