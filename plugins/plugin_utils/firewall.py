"""Rules of nftables."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any


def sources(addresses: Sequence[str]) -> list[str]:
    """What a rule of nftables begins with to be for some addresses: a text for each family, with a space at its end.

    Args:
        addresses: addresses and networks; host bits in a network are let be. None makes no rule, all of both families one without
            a word about addresses.
    """
    networks = [ipaddress.ip_network(address, strict=False) for address in addresses]
    four = _without_parts([net for net in networks if isinstance(net, ipaddress.IPv4Network)])
    six = _without_parts([net for net in networks if isinstance(net, ipaddress.IPv6Network)])
    everybody = [bool(family) and family[0].prefixlen == 0 for family in (four, six)]
    if all(everybody):
        return [""]
    return [
        f"meta nfproto {protocol} " if all_of_it else f"{word} saddr {{ {', '.join(_text(net) for net in family)} }} "
        for word, protocol, family, all_of_it in zip(
            ("ip", "ip6"), ("ipv4", "ipv6"), (four, six), everybody, strict=True
        )
        if family
    ]


def _without_parts(networks: Sequence[Any]) -> list[Any]:
    """Networks without those that lie in another one, which nftables does not take; each once, in order."""
    return [
        network
        for network in dict.fromkeys(networks)
        if not any(network != other and network.subnet_of(other) for other in networks)
    ]


def _text(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    return str(network.network_address if network.num_addresses == 1 else network)
