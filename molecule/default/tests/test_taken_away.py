"""A server that has an application: another one is kept from taking what is its, and it goes and comes back with what it stored."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import managed
import pytest
from shop import Shop
from test_site import main_pids, services
from testinfra.host import Host

# The files that no application leaves behind.
OWN = "ls -d /etc/stockpot /srv/stockpot/releases /usr/local/bin/stockpot-* /etc/nginx/sites/stockpot.conf /etc/systemd/system/stockpot-* "
OWN += "/etc/supervisor/conf.d/* /etc/systemd/system/supervisor.service.d/* /etc/tmpfiles.d/stockpot-processes.conf"


@pytest.fixture
def shop(host_name: str, published: Callable[[str, int], tuple[str, int]]) -> Shop:
    """The site of the host under test."""
    return Shop(f"https://localhost:{published(host_name, 443)[1]}")


def changes(output: str, host_name: str) -> int:
    """How many tasks changed a host, from the end of a play's output."""
    [count] = re.findall(rf"^{host_name} .*changed=(\d+)", output, re.MULTILINE)
    return int(count)


def test_another_application_is_refused_what_this_one_has(
    host: Host, host_name: str, converge_again: Callable[..., Any]
) -> None:
    """Each clash by its variable, with what to set; nothing changes."""
    before = main_pids(host)
    refused = converge_again("-e", json.dumps({"app_name": "blog"}), limit=host_name)
    said = " ".join(refused.stdout.split())
    assert refused.returncode != 0
    assert changes(refused.stdout, host_name) == 0
    for words in (
        f"redis_instance: redis-server on {host_name} is the Redis of stockpot",
        "redis_instance: blog, redis_port: 6380",
        "postgresql_cluster: blog, postgresql_port: 5433",
        "flower_port is 5555, which stockpot",
        "site_names holds localhost, which stockpot",
    ):
        assert words in said, refused.stdout
    assert main_pids(host) == before


@pytest.mark.long
def test_it_is_taken_away_and_comes_back_with_what_it_stored(
    host: Host, host_name: str, shop: Shop, converge_again: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    """Foretold, done in one run, done once; nginx goes on, and its data waits."""
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid")
    before = main_pids(host)
    gone = ("-e", json.dumps({"app_state": "absent"}))
    foretold = converge_again("--check", *gone, limit=host_name)
    assert foretold.returncode == 0, foretold.stdout
    assert changes(foretold.stdout, host_name) > 0
    assert main_pids(host) == before

    first, second = (converge_again(*gone, limit=host_name) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stdout + second.stdout
    assert (changes(first.stdout, host_name) > 0, changes(second.stdout, host_name)) == (True, 0), second.stdout
    assert "What it has stored stays" in " ".join(first.stdout.split())
    assert host.run(OWN).stdout == ""
    running = main_pids(host)
    assert running.pop("nginx") == before["nginx"]
    assert set(running.values()) == {"0"}

    back = converge_again(limit=host_name)
    assert back.returncode == 0, back.stdout
    assert shop.state(order) == "paid"
    assert managed.all_run(host, services(host))
