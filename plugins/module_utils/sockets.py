"""What the kernel says of a host's sockets, in /proc/net."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# As the kernel numbers them.
ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSED, LISTENS = 1, 4, 5, 7, 10
# Where DHCP's own clients are answered.
DHCP_CLIENTS = {68, 546}


class Socket(NamedTuple):
    """One of them."""

    address: Address
    port: int
    peer: Address
    peer_port: int
    state: int


def listening_outside(proc: str = "/proc") -> dict[str, list[int]]:
    """The ports at which something waits for whoever comes, on an address that is not loopback; by protocol, `tcp` and `udp`.

    A socket of UDP that sends, too, may be among them.
    """
    tcp = {one.port for one in _sockets(proc, "tcp") if one.state == LISTENS and not one.address.is_loopback}
    udp = {one.port for one in _sockets(proc, "udp") if one.state == CLOSED and not one.address.is_loopback}
    return {"tcp": sorted(tcp), "udp": sorted(udp - DHCP_CLIENTS)}


def begun_here(proc: str = "/proc") -> list[Socket]:
    """The connections of TCP that this host has with others and that others may still send something in.

    Those to a port at which something listens are left out: the other side has begun them.
    """
    found = list(_sockets(proc, "tcp"))
    listening = {one.port for one in found if one.state == LISTENS}
    return [
        one
        for one in found
        if one.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2)
        and one.port not in listening
        and not one.address.is_loopback
    ]


def _sockets(proc: str, protocol: str) -> Iterator[Socket]:
    for path in (Path(proc, f"net/{protocol}"), Path(proc, f"net/{protocol}6")):
        for line in path.read_text(encoding="ascii").splitlines()[1:] if path.exists() else ():
            _, local, remote, state = line.split()[:4]
            yield Socket(*_place(local), *_place(remote), int(state, 16))


def _place(text: str) -> tuple[Address, int]:
    address, port = text.split(":")
    # Four bytes at a time, the last one first.
    words = [bytes.fromhex(address[start : start + 8])[::-1] for start in range(0, len(address), 8)]
    found = ipaddress.ip_address(b"".join(words))
    return getattr(found, "ipv4_mapped", None) or found, int(port, 16)
