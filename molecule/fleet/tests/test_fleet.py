"""Several servers: who reaches whom, who does not, and that it works as one site."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import testinfra
import yaml
from scan import open_ports_of
from shop import WORKERS, Shop
from testinfra.host import Host

PROJECT = Path(__file__).resolve().parents[3]
LAB = PROJECT / ".lab/fleet"
WEB = ("fleet-app-1", "fleet-app-2")
Wait = Callable[..., Any]


def server(name: str) -> Host:
    """One of the fleet's hosts."""
    return testinfra.get_host(f"ssh://{name}", ssh_config=str(LAB / "ssh_config"), controlpersist=60)


def address(name: str) -> str:
    """Where the others reach a host."""
    return server(name).check_output("hostname -I").split()[0]


@pytest.fixture(scope="module")
def site(published: Callable[[str, int], tuple[str, int]]) -> str:
    """The site's address, through the proxy."""
    return f"https://localhost:{published('fleet-proxy', 443)[1]}"


@pytest.fixture(scope="module")
def visitor() -> requests.Session:
    """A visitor without a proxy of its own."""
    session = requests.Session()
    session.trust_env = False
    session.verify = False
    return session


@pytest.fixture(scope="module")
def web_servers() -> list[str]:
    """The web servers' own addresses, behind the proxy."""
    return [f"https://{address(name)}:8000" for name in WEB]


def listening_outside(name: str) -> set[str]:
    """Ports that answer on an address which is not loopback."""
    lines = server(name).check_output("ss -Hltn").splitlines()
    sockets = [line.split()[3].rsplit(":", 1) for line in lines]
    return {port for ip, port in sockets if not ip.startswith(("127.", "[::1]"))}


def test_an_order_is_paid_across_the_servers(site: str, visitor: requests.Session, wait_until: Wait) -> None:
    """Proxy, web, database, broker and worker are on different servers."""
    page = visitor.get(site + "/", timeout=30)
    assert page.status_code == 200
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    product = re.search(r'<option value="(\d+)"', page.text)
    assert product
    data = form | {"product": product[1], "quantity": "1"}
    placed = visitor.post(site + "/", data=data, headers={"Referer": site + "/"}, timeout=30)
    assert placed.status_code == 200
    assert wait_until(lambda: visitor.get(placed.url + "state.json", timeout=30).json()["state"] == "paid")


def test_the_proxy_serves_static_files_of_the_release(site: str, visitor: requests.Session) -> None:
    """The files' hashed names are those of the pages that the web servers render."""
    page = visitor.get(site + "/", timeout=30).text
    paths = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert paths
    for path in paths:
        assert visitor.get(site + path, timeout=30).status_code == 200, path


def figures(url: str) -> str:
    """A page for Prometheus, as the proxy's own host is answered."""
    program = "import ssl, sys, urllib.request as r; context = ssl._create_unverified_context()"
    program += "; print(r.urlopen(sys.argv[1], timeout=30, context=context).read().decode())"
    return server("fleet-proxy").check_output("python3 -c %s %s", program, url)


def added_up(page: str, name: str, /, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    samples = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", page, re.MULTILINE)
    wanted = {f'{label}="{value}"' for label, value in labels.items()}
    return sum(float(value) for found, value in samples if wanted <= set(re.findall(r'\w+="[^"]*"', found)))


def test_every_web_server_tells_the_same_of_the_fleet(site: str, web_servers: list[str], wait_until: Wait) -> None:
    """Prometheus may ask any of them, or the proxy: what the workers of both servers did is counted once."""
    shop = Shop(site)
    orders = [shop.order() for _ in range(5)]
    wait_until(lambda: all(shop.state(order) == "paid" for order in orders))
    run = {"name": "payments.tasks.process_payment", "state": "SUCCESS"}
    count = f"from core.models import TaskRun; print(TaskRun.objects.filter(**{run}).count())"
    recorded = int(server(WEB[0]).check_output("stockpot-manage shell --verbosity=0 --command=%s", count))
    assert recorded >= 5

    def agreed() -> str:
        pages = {figures(f"{address}/metrics") for address in [*web_servers, "https://localhost"]}
        assert len(pages) == 1
        page = pages.pop()
        assert added_up(page, "celery_task_runs_total", **run) == recorded
        return page

    page = wait_until(agreed)
    assert added_up(page, "celery_worker_up") == 2 * len(WORKERS)
    assert "http_requests_total" not in page


def test_the_requests_of_the_web_servers_add_up(site: str, visitor: requests.Session, web_servers: list[str]) -> None:
    """Each counts its own."""

    def answered() -> list[float]:
        pages = [figures(f"{address}/metrics/web") for address in web_servers]
        return [
            added_up(page, "http_requests_total", view="healthz", host=host)
            for page, host in zip(pages, WEB, strict=True)
        ]

    before = answered()
    for _ in range(20):
        assert visitor.get(site + "/healthz", timeout=30).status_code == 200
    grown = [now - then for now, then in zip(answered(), before, strict=True)]
    assert sum(grown) == 20
    assert all(grown), grown


def test_the_site_stays_up_when_one_web_server_goes(site: str, visitor: requests.Session) -> None:
    """nginx leaves out a web server that refuses."""
    other = server("fleet-app-2")
    other.check_output("systemctl stop stockpot-web.socket stockpot-web.service")
    try:
        for _ in range(10):
            assert visitor.get(site + "/healthz", timeout=30).status_code == 200
    finally:
        other.check_output("systemctl start stockpot-web.socket stockpot-web.service")


def test_flower_on_the_proxy_sees_the_workers_of_both_servers(
    site: str, visitor: requests.Session, wait_until: Wait
) -> None:
    """It reads the broker over the network."""
    password = yaml.safe_load((LAB / "secrets.yml").read_text())["all"]["vars"]["vault_flower_password"]

    def workers() -> set[str]:
        answer = visitor.get(site + "/flower/api/workers?refresh=1", auth=("flower", password), timeout=30)
        return set(answer.json())

    expected = {f"{name}@{host}" for name in WORKERS for host in ("fleet-app-1", "fleet-app-2")}
    assert wait_until(lambda: workers() >= expected)


def test_beat_runs_once() -> None:
    """Where the inventory says, and nowhere else."""
    running = {
        name
        for name in ("fleet-app-1", "fleet-app-2", "fleet-proxy", "fleet-data")
        if server(name).run("systemctl is-active stockpot-beat").stdout.strip() == "active"
    }
    assert running == {"fleet-app-1"}


def main_pids() -> dict[str, dict[str, str]]:
    """The main process of each of the application's services, by server."""
    found = {}
    for name in ("fleet-app-1", "fleet-app-2"):
        shown = server(name).check_output("systemctl show --property=Id,MainPID 'stockpot-*.service'")
        blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.split("\n\n")]
        found[name] = {block["Id"]: block["MainPID"] for block in blocks}
    return found


@pytest.mark.long
def test_a_worker_that_moves_leaves_its_host_and_all_others_go_on(
    site: str, converge_again: Callable[..., Any], wait_until: Wait
) -> None:
    """The watch of the host that it leaves is told; orders are paid meanwhile and after."""
    workers = yaml.safe_load((PROJECT / "group_vars/all/celery.yml").read_text())["celery_workers"]
    for worker in workers:
        if worker["name"] == "reports":
            worker["hosts"] = ["fleet-app-2"]
    shop = Shop(site)
    order = shop.order()
    before = main_pids()
    moved = converge_again("-e", json.dumps({"celery_workers": workers}))
    assert moved.returncode == 0, moved.stdout[-4000:]
    after = main_pids()
    assert set(before["fleet-app-1"]) - set(after["fleet-app-1"]) == {"stockpot-worker-reports.service"}
    others = {name for name, pid in after["fleet-app-1"].items() if pid != before["fleet-app-1"][name]}
    assert others <= {"stockpot-watch.service"}
    assert after["fleet-app-2"] == before["fleet-app-2"]
    assert wait_until(lambda: shop.state(order) == "paid")
    back = converge_again()
    assert back.returncode == 0, back.stdout[-4000:]
    assert set(main_pids()["fleet-app-1"]) == set(before["fleet-app-1"])


def last_said(name: str, event: str) -> float:
    """When a host's journal of Beat last had a word; seconds since the epoch."""
    lines = server(name).check_output("journalctl --no-pager --output=short-unix --unit=stockpot-beat").splitlines()
    return max(float(line.split()[0]) for line in lines if event in line)


@pytest.mark.long
def test_beat_moves_and_the_old_one_is_stopped_before_the_new_one_starts(converge_again: Callable[..., Any]) -> None:
    """By one run."""
    old, new = WEB
    result = converge_again("-e", json.dumps({"topology_beat": [new]}))
    assert result.returncode == 0, result.stdout[-4000:]
    assert server(old).run("systemctl cat stockpot-beat").rc != 0
    assert server(new).run("systemctl is-active stockpot-beat").stdout.strip() == "active"
    assert last_said(old, " Stopped ") < last_said(new, " Started ")


@pytest.fixture
def without_the_second(tmp_path: Path) -> Path:
    """The fleet's inventory after an operator has taken the second application server out of it."""
    fleet = yaml.safe_load((PROJECT / "molecule/fleet/hosts.yml").read_text())
    for group in (fleet["demo"], *fleet["demo"]["children"].values()):
        group["hosts"].pop(WEB[1], None)
    # The application is found from the inventory's folder, as in a checkout.
    folder = tmp_path / "inventories/fleet"
    folder.mkdir(parents=True)
    (tmp_path / "app").symlink_to(PROJECT / "app")
    (folder / "group_vars").symlink_to(PROJECT / "group_vars")
    (folder / "hosts.yml").write_text(yaml.safe_dump(fleet))
    return folder / "hosts.yml"


@contextmanager
def stands_still(name: str) -> Iterator[None]:
    """A host that neither answers nor runs, until it goes on where it was."""
    container = PROJECT / "lab/container"
    subprocess.run([container, "pause", "fleet", name], check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run([container, "unpause", "fleet", name], check=True, timeout=60)


@pytest.mark.long
def test_a_dead_host_of_beat_is_replaced_by_one_run_and_sends_nothing_when_it_is_back(
    site: str, converge_again: Callable[..., Any], wait_until: Wait, without_the_second: Path
) -> None:
    new, old = WEB
    shop = Shop(site)
    with stands_still(old):
        result = converge_again(hosts=without_the_second)
        assert result.returncode == 0, result.stdout[-4000:]
        wait_until(lambda: last_said(new, "This Beat sends the schedules"), timeout=120)
        order = shop.order()
        assert wait_until(lambda: shop.state(order) == "paid")
        replaced = float(server(new).check_output("date +%s.%N"))
    wait_until(lambda: last_said(old, "This Beat waits, and sends nothing") > replaced, timeout=120)
    back = converge_again()
    assert back.returncode == 0, back.stdout[-4000:]
    assert server(old).run("systemctl cat stockpot-beat").rc != 0
    assert server(new).run("systemctl is-active stockpot-beat").stdout.strip() == "active"


def test_each_server_listens_only_where_others_need_it() -> None:
    """Nothing on all addresses but SSH and the proxy's ports."""
    assert listening_outside("fleet-proxy") == {"22", "80", "443"}
    assert listening_outside("fleet-data") == {"22", "5432", "16379"}
    assert listening_outside("fleet-app-1") == {"22", "8000"}
    assert listening_outside("fleet-app-2") == {"22", "8000"}


def test_a_stranger_in_their_network_finds_ssh_and_the_site_and_nothing_else() -> None:
    """All ports of each server, from a machine that is in no function."""
    servers = {name: address(name) for name in ("fleet-data", *WEB, "fleet-proxy")}
    found = open_ports_of(server("fleet-stranger"), servers.values())
    seen = {name: found[at] for name, at in servers.items()}
    assert seen == {"fleet-data": {22}, "fleet-app-1": {22}, "fleet-app-2": {22}, "fleet-proxy": {22, 80, 443}}


@pytest.mark.parametrize(
    ("asks", "asked", "port", "answers"),
    [
        ("fleet-proxy", "fleet-app-1", 8000, True),
        ("fleet-app-1", "fleet-app-2", 8000, False),
        ("fleet-data", "fleet-app-1", 8000, False),
        ("fleet-app-2", "fleet-data", 5432, True),
        ("fleet-proxy", "fleet-data", 5432, False),
        ("fleet-app-2", "fleet-data", 16379, True),
        # Flower.
        ("fleet-proxy", "fleet-data", 16379, True),
        ("fleet-stranger", "fleet-data", 16379, False),
    ],
)
def test_servers_reach_of_each_other_what_they_need_and_no_more(
    asks: str, asked: str, port: int, answers: bool
) -> None:
    """Whoever may ask a server one thing may not ask it another."""
    ask = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
    done = server(asks).run("python3 -c %s %s %s", ask, address(asked), str(port))
    assert (done.rc == 0) is answers, done.stderr
    assert answers or "TimeoutError" in done.stderr


def test_postgresql_refuses_whom_it_does_not_know() -> None:
    """Behind the firewall, too: its own server at its outer address is refused by name; an application server gets to the password."""
    target = f"host={address('fleet-data')} user=stockpot dbname=stockpot connect_timeout=5"
    foreign = server("fleet-data").run("PGPASSWORD=wrong psql %s --command='SELECT 1'", target)
    assert "no pg_hba.conf entry" in foreign.stderr
    ask = "import psycopg, sys; psycopg.connect(sys.argv[1])"
    ours = server("fleet-app-2").run("/srv/stockpot/current/venv/bin/python -c %s %s", ask, f"{target} password=wrong")
    assert "password authentication failed" in ours.stderr


def test_redis_refuses_without_a_password() -> None:
    """From a server of the fleet, too."""
    url = f"rediss://{address('fleet-data')}:16379?ssl_ca_certs=/etc/ssl/services/stockpot/authority.pem"
    ask = f"/srv/stockpot/current/venv/bin/python -c \"import redis; redis.Redis.from_url('{url}').ping()\""
    assert "authentication" in server("fleet-app-1").run(ask).stderr.lower()


@pytest.mark.parametrize(
    ("name", "needs"),
    # Flower on the proxy reads the broker, and asks workers signed; the data server knows passwords as hashes.
    [
        ("fleet-proxy", {"vault_redis_celery_password", "vault_flower_password", "vault_celery_signing_key"}),
        ("fleet-data", set()),
    ],
)
def test_a_server_holds_no_secret_that_it_does_not_need(name: str, needs: set[str]) -> None:
    """In no file at all, root's included."""
    secrets: dict[str, str] = yaml.safe_load((LAB / "secrets.yml").read_text())["all"]["vars"]
    # A certificate is for everybody; of a key, the lines that are its own.
    secrets = {
        secret: "\n".join(line for line in value.splitlines() if len(line) >= 40 and not line.startswith("-----"))
        for secret, value in secrets.items()
        if not secret.endswith("_certificate")
    }
    search = "grep -rlF -D skip -f - /etc /srv /opt /root /home /run /tmp /var /usr/local 2>/dev/null"
    found = {}
    for secret, value in secrets.items():
        ssh = ["ssh", "-F", str(LAB / "ssh_config"), name, search]
        found[secret] = subprocess.run(ssh, input=value, capture_output=True, text=True, timeout=120).stdout.split()
    assert {secret for secret, files in found.items() if files} == needs, found


def test_a_mistake_on_one_server_is_told_before_anything_changes_on_any(converge_again: Callable[..., Any]) -> None:
    """Redis is on the data server alone."""
    result = converge_again("-e", "redis_maxmemory=lots")
    assert result.returncode != 0
    assert "redis_maxmemory" in result.stdout
    assert "PLAY [Redis]" not in result.stdout
    assert re.findall(r"changed=(\d+)", result.stdout) == ["0"] * 4


def test_a_part_runs_alone_after_the_preflight(converge_again: Callable[..., Any]) -> None:
    """The proxy needs the addresses of servers that its play does not touch."""
    result = converge_again(str(PROJECT / "playbooks/preflight.yml"), playbook="../../playbooks/proxy.yml")
    assert result.returncode == 0, result.stdout[-4000:]
    assert "PLAY [The proxy]" in result.stdout
    assert set(re.findall(r"changed=(\d+)", result.stdout)) == {"0"}


@pytest.mark.long
def test_a_release_that_fails_on_one_server_starts_on_none(converge_again: Callable[..., Any], tmp_path: Path) -> None:
    """Its release command fails on the server that migrates; the others have built it by then."""
    look = "readlink /srv/stockpot/current; systemctl show --property=MainPID 'stockpot-*.service'"
    names = ("fleet-app-1", "fleet-app-2", "fleet-proxy")
    before = {name: server(name).check_output(look) for name in names}
    source = tmp_path / "app"
    shutil.copytree(PROJECT / "app", source)
    (source / "another-release.txt").write_text("Another digest.\n")
    # As it is for app/ where that lies in the checkout.
    own = {"django_app_gunicorn_config": "gunicorn.conf.py"}
    changed = {"django_app_source": str(source), "django_app_release_commands": [["no-such-command"]], **own}
    result = converge_again("-e", json.dumps(changed))
    assert result.returncode != 0
    assert "no-such-command" in result.stdout
    assert {name: server(name).check_output(look) for name in names} == before
