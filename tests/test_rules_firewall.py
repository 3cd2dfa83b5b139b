"""What the role firewall says about arguments that it cannot work with, and what it makes of addresses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.stockpot.stack.plugins.plugin_utils.firewall import sources
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.firewall import problems
from rendering import render

ROLE = Path(__file__).resolve().parent.parent / "roles/firewall"
GIVEN = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
EVERYBODY = ["0.0.0.0/0", "::/0"]
SERVICE = {"name": "node exporter", "ports": [9100], "addresses": ["10.0.0.9"], "protocol": "tcp"}


def test_the_defaults_are_right() -> None:
    assert problems(GIVEN) == []


def test_services_of_either_family_and_protocol_are_right() -> None:
    services = [
        SERVICE,
        {**SERVICE, "addresses": ["10.0.0.0/8", "fd00::7"], "protocol": "udp"},
        {**SERVICE, "addresses": []},
    ]
    assert problems({**GIVEN, "firewall_services": services, "firewall_extra_services": services}) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"firewall_application": "My Shop"}, "firewall_application is 'My Shop'"),
        ({"firewall_ssh_addresses": []}, "firewall_ssh_addresses is empty: nobody could log in"),
        ({"firewall_ssh_addresses": ["office"]}, "firewall_ssh_addresses holds 'office', which is no IP address"),
        ({"firewall_ssh_ports": []}, "firewall_ssh_ports is empty: nobody could log in"),
        ({"firewall_ssh_ports": [0]}, "firewall_ssh_ports has the port 0"),
        ({"firewall_ssh_ports": [22, 22]}, "firewall_ssh_ports has the port 22 twice"),
        ({"firewall_take_back_seconds": 5}, "firewall_take_back_seconds is 5: it has to be between 20 and 600"),
        ({"firewall_take_back_seconds": 3600}, "firewall_take_back_seconds is 3600"),
        (
            {"firewall_extra_services": [{**SERVICE, "name": 'x" accept'}]},
            "firewall_extra_services: 'x\" accept' cannot be its name",
        ),
        (
            {"firewall_extra_services": [{**SERVICE, "ports": []}]},
            "firewall_extra_services: 'node exporter' has no ports",
        ),
        ({"firewall_extra_services": [{**SERVICE, "ports": [70000]}]}, "'node exporter' has the port 70000"),
        (
            {"firewall_services": [{**SERVICE, "addresses": ["db.example.com"]}]},
            "firewall_services: 'node exporter' holds 'db.example.com', which is no IP address",
        ),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], said: str) -> None:
    found = problems({**GIVEN, **changes})
    assert any(re.search(re.escape(said), sentence) for sentence in found), found
    assert len(found) == 1


@pytest.mark.parametrize(
    ("addresses", "rules"),
    [
        ([], []),
        (EVERYBODY, [""]),
        ([*EVERYBODY, "10.0.0.1"], [""]),
        (["0.0.0.0/0"], ["meta nfproto ipv4 "]),
        (["::/0", "10.0.0.1"], ["ip saddr { 10.0.0.1 } ", "meta nfproto ipv6 "]),
        (["10.0.0.1", "10.0.0.2", "10.0.0.1"], ["ip saddr { 10.0.0.1, 10.0.0.2 } "]),
        # nftables takes no network beside one that holds it, and host bits are no mistake.
        (["10.1.2.3", "10.1.2.9/8", "fd00::1"], ["ip saddr { 10.0.0.0/8 } ", "ip6 saddr { fd00::1 } "]),
    ],
)
def test_addresses_become_the_beginnings_of_rules(addresses: list[str], rules: list[str]) -> None:
    """None is nobody."""
    assert sources(addresses) == rules


def test_the_rules_of_an_application_name_ssh_and_each_service() -> None:
    services = [
        SERVICE,
        {"name": "site", "ports": [80, 443], "addresses": EVERYBODY},
        {"name": "nobody", "ports": [1], "addresses": []},
    ]
    rules = render("firewall", "application.nft.j2", firewall_application="shop", firewall_services=services)
    assert [line for line in rules.splitlines() if not line.startswith("#")] == [
        'tcp dport { 22 } accept comment "SSH (shop)"',
        'ip saddr { 10.0.0.9 } tcp dport { 9100 } accept comment "node exporter (shop)"',
        'tcp dport { 80, 443 } accept comment "site (shop)"',
    ]
