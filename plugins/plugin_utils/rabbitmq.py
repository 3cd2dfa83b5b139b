"""What the role rabbitmq works out before it writes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

# Settings that are the role's.
OWN_SETTINGS = re.compile(
    r"listeners\..*|cluster_formation\..*|cluster_partition_handling|ssl_options\.(certfile|keyfile|verify)|num_acceptors\..*"
    r"|management\.(tcp|ssl|load_definitions).*|load_definitions|definitions\..*|vm_memory_high_watermark\..*"
    r"|disk_free_limit\..*|consumer_timeout|loopback_users.*|default_(user|pass|vhost|permissions|user_tags).*"
)
AMOUNT = re.compile(r"([1-9][0-9]*)([kMGT]i?B|KiB|KB)?")
UNITS = {"": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"kiB": 2**10, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
MEBIBYTE = 1024**2
# A server that is no other's.
ALONE = "rabbit@localhost"
# Erlang and the management plugin take half of it before there is a message.
LEAST_MEGABYTES = 256
# Another kernel leaves a host some MiB more or less: no reason to restart.
STEP_MEGABYTES = 16


def node(given: Mapping[str, Any]) -> str:
    """The name by which a RabbitMQ with these arguments of the role keeps its data."""
    return f"rabbit@{given['rabbitmq_member'].replace('.', '-')}" if given["rabbitmq_members"] else ALONE


def amount_bytes(amount: str) -> int:
    """An amount as rabbitmq.conf has it, such as 512MB or 1GiB, in bytes.

    Raises:
        ValueError: it is no such text.
    """
    found = AMOUNT.fullmatch(amount)
    if not found:
        raise ValueError(f"{amount!r} is no amount")
    return int(found[1]) * UNITS[found[2] or ""]


def listener(address: str, port: int) -> str:
    """Where it listens, as rabbitmq.conf has it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def url(servers: Iterable[str], user: str, password: str, vhost: str) -> str:
    """The URL of a virtual host for Celery; of several servers they are joined with semicolons.

    Args:
        servers: scheme, address and port of each, such as amqp://10.0.0.5:5672.
        user: RabbitMQ's.
        password: the user's.
        vhost: the virtual host.
    """
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    return ";".join(f"{server.replace('://', f'://{login}', 1)}/{quote(vhost, safe='')}" for server in servers)


def memory_bytes(memory: str, percent: int, host_megabytes: int) -> int:
    """The memory above which publishers wait, in bytes.

    Args:
        memory: an amount; empty takes the percentage.
        percent: share of the host's memory, in whole steps.
        host_megabytes: the host's memory in MiB.

    Raises:
        ValueError: memory is no amount.
    """
    if memory:
        return amount_bytes(memory)
    share = host_megabytes * percent // 100
    return max(share // STEP_MEGABYTES * STEP_MEGABYTES, LEAST_MEGABYTES) * MEBIBYTE
