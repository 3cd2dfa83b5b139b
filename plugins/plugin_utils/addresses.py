"""Which of a host's addresses its neighbours reach it at, and which are open to the Internet."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

# RFC 1918. Not the shared space of RFC 6598: whether that is a provider's or an overlay network, only the operator knows.
PRIVATE = tuple(ipaddress.ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
EVERY = ("*", "0.0.0.0", "::")  # noqa: S104  nothing is bound here


def private_address(facts: Mapping[str, Any]) -> str:
    """Where the stack's other servers reach a host, as far as its facts tell.

    Args:
        facts: the host's, with those of the network.

    Returns:
        The address of its default route; where that is public, or there is none, its private address when it has exactly one. Empty
        for a host without an IPv4 address that would do.
    """
    default = _default(facts)
    if default and not is_public(default):
        return default
    found = private_addresses(facts)
    return found[0] if len(found) == 1 else default


def private_addresses(facts: Mapping[str, Any]) -> list[str]:
    """A host's private addresses beside that of its default route, without those of bridges, which are for its own containers."""
    names = [str(name).replace("-", "_") for name in facts.get("interfaces", ())]
    interfaces = [facts[name] for name in names if name in facts]
    own = {
        entry["address"]
        for interface in interfaces
        if interface.get("type") == "bridge"
        for entry in (interface.get("ipv4") or {}, *interface.get("ipv4_secondaries", ()))
        if entry
    }
    return [
        address
        for address in facts.get("all_ipv4_addresses", ())
        if address not in own and address != _default(facts) and _is_private(address)
    ]


def is_public(address: str, facts: Mapping[str, Any] | None = None) -> bool:
    """Whether what listens on an address is open to the Internet.

    Args:
        address: an address, or one that stands for all of a host; no name is looked up.
        facts: the host's, for an address that stands for all.
    """
    if address in EVERY:
        known = facts or {}
        return any(is_public(own) for kind in ("ipv4", "ipv6") for own in known.get(f"all_{kind}_addresses", ()))
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _default(facts: Mapping[str, Any]) -> str:
    return str(facts.get("default_ipv4", {}).get("address", ""))


def _is_private(address: str) -> bool:
    return any(ipaddress.ip_address(address) in network for network in PRIVATE)


def is_ipv4(text: str) -> bool:
    """Whether a text is an IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
