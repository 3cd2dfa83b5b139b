"""A Redis that is a cache alone, beside the broker's: full, it drops keys where the broker refuses, and it keeps nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from test_redis import PASSWORDS
from testinfra.host import Host

UNIT = "redis-server@cache"
CACHE, BROKER = 6390, 6379
LOGINS = {"cache": "password of the cache", "admin": "admin password of the cache"}
# Writes values of a mebibyte, each under a key of its own; tells how many Redis took and its first refusal.
FILL = r"""
import json, socket, sys
port, user, password, prefix, count = sys.argv[1:]
connection = socket.create_connection(("127.0.0.1", int(port)), 20)
answers = connection.makefile("rb")
def ask(*words):
    parts = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    connection.sendall(b"*%d\r\n%s" % (len(words), parts))
    return answers.readline()[:-2].decode()
assert ask(b"AUTH", user.encode(), password.encode()) == "+OK"
told = [ask(b"SET", f"{prefix}{number}".encode(), b"x" * 2**20) for number in range(int(count))]
refused = [answer for answer in told if answer != "+OK"]
print(json.dumps([len(told) - len(refused), refused[0] if refused else ""]))
"""


@pytest.fixture(scope="module", autouse=True)
def run(converge_again: Callable[..., Any]) -> Any:
    """The run that makes it, on every host."""
    result = converge_again(playbook="cache.yml")
    assert result.returncode == 0, result.stdout
    return result


def ask(host: Host, *words: str, user: str = "cache", port: int = CACHE, password: str = "") -> str:
    """What a Redis answers over TCP."""
    login = ["redis-cli", "-p", str(port), "--no-auth-warning", "--user", user, "--pass", password or LOGINS[user]]
    command = [*login, *words]
    return host.check_output(" ".join(["%s"] * len(command)), *command)


def fill(host: Host, port: int, user: str, password: str, prefix: str, mebibytes: int) -> list[Any]:
    """How many of so many mebibytes a Redis took, and its first refusal."""
    words = ["python3", "-c", FILL, str(port), user, password, prefix, str(mebibytes)]
    return json.loads(host.check_output(" ".join(["%s"] * len(words)), *words))


def figure(host: Host, name: str) -> int:
    """One of the cache's figures."""
    [found] = re.findall(rf"^{name}:(\d+)", ask(host, "INFO", user="admin"), re.MULTILINE)
    return int(found)


def test_a_full_cache_drops_what_was_used_longest_ago(host: Host) -> None:
    """All is taken, the last of it is there, and it keeps to its memory."""
    assert fill(host, CACHE, "cache", LOGINS["cache"], "page:", 24) == [24, ""]
    assert ask(host, "EXISTS", "page:23") == "1"
    assert ask(host, "EXISTS", "page:0") == "0"
    assert figure(host, "evicted_keys") >= 16
    assert figure(host, "maxmemory") == 8 * 1024**2


def test_a_full_broker_refuses_and_drops_nothing(host: Host) -> None:
    """The same, on the same host: what it has taken is all there."""
    password = PASSWORDS["celery"]
    taken, refusal = fill(host, BROKER, "celery", password, "celery:full:", 80)
    keys = [f"celery:full:{number}" for number in range(80)]
    kept = ask(host, "EXISTS", *keys, user="celery", port=BROKER, password=password)
    ask(host, "DEL", *keys, user="celery", port=BROKER, password=password)
    assert 40 < taken < 80
    assert refusal.startswith("-OOM")
    assert int(kept) == taken


def test_a_killed_cache_returns_empty_and_leaves_nothing_on_the_disk(
    host: Host, wait_until: Callable[..., Any]
) -> None:
    """A cold cache is what a cache may be."""
    assert ask(host, "SET", "page:kept", "1") == "OK"
    before = host.check_output(f"systemctl show -P MainPID {UNIT}")
    host.check_output(f"systemctl kill --signal KILL {UNIT}")
    wait_until(lambda: host.check_output(f"systemctl show -P MainPID {UNIT}") not in ("0", before))
    assert wait_until(lambda: ask(host, "EXISTS", "page:kept") == "0")
    host.check_output(f"systemctl restart {UNIT}")
    assert host.check_output("find /var/lib/redis/cache -mindepth 1") == ""


def test_the_cache_knows_its_own_user_alone(host: Host) -> None:
    """Who has any key there, and no right over the server; the broker's user and passwords open nothing."""
    assert ask(host, "SET", "without-a-prefix", "1") == "OK"
    for command in (
        ["FLUSHALL"],
        ["CONFIG", "SET", "maxmemory", "0"],
        ["SHUTDOWN"],
        ["KEYS", "*"],
        ["PUBLISH", "a", "b"],
    ):
        assert ask(host, *command).startswith("NOPERM"), command
    users = {line.split()[1] for line in ask(host, "ACL", "LIST", user="admin").splitlines()}
    assert users == {"default", "admin", "cache"}
    for user in ("celery", "cache", "admin"):
        assert "WRONGPASS" in host.check_output("redis-cli -p 6390 --no-auth-warning AUTH %s %s", user, PASSWORDS[user])


def test_a_second_run_changes_nothing(host: Host, converge_again: Callable[..., Any]) -> None:
    """On either, whichever is run."""
    units = f"redis-server {UNIT}"
    before = host.check_output(f"systemctl show -P MainPID {units}")
    again = converge_again(playbook="cache.yml")
    assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}, again.stdout
    assert host.check_output(f"systemctl show -P MainPID {units}") == before


def test_what_may_be_dropped_is_no_place_for_messages(host_name: str, converge_again: Callable[..., Any]) -> None:
    """Told by name, before anything changes."""
    extra = json.dumps({"redis_users": ["cache", "celery"], "redis_celery_password": "a password"})
    refused = converge_again("-e", extra, limit=host_name, playbook="cache.yml")
    output = " ".join(refused.stdout.split())
    assert refused.returncode == 2
    assert "redis_maxmemory_policy is allkeys-lru, but the user celery is among redis_users" in output
    assert "redis_appendonly is false, but the user celery is among redis_users" in output
    assert "changed=0" in output
