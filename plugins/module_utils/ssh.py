"""How a run reaches the host that it is on, and whether a firewall's rules would go on letting it in."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Connection(NamedTuple):
    """A connection by SSH."""

    address: str
    """Where it comes from."""
    server_address: str
    """Where it came to."""
    port: int


def connection() -> Connection | None:
    """The one that this run comes by, as sshd tells its processes; None without SSH.

    sudo clears the variable, so the processes above this one are asked.
    """
    process = os.getpid()
    while process > 1:
        variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        for variable in variables:
            if variable.startswith(b"SSH_CONNECTION="):
                address, _, server_address, port = variable.decode().partition("=")[2].split()
                return Connection(address.partition("%")[0], server_address.partition("%")[0], int(port))
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        process = int(status.rpartition(")")[2].split()[1])
    return None


def shut_out(by: Connection | None, given: Mapping[str, Any]) -> str:
    """Why rules would not let a connection in; empty where they would, or where there is none.

    Args:
        by: the connection.
        given: `ssh_addresses` and `ssh_ports`, those from which and at which SSH is let in.
    """
    if by is None:
        return ""
    if by.port not in given["ssh_ports"]:
        return f"firewall_ssh_ports is {given['ssh_ports']}, but this run reaches the server at port {by.port}: add it."
    if not is_among(by.address, given["ssh_addresses"]):
        return f"firewall_ssh_addresses does not hold {by.address}, from which this run reaches the server: add it, or a network that holds it."
    return ""


def is_among(address: str, networks: Sequence[str]) -> bool:
    """Whether an address is in one of several networks."""
    found = ipaddress.ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in ipaddress.ip_network(network, strict=False) for network in networks)
