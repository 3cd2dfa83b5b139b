"""Where a host's neighbours reach it, by what its facts say; and what is open to the Internet."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.addresses import EVERY, is_public, private_address

PUBLIC = "93.184.215.14"


def facts(default: str = "", /, **interfaces: Any) -> dict[str, Any]:
    """A host's, with its default route's address and the addresses of its interfaces; a bridge's begin with "bridge"."""
    known: dict[str, Any] = {"default_ipv4": {"address": default} if default else {}, "interfaces": [*interfaces, "lo"]}
    addresses = [default] if default else []
    for name, given in interfaces.items():
        kind, *own = given if given[0] == "bridge" else ("ether", *given)
        first, *more = [{"address": address} for address in own if ":" not in address] or [{}]
        known[name.replace("-", "_")] = {"type": kind, "ipv4": first, "ipv4_secondaries": more}
        addresses += [address for address in own if ":" not in address and address != default]
    return {**known, "all_ipv4_addresses": addresses}


@pytest.mark.parametrize(
    ("known", "address"),
    [
        pytest.param(facts("10.0.0.5", eth0=["10.0.0.5"]), "10.0.0.5", id="a private network alone"),
        pytest.param(facts("10.0.0.5", eth0=["10.0.0.5"], eth1=["192.168.7.1"]), "10.0.0.5", id="two private networks"),
        pytest.param(facts(PUBLIC, eth0=[PUBLIC], eth1=["10.0.0.5"]), "10.0.0.5", id="a private network beside"),
        pytest.param(facts(PUBLIC, eth0=[PUBLIC, "172.31.0.9"]), "172.31.0.9", id="both on one interface"),
        pytest.param(facts(PUBLIC, eth0=[PUBLIC]), PUBLIC, id="the Internet alone"),
        pytest.param(facts(PUBLIC, eth0=[PUBLIC], eth1=["10.0.0.5"], wg0=["10.8.0.1"]), PUBLIC, id="which of two?"),
        pytest.param(
            facts(PUBLIC, eth0=[PUBLIC], eth1=["10.0.0.5"], docker0=["bridge", "172.17.0.1", "172.18.0.1"]),
            "10.0.0.5",
            id="a bridge for containers beside",
        ),
        pytest.param(
            facts(PUBLIC, eth0=[PUBLIC], **{"br-1f3a": ["bridge", "172.19.0.1"]}),
            PUBLIC,
            id="a bridge for containers alone",
        ),
        pytest.param(facts(PUBLIC, eth0=[PUBLIC], eth1=["169.254.8.1"]), PUBLIC, id="link-local is no network"),
        pytest.param(facts(PUBLIC, eth0=[PUBLIC], ts0=["100.101.102.103"]), PUBLIC, id="shared space may be anybody's"),
        pytest.param(facts("100.64.3.4", eth0=["100.64.3.4"]), "100.64.3.4", id="behind a provider's NAT"),
        pytest.param(facts("", eth0=["10.0.0.5"]), "10.0.0.5", id="no way out"),
        pytest.param(facts("", eth0=["2606:2800:21f::1"]), "", id="IPv6 alone"),
        pytest.param({}, "", id="no facts"),
    ],
)
def test_the_address_for_the_neighbours(known: dict[str, Any], address: str) -> None:
    """The default route's, unless it is public and the host has exactly one private address beside it."""
    assert private_address(known) == address


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((address, True) for address in (PUBLIC, "2606:2800:21f::1")),
        *(
            (address, False)
            for address in ("127.0.0.1", "10.9.8.7", "172.16.0.1", "192.168.0.1", "169.254.0.1", "100.64.0.1")
        ),
        *((address, False) for address in ("::1", "fd00::5", "fe80::1", "localhost", "data-1", "")),
    ],
)
def test_what_the_internet_reaches(address: str, public: bool) -> None:
    """Global addresses of both families."""
    assert is_public(address) is public


@pytest.mark.parametrize("every", EVERY)
def test_every_address_is_public_where_one_of_the_host_s_is(every: str) -> None:
    """Of either family."""
    assert not is_public(every, facts("10.0.0.5"))
    assert is_public(every, facts(PUBLIC))
    assert is_public(every, {**facts("10.0.0.5"), "all_ipv6_addresses": ["fe80::1", "2606:2800:21f::1"]})
