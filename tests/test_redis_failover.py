"""Three real Redis servers and three Sentinels, started as their units start them, replace each other and never contradict Ansible."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path
from typing import Any, NamedTuple

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


def wait_until(function: Callable[[], Any], seconds: float = 90) -> Any:
    """What a function returns once it is true; errors of a server that is not up count as not yet.

    Sentinels try again after twice their failover-timeout of 30 s, and tell a replica that they could not reach at first after one.
    """
    deadline, last = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            if last := function():
                return last
        except (OSError, redis_failover.Refused) as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s; last: {last!r}")


class Ports(NamedTuple):
    """Of each member the same."""

    redis: int
    sentinel: int
    redis_tls: int
    sentinel_tls: int


def new_authority(folder: Path) -> Path:
    """The folder of an authority, and of a certificate with its key from it for all members."""
    folder.mkdir(parents=True)
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-x509", "-days", "2"]
    names = ",".join(f"IP:{address}" for address in ADDRESSES)
    for name, words in (
        ("authority", ["-addext", "keyUsage=critical,keyCertSign"]),
        (
            "member",
            ["-CA", "authority.pem", "-CAkey", "authority.key", "-addext", "basicConstraints=critical,CA:FALSE"],
        ),
    ):
        more = ["-addext", f"subjectAltName={names}"] if name == "member" else []
        command = [
            "openssl",
            "req",
            *new,
            *words,
            *more,
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
        ]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with (folder / "member.pem").open("a") as file:
        file.write((folder / "member.key").read_text())
    return folder


class Member:
    """A server with its Redis and its Sentinel, configured by the role's own templates."""

    def __init__(self, folder: Path, address: str, ports: Ports) -> None:
        self.folder, self.address, self.ports = folder, address, ports
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.said: list[str] = []
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        (folder / "etc").mkdir()
        self.write(None)

    def write(self, authority: Path | None, *, clear_text: bool = False, **changes: str | int) -> None:
        """What Ansible writes, for TLS where there is an authority, and for clear text beside it; other variables of the role's."""
        address, ports, folder, etc = self.address, self.ports, self.folder, self.folder / "etc"
        names = {address: f"redis-{number}" for number, address in enumerate(ADDRESSES, 1)}
        paths = {
            "data": str(self.data),
            "data_mark": str(folder / "failover-has-data"),
            "replication_file": str(self.data / "failover/replication.conf"),
            "sentinel_template": str(etc / "sentinel.conf"),
            "sentinel_file": str(self.data / "failover/sentinel.conf"),
        }
        members = [{"name": name, "address": address} for address, name in names.items()]
        agreed = {
            "redis_primary_name": "primary",
            "redis_port": ports.redis,
            "redis_sentinel_port": ports.sentinel,
            "redis_internal_password": PASSWORDS["redis_internal_password"],
            **changes,
        }
        self.config = {
            "primary_name": agreed["redis_primary_name"],
            "own": address,
            "members": members,
            "quorum": 2,
            "port": ports.redis_tls if authority else agreed["redis_port"],
            "sentinel_port": ports.sentinel_tls if authority else agreed["redis_sentinel_port"],
            "agreement": {"redis": "1", "sentinel": "2"},
            "authority": str(authority / "authority.pem") if authority else "",
            "password": agreed["redis_internal_password"],
            **paths,
        }
        given = {
            **PASSWORDS,
            "redis_members": members,
            "redis_member_address": address,
            **agreed,
            "redis_tls": bool(authority),
            "redis_clear_text": clear_text or not authority,
            "redis_tls_port": ports.redis_tls,
            "redis_sentinel_tls_port": ports.sentinel_tls,
            "redis_authority": self.config["authority"],
            "redis_certificate": f"{authority}/member.pem",
            "redis_sentinel_certificate": f"{authority}/member.pem",
            "redis_bind_addresses": [address],
            "__redis_failover": self.config,
            "__redis_users_file": str(etc / "users.acl"),
            "__redis_socket": str(folder / "redis.sock"),
            "__redis_data": str(self.data),
            "__redis_run_folder": str(folder),
            "ansible_facts": {"memtotal_mb": 256},
        }
        etc.chmod(0o755)
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
            self.failover.mark_data()
            if name == "sentinel":
                self.failover.write_sentinel()
                command = ["redis-server", self.config["sentinel_file"], "--sentinel"]
            else:
                self.failover.server()
                command = ["redis-server", str(self.folder / "etc/redis.conf")]
            # Root, too, has to ask for a folder's permissions.
            self.processes[name] = subprocess.Popen(
                ["setpriv", "--bounding-set=-all", *command], stdout=subprocess.DEVNULL
            )

    def start_again_and_again(self) -> None:
        """As systemd does with a Redis whose start has failed: the Sentinels may need several tries."""
        self.start("sentinel")
        for _ in range(3):
            with contextlib.suppress(redis_failover.Stuck):
                self.start("redis")
                return
        self.start("redis")

    def kill(self, *what: str) -> None:
        """Without a word to anybody, as when the power goes."""
        for name in what or tuple(self.processes):
            process = self.processes.pop(name)
            process.kill()
            process.wait()

    def ask(self, *words: str, user: str = "admin") -> Any:
        """Redis's answer."""
        password = PASSWORDS[f"redis_{user}_password"]
        with redis_failover.Connection(
            self.address, self.config["port"], password, user=user, tls=self.failover.tls
        ) as redis:
            return redis.ask(*words)

    def role(self) -> str:
        """Of this Redis: master or slave."""
        role: str = self.ask("ROLE")[0]
        return role

    def in_place(self) -> bool:
        """Whether it is the primary or follows it."""
        return bool(self.failover.is_in_place())


def three_that_never_ran(folder: Path) -> list[Member]:
    """The members."""
    ports = Ports(*(free_port() for _ in Ports._fields))
    return [Member(folder / str(number), address, ports) for number, address in enumerate(ADDRESSES, 1)]


def end(members: list[Member]) -> None:
    """All their processes."""
    for member in members:
        member.kill()


@contextlib.contextmanager
def three(folder: Path, authority: Path | None = None) -> Iterator[list[Member]]:
    """The members, started one after the other, as the play deploys them."""
    made = three_that_never_ran(folder)
    try:
        for member in made if authority else ():
            member.write(authority)
        for member in made:
            member.start()
            wait_until(member.in_place)
            # As `status`, which ends a run.
            member.failover.mark_data()
        wait_until(lambda: not any(member.failover.why_not_replaceable() for member in made))
        yield made
    finally:
        end(made)


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[Member]]:
    """Three to do anything to."""
    with three(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Member]]:
    """Three that are left as they were."""
    with three(tmp_path_factory.mktemp("group")) as made:
        yield made


def primary_of(members: list[Member]) -> Member:
    """The one that all Sentinels name, and that says so itself."""

    def find() -> Member | None:
        named = {
            view.primary for member in members if "sentinel" in member.processes for view in member.failover.views()
        }
        found = [member for member in members if member.address in named and "redis" in member.processes]
        return found[0] if len(named) == 1 and found and found[0].role() == "master" else None

    found: Member = wait_until(find)
    return found


def agree(members: list[Member]) -> bool:
    """Whether all Sentinels have heard of the same failover, which need not be the first that was tried."""
    views = members[0].failover.views()
    return len(views) == len(members) and views[-1].epoch == views[0].epoch > 0


def test_the_first_is_the_primary_and_the_others_have_what_it_has(group: list[Member]) -> None:
    assert [member.role() for member in group] == ["master", "slave", "slave"]
    group[0].ask("SET", "celery:order", "paid")
    for replica in group[1:]:
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

    # A run of Ansible's that changes a setting then: the Sentinel neither forgets the members nor who is the primary.
    third = members[2]
    template = Path(third.config["sentinel_template"])
    template.parent.chmod(0o755)
    changed = template.read_text().replace(
        "down-after-milliseconds primary 3000", "down-after-milliseconds primary 4000"
    )
    template.write_text(changed)
    third.kill("sentinel")
    third.start("sentinel")
    wait_until(lambda: not third.failover.why_not_replaceable())
    with third.failover.sentinel(third.address) as sentinel:
        known = redis_failover.pairs(sentinel.ask("SENTINEL", "MASTER", "primary"))
    assert known["down-after-milliseconds"] == "4000"
    # The Sentinel has written the file anew since: the next run still reads there with what it was started.
    assert "# agreement 2" in redis_failover.lines(Path(third.config["sentinel_file"]))
    assert "# agreement 1" in redis_failover.lines(Path(third.config["replication_file"]))
    assert (known["ip"], known["num-slaves"], known["num-other-sentinels"]) == (second.address, "2", "2")
    assert primary_of(members) is second


def test_a_primary_that_stops_hands_over_all_it_has_acknowledged(members: list[Member]) -> None:
    """While somebody writes without a pause."""
    first = members[0]
    written = 0

    def write() -> bool:
        nonlocal written
        try:
            with redis_failover.Connection(
                first.address, first.ports.redis, PASSWORDS["redis_admin_password"], user="admin"
            ) as redis:
                while True:
                    redis.ask("SET", f"celery:{written}", "1")
                    written += 1
        except (OSError, redis_failover.Refused):
            return True

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        wait_until(lambda: written > 1000)
        first.failover.leave()
        first.kill("redis")
        assert writer.result()
    second = primary_of(members)
    assert second is not first
    assert second.ask("EXISTS", *(f"celery:{number}" for number in range(written))) == written
    first.start("redis")
    wait_until(first.in_place)
    assert (first.role(), primary_of(members)) == ("slave", second)

    # The new primary loses its disk, and is up again before the Sentinels notice: it empties nobody.
    wait_until(lambda: not any(member.failover.why_not_replaceable() for member in members))
    wait_until(lambda: first.ask("EXISTS", "celery:0"))
    second.kill()
    shutil.rmtree(second.data)
    second.data.mkdir()
    second.start_again_and_again()
    wait_until(second.in_place)
    assert second.role() == "slave"
    assert second.ask("EXISTS", *(f"celery:{number}" for number in range(written))) == written


def test_a_replica_stops_without_a_word(group: list[Member]) -> None:
    group[2].failover.leave()
    assert group[2].said[1:] == []
    assert primary_of(group) is group[0]


def test_after_a_power_cut_of_all_the_last_primary_is_the_primary(members: list[Member]) -> None:
    members[0].kill("redis")
    second = primary_of(members)
    members[0].start("redis")
    wait_until(members[0].in_place)
    wait_until(lambda: second.ask("SET", "celery:order", "paid"))
    wait_until(lambda: all(member.ask("GET", "celery:order") for member in members))
    wait_until(lambda: agree(members))
    for member in members:
        member.kill()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(Member.start, members))
    for member in members:
        wait_until(member.in_place)
    assert primary_of(members) is second
    assert {member.ask("GET", "celery:order") for member in members} == {"paid"}


def test_a_sentinel_that_was_started_again_knows_all_replicas_without_the_primary(members: list[Member]) -> None:
    """Also the one on its own server: who chooses the next primary has to know whom to choose, and whom to tell."""
    for member in members:
        member.kill()
    for member in members:
        member.start("sentinel")
    views = wait_until(lambda: len(found := members[0].failover.views()) == 3 and found)
    assert {view.sentinel: view.replicas for view in views} == dict.fromkeys(ADDRESSES, 2)


@pytest.mark.parametrize("lost", [0, 2])
@pytest.mark.parametrize("is_first", [False, True], ids=["with the others", "before the others"])
@pytest.mark.long
def test_one_that_has_lost_its_disk_in_a_power_cut_of_all_empties_nobody(
    members: list[Member], lost: int, *, is_first: bool
) -> None:
    """None has been replaced yet. The first had the name of the primary, and its lost disk all that it knew."""
    members[0].ask("SET", "celery:order", "paid")
    wait_until(lambda: all(member.ask("GET", "celery:order") for member in members))
    for member in members:
        member.kill()
    empty, others = members[lost], [member for member in members if member is not members[lost]]
    shutil.rmtree(empty.data)
    empty.data.mkdir()
    with ThreadPoolExecutor(3) as pool:
        started = [pool.submit(empty.start_again_and_again)]
        if is_first:
            wait_until(lambda: empty.failover.views())
            # Longer than it is given to find somebody who knows: a start that has ended does not come back to it.
            done, _ = wait_for(started, timeout=redis_failover.MAJORITY_SECONDS + 5)
            assert not done
        started += [pool.submit(member.start) for member in others]
        for one in started:
            one.result()
    for member in members:
        wait_until(member.in_place)
    assert primary_of(members) is not empty
    assert {member.ask("GET", "celery:order") for member in members} == {"paid"}


def test_one_that_has_lost_its_disk_says_what_to_do_while_there_is_no_other(
    members: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd tries again. Who deletes what all of them have says so."""
    monkeypatch.setattr(redis_failover, "CHOICE_SECONDS", 1)
    first = members[0]
    for member in members:
        member.kill()
    shutil.rmtree(first.data)
    first.data.mkdir()
    first.start("sentinel")
    with pytest.raises(
        redis_failover.Stuck, match=r"This Redis has no data, and would take them from redis-1 .*: itself"
    ):
        first.start("redis")
    Path(first.config["data_mark"]).unlink()
    first.start("redis")
    wait_until(lambda: first.role() == "master")


@pytest.mark.long
def test_a_server_alone_after_a_power_cut_takes_no_writes(members: list[Member]) -> None:
    """It cannot know whether the others have gone on without it."""
    for member in members:
        member.kill()
    members[0].start()
    assert "Only 1 of 3 Sentinels answer" in members[0].said[-2]
    wait_until(lambda: members[0].role() == "master")
    with pytest.raises(AssertionError, match="NOREPLICAS"):
        wait_until(lambda: members[0].ask("SET", "celery:order", "paid"), seconds=3)


def test_a_primary_that_nobody_follows_takes_no_more_writes(members: list[Member]) -> None:
    """Cut off from the others: they stand still, as seen from it, and so do their Sentinels."""
    for member in members[1:]:
        for process in member.processes.values():
            process.send_signal(signal.SIGSTOP)
    members[0].ask("SET", "celery:order", "paid")
    wait_until(lambda: is_refused(lambda: members[0].ask("SET", "celery:order", "again"), "NOREPLICAS"))
    for member in members[1:]:
        for process in member.processes.values():
            process.send_signal(signal.SIGCONT)
    wait_until(lambda: members[0].ask("SET", "celery:order", "again"))


def is_refused(ask: Callable[[], Any], how: str) -> bool:
    """Whether Redis refuses in these words."""
    try:
        ask()
    except redis_failover.Refused as refused:
        return str(refused).startswith(how)
    return False


def test_a_frozen_primary_is_replaced_and_told_when_it_goes_on(members: list[Member]) -> None:
    first = members[0]
    first.processes["redis"].send_signal(signal.SIGSTOP)
    second = primary_of(members)
    first.processes["redis"].send_signal(signal.SIGCONT)
    wait_until(first.in_place)
    assert first.role() == "slave"
    assert primary_of(members) is second


def test_an_application_may_ask_the_sentinels_for_the_primary_and_nothing_else(group: list[Member]) -> None:
    port = group[0].config["sentinel_port"]
    with redis_failover.Connection(
        ADDRESSES[0], port, PASSWORDS["redis_sentinel_password"], user="default"
    ) as sentinel:
        assert sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "primary")[0] == ADDRESSES[0]
        assert redis_failover.pairs(sentinel.ask("SENTINEL", "MASTERS")[0])["ip"] == ADDRESSES[0]
        for words in (
            ("SENTINEL", "FAILOVER", "primary"),
            ("SENTINEL", "SET", "primary", "quorum", "1"),
            ("SENTINEL", "REMOVE", "primary"),
            ("SENTINEL", "RESET", "*"),
            ("ACL", "LIST"),
            ("SHUTDOWN",),
        ):
            assert is_refused(lambda words=words: sentinel.ask(*words), "NOPERM"), words


@pytest.mark.parametrize("user", ["cache", "celery"])
def test_an_application_cannot_change_who_is_the_primary(group: list[Member], user: str) -> None:
    for words in (("REPLICAOF", "NO", "ONE"), ("ROLE",), ("PSYNC", "?", "-1"), ("CLIENT", "PAUSE", "9"), ("FAILOVER",)):
        assert is_refused(lambda words=words: group[1].ask(*words, user=user), "NOPERM"), words


def test_what_members_say_to_each_other_reads_no_message(group: list[Member]) -> None:
    """The user replica copies all data, as it has to; the user sentinel gets none."""
    for words in (
        ("GET", "celery:order"),
        ("LRANGE", "celery:critical", "0", "-1"),
        ("KEYS", "*"),
        ("CONFIG", "GET", "*"),
    ):
        with group[0].failover.redis(ADDRESSES[0]) as redis:
            assert is_refused(lambda words=words, redis=redis: redis.ask(*words), "NOPERM"), words


def is_closed(address: str, port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as asked:
        return asked.connect_ex((address, port)) != 0


@pytest.mark.long
def test_over_tls_a_dead_primary_is_replaced_and_whom_nobody_trusts_is_no_member(tmp_path: Path) -> None:
    """Clear text is answered by nobody."""
    with three(tmp_path, new_authority(tmp_path / "own")) as members:
        first, _, third = members
        for member in members:
            assert is_closed(member.address, member.ports.redis)
            assert is_closed(member.address, member.ports.sentinel)
        first.ask("SET", "celery:before", "1")
        first.kill("redis")
        second = primary_of(members[1:])
        first.start("redis")
        wait_until(first.in_place)
        assert first.ask("GET", "celery:before") == "1"
        assert primary_of(members) is second

        # One with a certificate from elsewhere, and that trusts others, is followed by nobody and follows nobody.
        other = next(member for member in (first, third) if member is not second)
        other.kill()
        other.write(new_authority(tmp_path / "another"))
        other.start()
        assert not other.failover.are_most(other.failover.views())
        wait_until(lambda: info_of(other).get("role") == "slave")
        assert info_of(other)["master_link_status"] == "down"
        wait_until(lambda: info_of(second)["connected_slaves"] == "1")
        assert "CERTIFICATE_VERIFY_FAILED" in next(line for line in second.failover._members() if other.address in line)


def info_of(member: Member) -> dict[str, str]:
    """INFO replication of a member, asked by itself."""
    found: dict[str, str] = member.failover.replication(member.address)
    return found


def test_all_of_them_go_over_to_tls_at_once_and_keep_what_they_have(members: list[Member], tmp_path: Path) -> None:
    """And who is the primary: the Sentinels are restarted first, as by the role."""
    members[0].kill("redis")
    second = primary_of(members[1:])
    members[0].start("redis")
    wait_until(members[0].in_place)
    wait_until(lambda: second.ask("SET", "celery:order", "paid"))
    wait_until(lambda: all(member.ask("GET", "celery:order") for member in members))
    wait_until(lambda: agree(members))
    authority = new_authority(tmp_path / "own")
    for member in members:
        member.write(authority, clear_text=member is members[2])
    for name in ("sentinel", "redis"):
        for member in members:
            member.kill(name)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda member, name=name: member.start(name), members))
    for member in members:
        wait_until(member.in_place)
    wait_until(lambda: not any(member.failover.why_not_replaceable() for member in members))
    assert primary_of(members) is second
    assert {member.ask("GET", "celery:order") for member in members} == {"paid"}
    for member in members:
        for port in (member.ports.redis, member.ports.sentinel):
            assert is_closed(member.address, port) is (member is not members[2])
    # Whoever asks in clear text, where that is left open, is told the port of TLS.
    password = PASSWORDS["redis_sentinel_password"]
    with redis_failover.Connection(ADDRESSES[2], members[2].ports.sentinel, password, user="default") as sentinel:
        told = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "primary")
    assert told == [second.address, str(second.ports.redis_tls)]


@pytest.mark.parametrize(
    "what",
    [
        "redis_primary_name",
        pytest.param("redis_port", marks=pytest.mark.long),
        pytest.param("redis_sentinel_port", marks=pytest.mark.long),
        "redis_internal_password",
    ],
)
def test_what_they_have_to_have_alike_is_changed_at_once_and_they_keep_what_they_have(
    members: list[Member], what: str
) -> None:
    """And who is the primary: the Sentinels are restarted first, as by the role."""
    members[0].kill("redis")
    second = primary_of(members[1:])
    members[0].start("redis")
    wait_until(members[0].in_place)
    wait_until(lambda: second.ask("SET", "celery:order", "paid"))
    wait_until(lambda: all(member.ask("GET", "celery:order") for member in members))
    wait_until(lambda: agree(members))
    value = free_port() if what.endswith("port") else "another"
    for member in members:
        member.write(None, **{what: value})

    for name in ("sentinel", "redis"):
        for member in members:
            member.kill(name)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda member, name=name: member.start(name), members))
    for member in members:
        wait_until(member.in_place)
    wait_until(lambda: not any(member.failover.why_not_replaceable() for member in members))
    assert primary_of(members) is second
    assert {member.ask("GET", "celery:order") for member in members} == {"paid"}


def test_one_that_none_of_the_others_understands_is_not_in_its_place(members: list[Member]) -> None:
    """Its own Sentinel calls it the primary, and so it is, without writes; the others have chosen another one."""
    first = members[0]
    first.write(None, redis_internal_password="another")
    for name in ("sentinel", "redis"):
        first.kill(name)
        first.start(name)
    wait_until(lambda: first.role() == "master")
    assert [(view.sentinel, view.primary) for view in first.failover.views()] == [(first.address, first.address)]
    assert not first.in_place()
    wait_until(lambda: all(member.in_place() for member in members[1:]))


@pytest.mark.parametrize("at_first", [0, 1])
@pytest.mark.long
def test_one_redis_takes_writes_while_it_becomes_three_when_it_needs_no_replica_at_first(
    tmp_path: Path, at_first: int
) -> None:
    """The next run has it need one, and refuses none."""
    members = three_that_never_ran(tmp_path)
    first = members[0]
    try:
        for member in members:
            member.write(None, redis_min_replicas_to_write=at_first)
        first.start()
        wait_until(first.in_place)
        assert is_refused(lambda: first.ask("SET", "celery:order", "paid"), "NOREPLICAS") is (at_first == 1)
        for member in members[1:]:
            member.start()
            wait_until(member.in_place)
        wait_until(lambda: first.ask("SET", "celery:order", "paid"))
        wait_until(lambda: not any(member.failover.why_not_replaceable() for member in members))
        for member in members:
            member.write(None)
            member.failover.leave()
            member.kill("redis")
            member.start("redis")
            wait_until(member.in_place)
            wait_until(lambda: primary_of(members).ask("SET", "celery:next", "paid"))
        assert {member.ask("CONFIG", "GET", "min-replicas-to-write")[1] for member in members} == {"1"}
        wait_until(lambda: {member.ask("GET", "celery:order") for member in members} == {"paid"})
    finally:
        end(members)


def test_the_status_names_each_member(group: list[Member]) -> None:
    group[2].failover.status(quorum=True)
    assert group[2].said[-3:] == [
        "redis-1 (127.0.0.1): primary with 2 replicas; its Sentinel says redis-1 (127.0.0.1)",
        "redis-2 (127.0.0.2): replica, its link to the primary is up; its Sentinel says redis-1 (127.0.0.1)",
        "redis-3 (127.0.0.3): replica, its link to the primary is up; its Sentinel says redis-1 (127.0.0.1)",
    ]
