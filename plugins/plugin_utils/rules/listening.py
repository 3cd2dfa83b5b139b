"""Rules about where services listen for the stack's other servers: on a private network, not on the Internet unless that is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.plugin_utils import arguments
from ansible_collections.stockpot.stack.plugins.plugin_utils.addresses import is_ipv4, is_public, private_addresses


class Service(NamedTuple):
    """What listens on the hosts of a group, with the variables that hold its addresses and its port."""

    name: str
    group: str
    addresses: str
    port: str


SERVICES = (
    Service("Redis", "redis", "redis_bind_addresses", "redis_port"),
    Service("RabbitMQ", "rabbitmq", "rabbitmq_bind_addresses", "rabbitmq_port"),
    Service("PostgreSQL", "postgresql", "postgresql_listen_addresses", "postgresql_port"),
    # Its address holds its port; a path is no address.
    Service("gunicorn", "web", "django_app_bind", "web_port"),
    Service("Flower", "flower", "flower_address", "flower_port"),
)
MEANT = "or set public_service_addresses: true, if a firewall keeps strangers away."


def problems(variables: Mapping[str, Any], loader: DataLoader, topology: Mapping[str, list[str]]) -> list[str]:
    """What is wrong with the addresses of one host.

    Args:
        variables: the host's variables as an action gets them, its facts among them.
        loader: the plugin's own.
        topology: the deployment's hosts by group.

    Returns:
        A sentence for each mistake, beginning with the variable's name.
    """
    names = ["private_address", *(name for service in SERVICES for name in (service.addresses, service.port))]
    # What cannot be computed, the roles tell.
    given, _ = arguments.typed({name: {"type": "raw"} for name in names if name in variables}, variables, loader)
    host, facts = variables["inventory_hostname"], variables.get("ansible_facts", {})
    are_several = len({name for names in topology.values() for name in names}) > 1
    private = given.get("private_address") if are_several else None
    found, for_others = [], []
    for service in SERVICES:
        if host not in topology[service.group]:
            continue
        told = f"{service.name} (port {given.get(service.port)})"
        for address in _addresses(given.get(service.addresses)):
            if address == private:
                for_others.append(told)
            elif is_public(address, facts):
                found.append(
                    f"{service.addresses} holds {address} on {host}, and that is public: {told} would be open to the Internet. "
                    f"Name a private address, {MEANT}"
                )
    if private is None or not (for_others or _is_named_to_others(host, topology)):
        return found
    return [*_private_address(str(private), host, facts, for_others), *found]


def _private_address(private: str, host: str, facts: Mapping[str, Any], services: list[str]) -> list[str]:
    """What is wrong with the address at which the others reach a host, and at which services of it listen."""
    others = private_addresses(facts)
    choice = f" It has {', '.join(others)}." if others else ""
    if not is_ipv4(private):
        return [
            f"private_address is {private!r} on {host}: give it the IPv4 address at which the other servers reach it.{choice}"
        ]
    if is_public(private) and services:
        return [
            f"private_address is {private} on {host}, and that is public: {', '.join(services)} would be open to the Internet. "
            f"Set it to the host's address on a private network, {MEANT}{choice}"
        ]
    if is_public(private) and len(others) > 1:
        return [
            f"private_address is {private} on {host}, for it has several private ones: give it the one at which the other servers "
            f"know it.{choice}"
        ]
    return []


def _is_named_to_others(host: str, topology: Mapping[str, list[str]]) -> bool:
    """Whether a service on another server lets a host in by its address, or web servers elsewhere believe it as their proxy."""
    code = {*topology["web"], *topology["workers"], *topology["beat"]}
    asked_by = {
        "postgresql": code,
        "redis": code | set(topology["flower"]),
        "rabbitmq": code | set(topology["flower"]),
        "web": set(topology["proxy"]),
        "flower": set(topology["proxy"]),
    }
    return any(host in clients and set(topology[group]) - {host} for group, clients in asked_by.items())


def _addresses(value: Any) -> list[str]:
    """The addresses in a variable, be it a list or one."""
    return [_address(text) for text in ([value] if isinstance(value, str) else value or []) if isinstance(text, str)]


def _address(text: str) -> str:
    """An address without a port, and without Redis's dash before one that may be missing."""
    text = text.removeprefix("-")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
