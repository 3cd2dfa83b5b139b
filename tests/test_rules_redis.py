"""What the role redis says about arguments that it cannot work with, and how it reads amounts of memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.stockpot.stack.plugins.plugin_utils import redis
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.redis import apart_problems, problems

ROLE = Path(__file__).resolve().parent.parent / "roles/redis"
GIVEN = {
    **yaml.safe_load((ROLE / "defaults/main.yml").read_text()),
    **{f"redis_{user}_password": f"the-password-of-{user}" for user in ("admin", "cache", "celery")},
}
USER = {"name": "reports", "password": "correct horse"}


def test_the_defaults_are_right() -> None:
    assert problems(GIVEN) == []


def test_an_instance_with_a_port_of_its_own_is_right() -> None:
    assert problems({**GIVEN, "redis_instance": "my-blog", "redis_port": 6380}) == []


def test_a_project_may_have_no_prefix() -> None:
    assert problems({**GIVEN, "redis_celery_key_prefix": ""}) == []
    assert problems({**GIVEN, "redis_celery_key_prefix": "", "redis_cache_key_prefix": ""}) == []


CACHE = {
    "redis_instance": "shop-cache",
    "redis_port": 6380,
    "redis_users": ["cache"],
    "redis_celery_password": "",
    "redis_maxmemory_policy": "allkeys-lru",
    "redis_appendonly": False,
}


def test_a_cache_alone_may_drop_and_forget_and_needs_no_password_of_celery_s() -> None:
    assert problems({**GIVEN, **CACHE}) == []


def test_a_prefix_fences_only_from_a_user_that_is_there() -> None:
    prefixes = {"redis_celery_key_prefix": "cache:celery:"}
    assert problems({**GIVEN, **CACHE, **prefixes}) == []
    assert problems({**GIVEN, **prefixes}) != []


MEMBERS = {
    "redis_members": [{"name": f"redis-{number}", "address": f"10.0.0.{number}"} for number in (1, 2, 3)],
    "redis_member_address": "10.0.0.2",
    "redis_bind_addresses": ["127.0.0.1", "10.0.0.2"],
    "redis_internal_password": "between-the-members",
    "redis_sentinel_password": "at-the-sentinels",
}


@pytest.mark.parametrize("tls", [False, True])
def test_three_that_replace_each_other_are_right(tls: bool) -> None:
    assert problems({**GIVEN, **MEMBERS, "redis_tls": tls}) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"redis_members": MEMBERS["redis_members"][:2]}, "redis_members names 2 servers: it takes an odd number"),
        (
            {"redis_members": [*MEMBERS["redis_members"][:2], {"name": "three", "address": "redis-3"}]},
            "redis_members: 'redis-3' is no IPv4 address",
        ),
        (
            {"redis_members": [*MEMBERS["redis_members"][:2], MEMBERS["redis_members"][0]]},
            "redis_members names an address twice",
        ),
        ({"redis_member_address": "10.0.0.9"}, "redis_member_address is '10.0.0.9', which redis_members does not name"),
        ({"redis_bind_addresses": ["127.0.0.1"]}, "redis_bind_addresses lacks 10.0.0.2"),
        ({"redis_internal_password": ""}, "redis_internal_password is empty"),
        ({"redis_internal_password": "two words"}, "redis_internal_password holds a blank or a quotation mark"),
        ({"redis_sentinel_password": ""}, "redis_sentinel_password is empty"),
        ({"redis_instance": "blog", "redis_port": 6380}, "redis_instance is blog: only Debian's own Redis"),
        ({"redis_tls": True, "redis_authority": "own.pem"}, "redis_authority is 'own.pem': name a file on the server"),
        (
            {"redis_tls": True, "redis_sentinel_tls_port": 26379},
            "redis_sentinel_tls_port is 26379: it has to be between 1 and 65535, and not redis_sentinel_port.",
        ),
        ({"redis_primary_name": "my primary"}, "redis_primary_name is 'my primary'"),
        ({"redis_sentinel_port": 6379}, "redis_sentinel_port is 6379"),
        ({"redis_sentinel_down_seconds": 0}, "redis_sentinel_down_seconds is 0"),
        ({"redis_min_replicas_to_write": 3}, "redis_min_replicas_to_write is 3: a primary has 2 replicas at most"),
        ({"redis_extra_users": [{**USER, "name": "replica"}]}, "redis_extra_users: replica stands there twice"),
        ({"redis_settings": {"replicaof": "10.0.0.1 6379"}}, "redis_settings: replicaof belongs to the role"),
    ],
)
def test_each_mistake_about_several_is_said_once(changes: dict[str, Any], said: str) -> None:
    [problem] = problems({**GIVEN, **MEMBERS, **changes})
    assert said in problem


def test_the_url_of_a_database_names_every_sentinel() -> None:
    servers = ["sentinel://10.0.0.1:26379", "sentinel://10.0.0.2:26379"]
    assert redis.url(["redis://127.0.0.1:6379"], "celery", "a/b@c", 1) == "redis://celery:a%2Fb%40c@127.0.0.1:6379/1"
    assert redis.url(servers, "celery", "p", 2) == (
        "sentinel://celery:p@10.0.0.1:26379/2;sentinel://celery:p@10.0.0.2:26379/2"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"redis_port": 6379}, "redis_cache_instance: port is 6379, which redis_port is too"),
        ({"redis_instance": ""}, "redis_cache_instance: name is , which redis_instance is too"),
    ],
)
def test_two_on_a_host_differ(changes: dict[str, Any], said: str) -> None:
    assert apart_problems(GIVEN, {**GIVEN, **CACHE}) == []
    [problem] = apart_problems(GIVEN, {**GIVEN, **CACHE, **changes})
    assert said in problem


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"redis_maxmemory_policy": "volatile-lru"}, "redis_maxmemory_policy is volatile-lru, but the user celery"),
        ({"redis_appendonly": False}, "redis_appendonly is false, but the user celery"),
        ({**CACHE, "redis_cache_password": ""}, "redis_cache_password is empty"),
        ({"redis_admin_password": ""}, "redis_admin_password is empty"),
        ({"redis_extra_users": [{**USER, "password": ""}]}, "redis_extra_users: user reports has an empty password"),
        ({"redis_extra_users": [{**USER, "name": "a b"}]}, "redis_extra_users: 'a b' cannot be a user's name"),
        ({"redis_extra_users": [{**USER, "name": "default"}]}, "redis_extra_users: 'default' cannot be"),
        ({"redis_extra_users": [{**USER, "name": "celery"}]}, "redis_extra_users: celery stands there twice"),
        ({"redis_extra_users": [USER, USER]}, "redis_extra_users: reports stands there twice"),
        ({"redis_extra_users": [{**USER, "name": "reload"}]}, "redis_extra_users: reload stands there twice"),
        ({"redis_tls_port": 6379}, "redis_tls_port is 6379"),
        ({"redis_certificate": "redis.pem"}, "redis_certificate is 'redis.pem'"),
        ({"redis_clear_text": False}, "redis_clear_text is false and redis_tls too"),
        ({"redis_cache_key_prefix": "cache"}, "redis_cache_key_prefix is 'cache'"),
        ({"redis_celery_key_prefix": "cache:celery:"}, "neither may begin with the other"),
        ({"redis_maxmemory": "lots"}, "redis_maxmemory: bytes, or a number with kb, mb or gb, not 'lots'"),
        ({"redis_maxmemory": "0"}, "redis_maxmemory"),
        ({"redis_memory_percent": 91}, "redis_memory_percent is 91"),
        ({"redis_port": 0}, "redis_port is 0"),
        ({"redis_instance": "My Blog", "redis_port": 6380}, "redis_instance is 'My Blog': it names a unit"),
        (
            {"redis_instance": "blog"},
            "redis_port is 6379, which is that of Debian's own Redis: give the instance blog another",
        ),
        ({"redis_databases": 0, "redis_celery_databases": []}, "redis_databases is 0"),
        ({"redis_celery_databases": [1, 16]}, "redis_celery_databases: there is no database 16"),
        ({"redis_bind_addresses": []}, "redis_bind_addresses is empty"),
        ({"redis_settings": {"Timeout": 5}}, "redis_settings: Timeout belongs to the role"),
        ({"redis_settings": {"maxmemory-policy": "allkeys-lru"}}, "redis_settings: maxmemory-policy belongs"),
        (
            {"redis_settings": {"slowlog-max-len": "1\nuser eve on"}},
            "redis_settings: slowlog-max-len has several lines",
        ),
    ],
)
def test_each_mistake_is_said_once_and_shows_no_secret(changes: dict[str, Any], said: str) -> None:
    [problem] = problems({**GIVEN, **changes})
    assert said in problem
    assert "correct horse" not in problem


# Written before redis_settings, which may say otherwise: Redis takes the last line.
PLAIN_DEFAULTS = {
    *("tcp-backlog", "tcp-keepalive", "aof-use-rdb-preamble"),
    *("logfile", "loglevel", "always-show-logo"),
}


def test_what_the_template_writes_is_the_role_s_own_or_a_plain_default() -> None:
    template = (ROLE / "templates/redis.conf.j2").read_text()
    written = set(re.findall(r"^([a-z][a-z-]*) ", template, re.MULTILINE))
    assert written - set(redis.OWN_SETTINGS) == PLAIN_DEFAULTS
    assert problems({**GIVEN, "redis_settings": dict.fromkeys(PLAIN_DEFAULTS, "x")}) == []


@pytest.mark.parametrize("name", ["unixsocketperm", "daemonize", "pidfile", "dir", "include"])
def test_what_the_role_needs_nobody_else_may_set(name: str) -> None:
    [problem] = problems({**GIVEN, "redis_settings": {name: "x"}})
    assert problem.startswith(f"redis_settings: {name} belongs to the role")


def test_what_the_role_proves_nobody_else_may_set() -> None:
    guaranteed = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__redis_guaranteed"]
    assert set(guaranteed) <= set(redis.OWN_SETTINGS)


@pytest.mark.parametrize(
    ("given", "in_bytes"),
    [("1000", 1000), ("1k", 1000), ("1kb", 1024), ("3MB", 3 * 1024**2), ("2g", 2 * 1000**3), ("", 256 * 1024**2)],
)
def test_memory_is_read_as_redis_reads_it(given: str, in_bytes: int) -> None:
    assert redis.memory_bytes(given, 25, 1024) == in_bytes


@pytest.mark.parametrize("given", ["lots", "-1", "1.5gb", "12 mb", "1tb"])
def test_what_is_no_amount_of_memory_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="no amount"):
        redis.memory_bytes(given, 25, 1024)
