"""Rules of the servers that the application is taken away from, those of the group leaving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a server of these groups holds cannot be taken to another one by a run.
DATA = {"redis": "Redis", "rabbitmq": "RabbitMQ", "postgresql": "PostgreSQL"}


def problems(host: str, topology: Mapping[str, list[str]], leaving: list[str]) -> list[str]:
    """What is wrong with the groups of a host that is to leave.

    Args:
        host: its name.
        topology: the deployment's hosts by group.
        leaving: those that are to leave.
    """
    if host not in leaving:
        return []
    groups = [group for group, hosts in topology.items() if host in hosts]
    if data := [DATA[group] for group in groups if group in DATA]:
        return [holds_data(host, data)]
    if groups:
        return [
            f"The group leaving holds {host}, which is in {', '.join(groups)} too: a server that is to leave is moved there. Take it out of "
            f"{', '.join(groups)}, or out of leaving."
        ]
    return []


def holds_data(host: str, services: list[str]) -> str:
    """The sentence on a host that cannot leave."""
    return (
        f"The group leaving holds {host}, which holds the application's data ({' and '.join(services)}): with it, that would go. "
        "Take it out of leaving, and leave it in its group."
    )


def left_behind(host: str, application: str, seen: Mapping[str, Any]) -> list[str]:
    """What a host that is to leave holds, whatever the inventory says of it.

    Args:
        host: its name.
        application: the deployment's.
        seen: what the module `neighbours` returned.
    """
    known = seen["applications"].get(application, {})
    services = [*known.get("services", []), *(["rabbitmq-server"] if known.get("rabbitmq") else [])]
    return [holds_data(host, services)] if services else []


def has_left(application: str, seen: Mapping[str, Any]) -> bool:
    """Whether nothing of the application runs on a host, nor is served by it."""
    known = seen["applications"].get(application, {})
    return not (known.get("units") or known.get("names"))
