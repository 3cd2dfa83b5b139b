"""What the role redis works out before it writes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

# Settings that are the role's; a test compares the first line's with what the role proves.
OWN_SETTINGS = (
    *(
        "bind",
        "port",
        "protected-mode",
        "timeout",
        "databases",
        "maxmemory",
        "maxmemory-policy",
        "appendonly",
        "appendfsync",
        "aclfile",
    ),
    *(
        "save",
        "dir",
        "user",
        "include",
        "unixsocket",
        "unixsocketperm",
        "requirepass",
        "masterauth",
        "daemonize",
        "pidfile",
        "tls-port",
        "tls-cert-file",
        "tls-key-file",
        "tls-auth-clients",
        "tls-protocols",
        "tls-ca-cert-file",
        "tls-replication",
    ),
    # What keeps one primary among several servers.
    *(
        "replicaof",
        "slaveof",
        "masteruser",
        "replica-announce-ip",
        "replica-announce-port",
        "min-replicas-to-write",
        "min-replicas-max-lag",
    ),
)
MEMORY = re.compile(r"([1-9][0-9]*)([kmg]b?)?", re.IGNORECASE)
UNITS = {"": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}


def memory_bytes(maxmemory: str, percent: int, host_megabytes: int) -> int:
    """The memory for data, in bytes.

    Args:
        maxmemory: as redis.conf has it, where 1kb is 1024 bytes and 1k is 1000; empty takes the percentage.
        percent: share of the host's memory.
        host_megabytes: the host's memory in MiB.

    Raises:
        ValueError: maxmemory is no such text.
    """
    if not maxmemory:
        return host_megabytes * percent * 1024 * 1024 // 100
    found = MEMORY.fullmatch(maxmemory)
    if not found:
        raise ValueError(f"{maxmemory!r} is no amount of memory")
    return int(found[1]) * UNITS[(found[2] or "").lower()]


def agreement(
    primary_name: str, port: int, tls_port: int, sentinel_port: int, sentinel_tls_port: int, tls: bool, password: str
) -> dict[str, str]:
    """Tells what servers that replace each other have to have alike from anything else: they do not understand each other without.

    Args:
        primary_name: what the Sentinels call the primary.
        port: of Redis, in clear text.
        tls_port: of Redis.
        sentinel_port: of the Sentinels, in clear text.
        sentinel_tls_port: of the Sentinels.
        tls: whether they speak TLS to each other.
        password: of the members' users.

    Returns:
        A text of what the Sentinels have to have alike, and one of what Redis has to: a new name of the primary restarts no Redis.
    """
    ports = (tls_port, sentinel_tls_port) if tls else (port, sentinel_port)
    redis = [int(ports[0]), bool(tls), password]
    told = {"sentinel": [primary_name, int(ports[1]), *redis], "redis": redis}
    return {who: hashlib.sha256(json.dumps(what).encode()).hexdigest() for who, what in told.items()}


def url(servers: Iterable[str], user: str, password: str, database: int, query: str = "") -> str:
    """The URL of a database for Celery; several, of Sentinels, are joined with semicolons.

    Args:
        servers: scheme, address and port of each, such as sentinel://10.0.0.5:26379.
        user: Redis's.
        password: the user's.
        database: its number.
        query: what else a client has to know, such as ?ssl_ca_certs=/etc/ssl/own.pem; each of them has it.
    """
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    return ";".join(f"{server.replace('://', f'://{login}', 1)}/{database}{query}" for server in servers)
