"""Redis as its clients meet it: who may do what, what outlives a kill, and that the live server is what was asked for."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from lab import LAB_FOLDER, lab_ports

# Both Debians, or the one that there is.
FIRST, LAST = min(lab_ports()), max(lab_ports())
PASSWORDS = {
    "admin": 'the "admin"\'s \\ own',
    "cache": "cache password of the test",
    "celery": "celery password of the test",
    "exporter": "exporter password of the test",
}


# A Redis client in a few lines, run on the host: redis-cli waits for ever after SUBSCRIBE and answers some commands in another form.
CLIENT = r"""
import json, socket, sys
connection = socket.create_connection(("127.0.0.1", 6379), 20)
answers = connection.makefile("rb")
def read():
    kind, rest = answers.read(1), answers.readline()[:-2].decode()
    if kind == b"*":
        return [read() for _ in range(int(rest))]
    if kind == b"$":
        return None if rest == "-1" else answers.read(int(rest) + 2)[:-2].decode()
    return int(rest) if kind == b":" else rest
def ask(command):
    connection.sendall(command.encode() + b"\r\n")
    return read()
print(json.dumps([ask(command) for command in sys.argv[1:]]))
"""


def redis(host: Host, user: str, *commands: str, database: int = 0) -> list[Any]:
    """What Redis answers `user` to each of the commands over TCP, an error as its text."""
    password = PASSWORDS[user].replace("\\", "\\\\").replace('"', '\\"')
    talk = ["python3", "-c", CLIENT, f'AUTH {user} "{password}"', f"SELECT {database}", *commands]
    answers = json.loads(host.check_output(shlex.join(talk)))
    assert answers[0] == "OK", answers[0]
    return answers[2:]


def test_nobody_gets_in_without_a_password(host: Host) -> None:
    """NOAUTH for a stranger, also as the user default, and PONG for those who have a password."""
    assert "NOAUTH" in host.check_output("redis-cli PING")
    assert "WRONGPASS" in host.check_output("redis-cli AUTH default ''")
    assert "WRONGPASS" in host.check_output("redis-cli AUTH celery wrong")
    for user in PASSWORDS:
        assert redis(host, user, "PING") == ["PONG"]


def test_it_is_confined(exposure: Callable[[str], float]) -> None:
    """Debian's unit is, and stays so."""
    assert exposure("redis-server") <= 2.0


@pytest.mark.parametrize("user", ["cache", "celery"])
def test_each_user_is_fenced_in_its_own_keys(host: Host, user: str) -> None:
    """It writes and reads below its prefix, and neither the other's keys nor any else."""
    other = {"cache": "celery", "celery": "cache"}[user]
    answers = redis(host, user, f"SET {user}:a 1", f"GET {user}:a", f"DEL {user}:a", f"GET {other}:a", "SET a 1")
    assert answers[:3] == ["OK", "1", 1]
    assert all(answer.startswith("NOPERM") for answer in answers[3:]), answers


@pytest.mark.parametrize("user", ["cache", "celery"])
def test_the_application_s_users_cannot_run_the_server(host: Host, user: str) -> None:
    """What empties, reads out, reconfigures or stops it is denied."""
    commands = [
        "FLUSHALL",
        "FLUSHDB",
        "SWAPDB 0 1",
        "KEYS *",
        "SCAN 0",
        "CONFIG GET maxmemory",
        "CONFIG SET maxmemory-policy allkeys-lru",
        "ACL LIST",
        "SHUTDOWN",
        "REPLICAOF NO ONE",
        "MIGRATE h 1 k 0 1",
        "MONITOR",
        "INFO",
        "CLIENT LIST",
        "CLIENT KILL TYPE normal",
        'EVAL "return 0" 0',
    ]
    answers = redis(host, user, *commands)
    allowed = [pair for pair in zip(commands, answers, strict=True) if not str(pair[1]).startswith("NOPERM")]
    assert allowed == []


def test_celery_may_send_what_kombu_sends(host: Host) -> None:
    """The commands of broker, results, chords, remote control and events, seen by monitoring them: none is denied."""
    redis(host, "admin", "ACL LOG RESET")
    script = "return redis.call('TIME')"
    broker = redis(
        host,
        "celery",
        "CLIENT SETINFO LIB-NAME redis-py",
        "MULTI",
        r'LPUSH "celery:default\x06\x163" m',
        "ZADD celery:unacked_index 1 t",
        "HSET celery:unacked t m",
        "EXEC",
        "SADD celery:_kombu.binding.default q",
        "SMEMBERS celery:_kombu.binding.default",
        r'BRPOP celery:default "celery:default\x06\x163" 1',
        "WATCH celery:unacked",
        "HGET celery:unacked t",
        "UNWATCH",
        "ZRANGE celery:unacked_index 0 -1",
        "ZREVRANGEBYSCORE celery:unacked_index 9 0",
        "ZREM celery:unacked_index t",
        "HDEL celery:unacked t",
        "LLEN celery:default",
        "SET celery:unacked_mutex t NX PX 300",
        "PEXPIRE celery:_kombu.binding.default 1",
        f'SCRIPT LOAD "{script}"',
        "PUBLISH celery:/1.celery.pidbox m",
        "PUBLISH celery:/1.celeryev/task.sent m",
        "PUBLISH celery:/1.reload m",
        database=1,
    )
    results = redis(
        host,
        "celery",
        "SETEX celery:celery-task-meta-1 9 r",
        "MGET celery:celery-task-meta-1 celery:celery-task-meta-2",
        "PUBLISH celery:celery-task-meta-1 r",
        "ZCOUNT celery:celery-taskset-meta-1.j -inf +inf",
        "EXPIRE celery:celery-taskset-meta-1.j 9",
        "INCRBY celery:chord-unlock-1 1",
        "SISMEMBER celery:celery-taskset-meta-1.d 1",
        "DEL celery:celery-task-meta-1 celery:chord-unlock-1",
        database=2,
    )
    assert len(broker) > 20
    assert len(results) >= 8
    # Redis 7.0 does not know CLIENT SETINFO; no right is missing for it.
    assert not [answer for answer in broker[1:] + results if "ERR" in str(answer) or "NOPERM" in str(answer)]
    for command in (
        "SUBSCRIBE celery:celery-task-meta-1",
        "PSUBSCRIBE celery:/1.celery.pidbox",
        "PSUBSCRIBE celery:/1.celeryev/*",
        "PSUBSCRIBE celery:/1.celeryev/worker.*",
        "PSUBSCRIBE celery:/1.reload",
    ):
        kind, channel = command.split()
        assert redis(host, "celery", command) == [[kind.lower(), channel, 1]]
    assert redis(host, "admin", "ACL LOG") == [[]]


def test_a_script_of_celery_s_may_do_no_more_than_celery(host: Host) -> None:
    """Whatever Lua it loads: its own keys, its own commands."""
    for call, allowed in {
        "'SET', 'celery:lua', '1'": True,
        "'DEL', 'celery:lua'": True,
        "'GET', 'cache:a'": False,
        "'SET', 'a', '1'": False,
        "'FLUSHALL'": False,
        "'KEYS', '*'": False,
    }.items():
        script = f"return redis.call({call})"
        digest = hashlib.sha1(script.encode()).hexdigest()  # noqa: S324  it names the script
        loaded, answer = redis(host, "celery", f'SCRIPT LOAD "{script}"', f"EVALSHA {digest} 0")
        assert loaded == digest
        assert str(answer).startswith(("ERR", "NOPERM")) is not allowed, (call, answer)


def test_a_script_that_never_ends_is_ended_by_admin(host: Host, wait_until: Callable[..., Any]) -> None:
    """Until then Redis serves nobody."""
    redis(host, "admin", "CONFIG SET busy-reply-threshold 100")
    script = "while true do end"
    digest = redis(host, "celery", f'SCRIPT LOAD "{script}"')[0]
    password = PASSWORDS["celery"]
    host.check_output(
        f"systemd-run --quiet --collect --setenv=REDISCLI_AUTH={shlex.quote(password)} redis-cli --user celery evalsha {digest} 0"
    )
    try:
        # Until it begins, Redis answers that there is no such key.
        wait_until(lambda: str(redis(host, "celery", "GET celery:a")[0]).startswith("BUSY"))
        assert redis(host, "celery", "SCRIPT KILL")[0].startswith("NOPERM")
    finally:
        killed = redis(host, "admin", "SCRIPT KILL")
    assert killed == ["OK"]
    assert wait_until(lambda: redis(host, "celery", "SET celery:a 1", "DEL celery:a") == ["OK", 1])
    redis(host, "admin", "CONFIG SET busy-reply-threshold 5000")


def test_celery_hears_no_channel_but_its_own(host: Host) -> None:
    """Another application's results and events stay unheard."""
    answers = redis(host, "celery", "SUBSCRIBE other", "PSUBSCRIBE *", "PSUBSCRIBE celery:*", "PUBLISH other m")
    assert all(answer.startswith("NOPERM") for answer in answers), answers


def test_django_s_cache_backend_may_send_what_it_sends(host: Host) -> None:
    """get, set, add, touch, incr, the many-forms and delete."""
    redis(host, "admin", "ACL LOG RESET")
    answers = redis(
        host,
        "cache",
        "SET cache::1:a 1 PX 9000 NX",
        "INCRBY cache::1:a 2",
        "EXPIRE cache::1:a 9",
        "PERSIST cache::1:a",
        "MULTI",
        "MSET cache::1:b 1 cache::1:c 2",
        "EXPIRE cache::1:b 9",
        "EXEC",
        "MGET cache::1:a cache::1:b",
        "EXISTS cache::1:a",
        "DEL cache::1:a cache::1:b cache::1:c",
    )
    assert answers == ["OK", 3, 1, 1, "OK", "QUEUED", "QUEUED", ["OK", 1], ["3", "1"], 1, 3]
    assert redis(host, "admin", "ACL LOG") == [[]]


def test_an_extra_user_has_the_rights_it_was_given(host: Host) -> None:
    """No key, no channel, no other command."""
    assert "redis_version" in redis(host, "exporter", "INFO server")[0]
    assert redis(host, "exporter", "GET cache:a")[0].startswith("NOPERM")


def test_what_was_asked_for_is_live(host: Host) -> None:
    """The running server's own values."""
    names = "maxmemory-policy timeout maxmemory appendonly appendfsync databases slowlog-log-slower-than save"
    (flat,) = redis(host, "admin", f"CONFIG GET {names}")
    assert dict(zip(flat[::2], flat[1::2], strict=True)) == {
        "maxmemory-policy": "noeviction",
        "timeout": "0",
        "maxmemory": str(64 * 1024 * 1024),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "databases": "16",
        "slowlog-log-slower-than": "20000",
        "save": "",
    }


def test_it_listens_on_the_given_addresses_only(host: Host) -> None:
    """Two of loopback's here, and no address of the network."""
    listening = host.check_output("ss -Hltn 'sport = :6379'").splitlines()
    assert sorted(line.split()[3] for line in listening) == ["127.0.0.1:6379", "127.0.0.2:6379"]


def test_no_password_is_on_the_disk(host: Host) -> None:
    """Not even for root: the ACL file holds hashes."""
    for password in PASSWORDS.values():
        found = host.run(f"grep -rlF -e {shlex.quote(password)} /etc /var/log /var/lib/redis /root /tmp /run/systemd")
        assert (found.rc, found.stdout) == (1, "")
    acl = host.file("/etc/redis/users.acl")
    assert (acl.user, acl.group, acl.mode) == ("root", "redis", 0o640)
    assert " #" in acl.content_string
    assert ">" not in acl.content_string


def test_a_killed_redis_returns_with_what_was_queued(host: Host, wait_until: Callable[..., Any]) -> None:
    """Keys and messages published in a transaction are there again, though Redis replays those as the user default."""
    redis(host, "celery", "DEL celery:kept celery:queue", database=1)
    answers = redis(
        host,
        "celery",
        "SET celery:kept 1",
        "MULTI",
        "LPUSH celery:queue message",
        "EXPIRE celery:queue 900",
        "EXEC",
        database=1,
    )
    assert answers[-1] == [1, 1]
    # everysec: what is a second old is on the disk.
    wait_until(lambda: "aof_pending_bio_fsync:0" in redis(host, "admin", "INFO persistence")[0])
    before = host.check_output("systemctl show -P MainPID redis-server")
    host.check_output("systemctl kill --signal KILL redis-server")
    wait_until(lambda: host.check_output("systemctl show -P MainPID redis-server") not in ("0", before))
    wait_until(
        lambda: redis(host, "celery", "GET celery:kept", "LRANGE celery:queue 0 -1", database=1) == ["1", ["message"]]
    )
    assert redis(host, "celery", "DEL celery:kept celery:queue", database=1) == [2]


def test_it_is_started_again_however_often_it_dies(host: Host) -> None:
    """No start limit: at boot an address to bind may come late."""
    shown = host.check_output("systemctl show -p StartLimitIntervalUSec,Restart,UnitFileState redis-server")
    assert sorted(shown.splitlines()) == ["Restart=always", "StartLimitIntervalUSec=0", "UnitFileState=enabled"]


def test_changed_users_are_loaded_without_a_restart(converge_again: Callable[..., Any]) -> None:
    """A new password is live, the old one dead, and the process the same; the next run changes nothing."""
    host = testinfra.get_host(f"ssh://{FIRST}", ssh_config=str(LAB_FOLDER / "ssh_config"), controlpersist=60)
    before = host.check_output("systemctl show -P MainPID redis-server")
    run = converge_again("-e", '{"redis_cache_password": "another password"}', limit=FIRST)
    assert run.returncode == 0, run.stdout
    assert "another password" not in run.stdout + run.stderr
    assert "WRONGPASS" in host.check_output(f"redis-cli AUTH cache {shlex.quote(PASSWORDS['cache'])}")
    assert host.check_output("redis-cli AUTH cache 'another password'") == "OK"
    assert host.check_output("systemctl show -P MainPID redis-server") == before


def test_a_new_admin_password_and_setting_take_effect(converge_again: Callable[..., Any]) -> None:
    """With the old password gone the role cannot ask the live server; it restarts it, and what was kept is kept."""
    host = testinfra.get_host(f"ssh://{FIRST}", ssh_config=str(LAB_FOLDER / "ssh_config"), controlpersist=60)
    redis(host, "celery", "SET celery:rotation 1")
    new = '{"redis_admin_password": "new", "redis_appendfsync": "always", "redis_bind_addresses": ["127.0.0.1"]}'
    run = converge_again("-e", new, limit=FIRST)
    assert run.returncode == 0, run.stdout
    assert host.check_output("redis-cli AUTH admin new") == "OK"
    assert redis(host, "celery", "GET celery:rotation") == ["1"]
    assert "always" in host.check_output("REDISCLI_AUTH=new redis-cli --user admin CONFIG GET appendfsync")
    run = converge_again(limit=FIRST)
    assert run.returncode == 0, run.stdout
    assert redis(host, "admin", "PING") == ["PONG"]


def test_a_value_changed_by_hand_is_named(converge_again: Callable[..., Any]) -> None:
    """A Redis that would evict queued messages fails the play, which says what differs and what to do."""
    host = testinfra.get_host(f"ssh://{LAST}", ssh_config=str(LAB_FOLDER / "ssh_config"), controlpersist=60)
    assert redis(host, "admin", "CONFIG SET maxmemory-policy allkeys-lru") == ["OK"]
    run = converge_again(limit=LAST)
    assert redis(host, "admin", "CONFIG SET maxmemory-policy noeviction") == ["OK"]
    output = " ".join(run.stdout.split())
    assert run.returncode == 2
    assert "maxmemory-policy is allkeys-lru, not noeviction" in output
    assert "systemctl restart redis-server" in output
    for password in PASSWORDS.values():
        assert password not in run.stdout + run.stderr


def test_bad_input_is_refused_before_any_change(converge_again: Callable[..., Any]) -> None:
    """All mistakes at once, each with its variable."""
    bad = {
        "redis_celery_password": "",
        "redis_settings": {"maxmemory-policy": "allkeys-lru"},
        "redis_maxmemory": "half",
        "redis_celery_key_prefix": "cache:celery:",
    }
    run = converge_again("-e", json.dumps(bad), limit=LAST)
    output = " ".join(run.stdout.split())
    assert run.returncode == 2
    assert "redis_celery_password is empty" in output
    assert "redis_settings: maxmemory-policy belongs to the role" in output
    assert "redis_maxmemory: bytes, or a number with kb, mb or gb" in output
    assert "neither may begin with the other" in output
    assert "changed=0" in output
