"""Rules of the role redis."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils import redis

OWN_USERS = ("admin", "cache", "celery")
# A name that systemd logs in with.
RELOAD_USER = "reload"
USERS_OF_MEMBERS = ("replica", "sentinel")
MAIN_PORT = 6379


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of the role redis; a sentence each, without a secret in it."""
    return [
        *_instance(given),
        *_users(given),
        *_kept(given),
        *_prefixes(given),
        *_numbers(given),
        *_settings(given),
        *_tls(given),
        *_members(given),
    ]


def apart_problems(main: Mapping[str, Any], cache: Mapping[str, Any]) -> list[str]:
    """What is wrong with the cache's own Redis beside the other one, by the operator's variable.

    Args:
        main: the arguments of the role for the one that has broker and results.
        cache: those for the cache's.
    """
    found = []
    if cache["redis_port"] == main["redis_port"]:
        found.append(
            f"redis_cache_instance: port is {cache['redis_port']}, which redis_port is too: give the cache's Redis another one."
        )
    if cache["redis_instance"] == main["redis_instance"]:
        found.append(
            f"redis_cache_instance: name is {cache['redis_instance']}, which redis_instance is too: give the cache's Redis another one."
        )
    return found


def _instance(given: Mapping[str, Any]) -> list[str]:
    name = given["redis_instance"]
    if not name:
        return []
    found = []
    if not re.fullmatch(r"(?!appendonlydir$)[a-z][a-z0-9-]{0,31}", name):
        found.append(
            f"redis_instance is {name!r}: it names a unit and files; take at most 32 lower-case letters, digits and dashes, a letter first."
        )
    if given["redis_port"] == MAIN_PORT:
        found.append(
            f"redis_port is {MAIN_PORT}, which is that of Debian's own Redis: give the instance {name} another one, such as {MAIN_PORT + 1}."
        )
    return found


def _users(given: Mapping[str, Any]) -> list[str]:
    found = [
        f"redis_{user}_password is empty: give it a long random value."
        for user in OWN_USERS
        if user in ("admin", *given["redis_users"]) and not given[f"redis_{user}_password"]
    ]
    names = {*OWN_USERS, RELOAD_USER, *(USERS_OF_MEMBERS if given["redis_members"] else ())}
    for user in given["redis_extra_users"]:
        name = user["name"]
        if not user["password"]:
            found.append(f"redis_extra_users: user {name} has an empty password: give it a long random value.")
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name == "default":
            found.append(f"redis_extra_users: {name!r} cannot be a user's name: take letters, digits and any of _ . -")
        if name in names:
            found.append(f"redis_extra_users: {name} stands there twice, or is one of the role's own: rename it.")
        names.add(name)
    return found


def _kept(given: Mapping[str, Any]) -> list[str]:
    """Messages and results may neither be dropped nor forgotten."""
    if "celery" not in given["redis_users"]:
        return []
    found = []
    if (policy := given["redis_maxmemory_policy"]) != "noeviction":
        found.append(
            f"redis_maxmemory_policy is {policy}, but the user celery is among redis_users: a full Redis would drop queued tasks. Leave "
            "noeviction here, and give the cache a Redis of its own."
        )
    if not given["redis_appendonly"]:
        found.append(
            "redis_appendonly is false, but the user celery is among redis_users: a restart would lose queued tasks. Leave it true here, "
            "and give the cache a Redis of its own."
        )
    return found


def _prefixes(given: Mapping[str, Any]) -> list[str]:
    cache, celery = given["redis_cache_key_prefix"], given["redis_celery_key_prefix"]
    found = [
        f"{name} is {given[name]!r}: it has to be letters and digits, ended by one of : _ . -, or empty."
        for name in ("redis_cache_key_prefix", "redis_celery_key_prefix")
        if not re.fullmatch(r"([A-Za-z0-9_.:-]*[:_.-])?", given[name])
    ]
    # Without a prefix a user has all keys.
    if (
        {"cache", "celery"} <= set(given["redis_users"])
        and cache
        and celery
        and (cache.startswith(celery) or celery.startswith(cache))
    ):
        found.append(
            "redis_celery_key_prefix and redis_cache_key_prefix: neither may begin with the other; change one."
        )
    return found


def _numbers(given: Mapping[str, Any]) -> list[str]:
    found = []
    if given["redis_maxmemory"] and not redis.MEMORY.fullmatch(given["redis_maxmemory"]):
        found.append(f"redis_maxmemory: bytes, or a number with kb, mb or gb, not {given['redis_maxmemory']!r}.")
    if not 1 <= given["redis_memory_percent"] <= 90:
        found.append(f"redis_memory_percent is {given['redis_memory_percent']}: it has to be between 1 and 90.")
    if not 1 <= given["redis_port"] <= 65535:
        found.append(f"redis_port is {given['redis_port']}: it has to be between 1 and 65535.")
    if given["redis_databases"] < 1:
        found.append(f"redis_databases is {given['redis_databases']}: at least 1 is needed.")
    found += [
        f"redis_celery_databases: there is no database {number}: redis_databases is {given['redis_databases']}, from 0 on."
        for number in given["redis_celery_databases"]
        if not 0 <= int(number) < given["redis_databases"]
    ]
    if not given["redis_bind_addresses"]:
        found.append("redis_bind_addresses is empty: name an address to listen on, such as 127.0.0.1.")
    return found


def _settings(given: Mapping[str, Any]) -> list[str]:
    found = [
        f"redis_settings: {name} belongs to the role; take the variable for it, if there is one."
        for name in given["redis_settings"]
        if name.lower() in redis.OWN_SETTINGS
    ]
    return found + [
        f"redis_settings: {name} has several lines: give a list for a setting that stands there several times."
        for name, value in given["redis_settings"].items()
        if "\n" in f"{name}{value if isinstance(value, str) else ''}"
    ]


def _tls(given: Mapping[str, Any]) -> list[str]:
    """A certificate that cannot be, or nowhere to answer."""
    port, certificate, found = given["redis_tls_port"], given["redis_certificate"], []
    if not 1 <= port <= 65535 or port == given["redis_port"]:
        found.append(f"redis_tls_port is {port}: it has to be between 1 and 65535, and another one than redis_port.")
    if not certificate.startswith("/"):
        found.append(f"redis_certificate is {certificate!r}: name a file on the server by its whole path.")
    if not (given["redis_tls"] or given["redis_clear_text"]):
        found.append("redis_clear_text is false and redis_tls too: set redis_tls: true.")
    return found


def _members(given: Mapping[str, Any]) -> list[str]:
    """Several servers that replace each other."""
    members, own = given["redis_members"], given["redis_member_address"]
    if not members:
        return []
    addresses = [member["address"] for member in members]
    found = [
        f"{name} is empty: give it a long random value, the same on all members."
        for name in ("redis_internal_password", "redis_sentinel_password")
        if not given[name]
    ]
    found += [
        f"{name} holds a blank or a quotation mark, which redis.conf and sentinel.conf cannot hold: take another value."
        for name in ("redis_internal_password",)
        if re.search(r"[\s\"'\\\\]", given[name])
    ]
    if len(addresses) < 3 or len(addresses) % 2 == 0:
        found.append(
            f"redis_members names {len(addresses)} servers: it takes an odd number of at least three for a majority to be left when one dies."
        )
    found += [
        f"redis_members: {address!r} is no IPv4 address: give the one at which the others reach it."
        for address in addresses
        if not is_ipv4(address)
    ]
    if len(set(addresses)) < len(addresses):
        found.append("redis_members names an address twice: each server is named once.")
    if own not in addresses:
        found.append(f"redis_member_address is {own!r}, which redis_members does not name: set it to this server's.")
    elif own not in given["redis_bind_addresses"]:
        found.append(f"redis_bind_addresses lacks {own}, at which the other members reach this server: add it.")
    if given["redis_instance"]:
        found.append(
            f"redis_instance is {given['redis_instance']}: only Debian's own Redis can be one of several; leave it empty on redis_members."
        )
    if given["redis_tls"]:
        found += _members_tls(given)
    if not re.fullmatch(r"[A-Za-z0-9._-]+", given["redis_primary_name"]):
        found.append(f"redis_primary_name is {given['redis_primary_name']!r}: take letters, digits and any of . _ -")
    if given["redis_sentinel_port"] == given["redis_port"] or not 1 <= given["redis_sentinel_port"] <= 65535:
        found.append(
            f"redis_sentinel_port is {given['redis_sentinel_port']}: it has to be between 1 and 65535, and not redis_port."
        )
    if given["redis_sentinel_down_seconds"] < 1:
        found.append(f"redis_sentinel_down_seconds is {given['redis_sentinel_down_seconds']}: at least 1 is needed.")
    if not 0 <= given["redis_min_replicas_to_write"] < len(addresses):
        found.append(
            f"redis_min_replicas_to_write is {given['redis_min_replicas_to_write']}: a primary has {len(addresses) - 1} replicas at most."
        )
    return found


def _members_tls(given: Mapping[str, Any]) -> list[str]:
    """What they need to speak TLS to each other."""
    found = [
        f"{name} is {given[name]!r}: name a file on the server by its whole path."
        for name in ("redis_authority", "redis_sentinel_certificate")
        if not given[name].startswith("/")
    ]
    port = given["redis_sentinel_tls_port"]
    others = [name for name in ("redis_port", "redis_tls_port", "redis_sentinel_port") if given[name] == port]
    if others or not 1 <= port <= 65535:
        found.append(
            f"redis_sentinel_tls_port is {port}: it has to be between 1 and 65535"
            + (f", and not {others[0]}." if others else ".")
        )
    return found


def is_ipv4(text: str) -> bool:
    """Whether a text is an IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
