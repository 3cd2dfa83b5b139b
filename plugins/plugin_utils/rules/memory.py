"""What may be taken of a host's memory together, and that it is no more than the host has.

Limits are ceilings, rarely reached at once; added up they say whether one of them can starve another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ansible_collections.stockpot.stack.plugins.plugin_utils import rabbitmq, redis

MEBIBYTE = 1024**2
# The arguments of the role redis for the cache's own, among those of the roles.
CACHE = "redis (cache)"
# Debian, SSH, the journal and nginx.
SYSTEM_MEGABYTES = 192
# Redis while it rewrites its append-only file, RabbitMQ while it collects garbage, and PostgreSQL's connections and maintenance, beside what they keep.
OVERHEAD = 1.5
# A Sentinel, and what a primary keeps for replicas that were away for a moment.
MEMBER_MEGABYTES = 64
# As systemd.resource-control(5) has it for MemoryMax=.
LIMIT = re.compile(r"(?:(\d+(?:\.\d+)?)([KMGT]?)|(\d+(?:\.\d+)?)%)")
# As postgresql.conf has it; without a unit these are blocks.
BUFFERS = re.compile(r"(\d+)\s*(B|kB|MB|GB|TB)?")
BLOCK = 8192
VARIABLES = {
    "web": "django_app_web_memory_max",
    "beat": "celery_beat_memory_max",
    "watch": "celery_watch_memory_max",
    "flower": "flower_memory_max",
}


class Share(NamedTuple):
    """What one process may take, in MiB (None: it has no limit), and the variable that says so."""

    name: str
    megabytes: int | None
    variable: str


class Memory(NamedTuple):
    """A host's memory in MiB, and what runs there."""

    host: str
    megabytes: int
    shares: list[Share]

    @property
    def together(self) -> int:
        """The sum of what has a limit, in MiB."""
        return sum(share.megabytes or 0 for share in self.shares)

    def __str__(self) -> str:
        """A sentence for the operator."""
        unlimited = ", ".join(share.name for share in self.shares if share.megabytes is None)
        return (
            f"What runs on {self.host} may take {self.together} MiB of its {self.megabytes} MiB together"
            + (f", not counting {unlimited}, which has no limit" if unlimited else "")
            + f": {listed(self.shares)}."
        )


def of_host(host: str, megabytes: int, given: Mapping[str, Mapping[str, Any]]) -> Memory:
    """What may be taken on a host.

    Args:
        host: its name.
        megabytes: its memory in MiB.
        given: by role, the arguments of those that the host gets; by CACHE those of the cache's own Redis.
    """
    shares = [Share("the system", SYSTEM_MEGABYTES, "")]
    for role, name, variable in (
        ("redis", "Redis", "redis_maxmemory"),
        (CACHE, "the cache's Redis", "redis_cache_instance"),
    ):
        if arguments := given.get(role):
            data = redis.memory_bytes(arguments["redis_maxmemory"], arguments["redis_memory_percent"], megabytes)
            shares.append(Share(name, int(data * OVERHEAD) // MEBIBYTE, variable))
            if arguments["redis_members"]:
                shares.append(Share("Sentinel", MEMBER_MEGABYTES, ""))
    if arguments := given.get("rabbitmq"):
        kept = rabbitmq.memory_bytes(arguments["rabbitmq_memory"], arguments["rabbitmq_memory_percent"], megabytes)
        shares.append(Share("RabbitMQ", int(kept * OVERHEAD) // MEBIBYTE, "rabbitmq_memory"))
    if arguments := given.get("postgresql"):
        buffers = buffers_bytes(arguments, megabytes)
        own = "shared_buffers" in arguments["postgresql_settings"]
        variable = "postgresql_settings (shared_buffers)" if own else "postgresql_memory_percent"
        shares.append(Share("PostgreSQL", int(buffers * OVERHEAD) // MEBIBYTE, variable))
    for process in given.get("process_manager", {}).get("process_manager_definitions", ()):
        name = process["name"]
        variable = VARIABLES.get(
            name,
            "celery_workers or celery_worker_defaults" if name.startswith("worker-") else "django_app_processes_extra",
        )
        shares.append(Share(name, limit_megabytes(process.get("memory_max", ""), megabytes), variable))
    return Memory(host, megabytes, shares)


def problems(memory: Memory, overcommit_percent: int) -> list[str]:
    """That the processes of a host may not take more together than it has.

    Args:
        memory: what may be taken.
        overcommit_percent: share of the host's memory that the limits may add up to.
    """
    if memory.together * 100 <= memory.megabytes * overcommit_percent:
        return []
    variables = list(dict.fromkeys(share.variable for share in memory.shares if share.variable))
    return [
        f"memory_overcommit_percent is {overcommit_percent}, but what runs on {memory.host} may take {memory.together} MiB together, "
        f"and it has {memory.megabytes} MiB: {listed(memory.shares)}. Lower {', '.join(variables)}; move something to another "
        f"host; or, where these are never reached at once, allow {-(-memory.together * 100 // memory.megabytes)} percent."
    ]


def listed(shares: Iterable[Share]) -> str:
    """Each with its MiB, the largest first."""
    ordered = sorted(shares, key=lambda share: -(share.megabytes or 0))
    return ", ".join(f"{share.name} {share.megabytes or 'without a limit'}" for share in ordered)


def limit_megabytes(limit: str, host_megabytes: int) -> int | None:
    """A unit's memory limit in MiB; None when there is none.

    Args:
        limit: as MemoryMax= has it; empty or infinity for none.
        host_megabytes: the host's memory in MiB, for a percentage.

    Raises:
        ValueError: it is no such text.
    """
    if limit in ("", "infinity"):
        return None
    found = LIMIT.fullmatch(limit)
    if not found:
        raise ValueError(f"{limit!r} is no limit of memory")
    number, unit, percent = found.groups()
    if percent:
        return int(host_megabytes * float(percent) / 100)
    return int(float(number) * 1024 ** " KMGT".index(unit or " ") / MEBIBYTE)


def buffers_bytes(given: Mapping[str, Any], host_megabytes: int) -> int:
    """PostgreSQL's shared_buffers, in bytes.

    Args:
        given: the arguments of postgresql.
        host_megabytes: the host's memory in MiB.
    """
    own = BUFFERS.fullmatch(str(given["postgresql_settings"].get("shared_buffers", "")).strip("'"))
    if not own:
        return host_megabytes * given["postgresql_memory_percent"] // 100 * MEBIBYTE
    sizes = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
    return int(own[1]) * (sizes[own[2]] if own[2] else BLOCK)
