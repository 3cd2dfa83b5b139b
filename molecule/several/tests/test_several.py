"""Two proxies, and a server that comes and goes: no request and no order is lost by it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from testinfra.host import Host
from visitor import Browser, Crowd

PROJECT = Path(__file__).resolve().parents[3]
LAB = PROJECT / ".lab/several"
NAME = "www.stockpot.example"
PROXIES = ("several-data", "several-one")
GUEST = "several-two"
Wait = Callable[..., Any]
Again = Callable[..., Any]


def server(name: str) -> Host:
    return testinfra.get_host(f"ssh://{name}", ssh_config=str(LAB / "ssh_config"), controlpersist=60)


def address(name: str) -> str:
    """Where the others, and visitors, reach a host."""
    return server(name).check_output("hostname -I").split()[0]


def browser(*proxies: str) -> Browser:
    """A visitor who knows these proxies."""
    return Browser(NAME, [address(name) for name in proxies], LAB / "certificate.pem")


def crowd() -> Crowd:
    """Some ask the first proxy first, some the second."""
    return Crowd([browser(*PROXIES), browser(*reversed(PROXIES))], pause=0.2)


def inventory(folder: Path, **groups: list[str]) -> Path:
    """The scenario's inventory with other hosts in these groups."""
    given = yaml.safe_load((PROJECT / "molecule/several/hosts.yml").read_text())
    for group, hosts in groups.items():
        given["demo"]["children"][group] = {"hosts": {host: {} for host in hosts}}
    # The application is found from the inventory's folder, as in a checkout.
    place = folder / "inventories/several"
    place.mkdir(parents=True)
    (folder / "app").symlink_to(PROJECT / "app")
    (place / "group_vars").symlink_to(PROJECT / "group_vars")
    (place / "hosts.yml").write_text(yaml.safe_dump(given))
    return place / "hosts.yml"


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    """The guest serves and works, with Beat and Flower."""
    both = ["several-one", GUEST]
    return inventory(tmp_path / "joined", web=both, workers=both, beat=[GUEST], flower=[GUEST])


@pytest.fixture
def leaving(tmp_path: Path) -> Path:
    """The guest is to leave, and all is as it was without it."""
    return inventory(tmp_path / "leaving", leaving=[GUEST])


def main_pids(name: str) -> dict[str, str]:
    """The main process of each of the application's services that run on a server, and of what it stands on."""
    asked = "'stockpot-*.service' nginx.service redis-server.service 'postgresql@*.service'"
    shown = server(name).check_output(f"systemctl show --property=Id,MainPID {asked}").strip()
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.split("\n\n") if block]
    return {block["Id"]: block["MainPID"] for block in blocks if block["MainPID"] != "0"}


def said(name: str, unit: str, word: str) -> float:
    """When systemd last said a word of a unit; seconds since the epoch."""
    lines = server(name).check_output(f"journalctl --no-pager --output=short-unix --unit={unit}").splitlines()
    return max(float(line.split()[0]) for line in lines if f" {word} " in line)


def workers_in_flower(visitor: Browser) -> str:
    """What Flower says of the workers that have answered it."""
    password = yaml.safe_load((LAB / "secrets.yml").read_text())["all"]["vars"]["vault_flower_password"]
    login = {"Authorization": "Basic " + base64.b64encode(f"flower:{password}".encode()).decode()}
    answer = visitor.ask("/flower/api/workers?refresh=1", headers=login)
    assert answer.status == 200
    return answer.text


def all_paid(orders: list[str], wait_until: Wait) -> None:
    """None of them is lost."""
    visitor = browser(PROXIES[0])
    assert orders
    for order in orders:
        wait_until(lambda order=order: visitor.is_paid(order), timeout=120)


@pytest.mark.parametrize("proxy", PROXIES)
def test_each_proxy_is_the_whole_site(proxy: str, wait_until: Wait) -> None:
    """With the same certificate, which a browser insists on."""
    visitor = browser(proxy)
    page = visitor.ask("/")
    assert page.status == 200
    static = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    assert static
    assert [visitor.ask(path).status for path in static] == [200] * len(static)
    assert visitor.ask("/readyz").status == 200
    # An upload is handed out by the project alone, a figure to nobody from outside, Flower's pages with its password.
    assert visitor.ask("/media/anything.webp").status == 404
    assert visitor.ask("/metrics").status == 403
    assert visitor.ask("/flower/").status == 401
    wait_until(lambda: "critical@several-one" in workers_in_flower(visitor))


def test_an_order_is_the_same_behind_each_proxy(wait_until: Wait) -> None:
    first, second = (browser(proxy) for proxy in PROXIES)
    placed = first.order()
    assert placed.status == 302
    assert wait_until(lambda: second.is_paid(placed.headers["Location"]))


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_may_stop_while_visitors_ask(proxy: str, wait_until: Wait) -> None:
    with crowd().at_work() as visitors:
        wait_until(lambda: visitors.answered > 20)
        server(proxy).check_output("systemctl stop nginx")
        try:
            then = visitors.answered
            wait_until(lambda: visitors.answered > then + 20)
        finally:
            server(proxy).check_output("systemctl start nginx")
        then = visitors.answered
        wait_until(lambda: visitors.answered > then + 20)
    assert visitors.failures == []


def asked_through(proxy: str) -> str:
    """What a proxy has written of its visitors."""
    return server(proxy).check_output("cat /var/log/nginx/access.log")


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """What runs no more, or was started again."""
    return {unit for unit, pid in before.items() if after.get(unit) != pid}


# Flower and Beat move, and the watch is told.
MOVED = {"stockpot-beat.service", "stockpot-flower.service", "stockpot-watch.service"}


def test_a_server_joins_and_the_others_go_on(converge_again: Again, joined: Path, wait_until: Wait) -> None:
    """It serves and works after one run."""
    before = {name: main_pids(name) for name in PROXIES}
    with crowd().at_work() as visitors:
        result = converge_again(hosts=joined)
        assert result.returncode == 0, result.stdout[-4000:]
        then = visitors.answered
        wait_until(lambda: visitors.answered > then + 20)
    assert visitors.failures == []
    for name in PROXIES:
        assert changed(before[name], main_pids(name)) <= MOVED
        assert f"upstream={address(GUEST)}:8000" in asked_through(name)
    wait_until(lambda: "critical@several-two" in workers_in_flower(browser(PROXIES[0])))
    assert said("several-one", "stockpot-beat", "Stopped") < said(GUEST, "stockpot-beat", "Started")
    all_paid(visitors.orders, wait_until)


def test_a_check_of_its_leaving_changes_nothing(converge_again: Again, leaving: Path) -> None:
    before = {name: main_pids(name) for name in (*PROXIES, GUEST)}
    result = converge_again("--check", "--diff", hosts=leaving)
    assert result.returncode == 0, result.stdout[-4000:]
    assert "stockpot-worker-critical.service" in result.stdout
    assert {name: main_pids(name) for name in before} == before


def test_a_server_leaves_and_the_others_go_on(converge_again: Again, leaving: Path, wait_until: Wait) -> None:
    """One run takes Beat and Flower elsewhere, and the application away; the next changes nothing."""
    before = {name: main_pids(name) for name in PROXIES}
    with crowd().at_work() as visitors:
        result = converge_again(hosts=leaving)
        assert result.returncode == 0, result.stdout[-4000:]
        then = visitors.answered
        wait_until(lambda: visitors.answered > then + 20)
    assert visitors.failures == []
    for name in PROXIES:
        assert changed(before[name], main_pids(name)) <= MOVED
    assert main_pids(GUEST) == {}
    assert said(GUEST, "stockpot-beat", "Stopped") < said("several-one", "stockpot-beat", "Started")
    gone = "ls -d /etc/stockpot /srv/stockpot/releases /etc/systemd/system/stockpot-* 2>/dev/null"
    assert server(GUEST).run(gone).stdout == ""
    # The table of its workers, each of which ended what it did.
    assert re.search(r"critical@several-two .*stopped", result.stdout)
    all_paid(visitors.orders, wait_until)

    asked = f"host={address('several-data')} user=stockpot dbname=stockpot password=wrong connect_timeout=5"
    ask = "/srv/stockpot/current/venv/bin/python -c \"import psycopg; psycopg.connect('{}')\""
    assert "password authentication failed" in server("several-one").run(ask.format(asked)).stderr
    rules = server("several-data").check_output("cat /etc/postgresql/15/main/pg_hba.conf")
    assert address("several-one") in rules
    assert address(GUEST) not in rules

    again = converge_again(hosts=leaving)
    assert again.returncode == 0, again.stdout[-4000:]
    assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}


def test_a_server_with_data_does_not_leave(converge_again: Again, tmp_path: Path) -> None:
    """Named before anything changes, though the inventory says that the data were elsewhere."""
    result = converge_again(
        hosts=inventory(
            tmp_path / "data", leaving=["several-data"], redis=[], postgresql=[], flower=[], proxy=["several-one"]
        )
    )
    assert result.returncode != 0
    assert "The group leaving holds several-data, which holds the application's data" in result.stdout
    assert set(re.findall(r"changed=(\d+)", result.stdout)) == {"0"}
