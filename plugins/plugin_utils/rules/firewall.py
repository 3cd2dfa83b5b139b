"""Rules of the role firewall."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.stockpot.stack.plugins.module_utils import ssh
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.patterns import application_problems, is_network

PORTS = range(1, 65536)
# A new connection, its retry and the way back need some; longer, and whoever is shut out takes the server for lost.
TAKE_BACK_SECONDS = range(20, 601)


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of the role firewall; a sentence each."""
    name = given["firewall_application"]
    found = application_problems("firewall_application", name) if name else []
    if not given["firewall_ssh_addresses"]:
        found.append(
            "firewall_ssh_addresses is empty: nobody could log in. Name an address or network, such as 0.0.0.0/0."
        )
    if not given["firewall_ssh_ports"]:
        found.append(
            "firewall_ssh_ports is empty: nobody could log in. Name the port at which sshd listens, such as 22."
        )
    found += _addresses("firewall_ssh_addresses", given["firewall_ssh_addresses"])
    found += _ports("firewall_ssh_ports", given["firewall_ssh_ports"])
    for variable in ("firewall_services", "firewall_extra_services"):
        for service in given[variable]:
            found += _service(variable, service)
    seconds = given["firewall_take_back_seconds"]
    if seconds not in TAKE_BACK_SECONDS:
        found.append(
            f"firewall_take_back_seconds is {seconds}: it has to be between {TAKE_BACK_SECONDS[0]} and {TAKE_BACK_SECONDS[-1]}."
        )
    return found


def shut_out(given: Mapping[str, Any], by: ssh.Connection) -> list[str]:
    """Why the rules of the role firewall would not let in the run that loads them; a sentence at most."""
    said = ssh.shut_out(by, {name: given[f"firewall_{name}"] for name in ("ssh_addresses", "ssh_ports")})
    return [said] if given["firewall_enabled"] and said else []


def _service(variable: str, service: Mapping[str, Any]) -> list[str]:
    name = service["name"]
    about = f"{variable}: {name!r}"
    found = []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _./-]{0,59}", name):
        found.append(f"{about} cannot be its name: take at most 60 letters, digits, spaces and any of _ . / -")
    if not service["ports"]:
        found.append(f"{about} has no ports: name those at which it listens, or take it out.")
    return [*found, *_ports(about, service["ports"]), *_addresses(about, service["addresses"])]


def _ports(about: str, ports: Sequence[int]) -> list[str]:
    found = [f"{about} has the port {port}: it has to be between 1 and 65535." for port in ports if port not in PORTS]
    twice = sorted({port for port in ports if ports.count(port) > 1})
    return [*found, *(f"{about} has the port {port} twice: take one of them out." for port in twice)]


def _addresses(about: str, addresses: Sequence[str]) -> list[str]:
    return [
        f"{about} holds {address!r}, which is no IP address and no network: names are not looked up."
        for address in addresses
        if not is_network(address)
    ]
