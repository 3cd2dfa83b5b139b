"""A site on a Redis, a RabbitMQ and a PostgreSQL that these roles did not make, and on one Redis and two of its own: nothing is lost on the way."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import managed
import pytest
import testinfra
import yaml
from shop import WORKERS, Shop
from testinfra.host import Host

PROJECT = Path(__file__).resolve().parents[3]
LAB = PROJECT / ".lab/managed"
Wait = Callable[..., Any]
Run = Callable[..., subprocess.CompletedProcess[str]]


def server(name: str) -> Host:
    """One of the two hosts."""
    return testinfra.get_host(f"ssh://{name}", ssh_config=str(LAB / "ssh_config"), controlpersist=60)


@pytest.fixture(scope="module")
def ours() -> Host:
    """The server of the deployment."""
    return server("managed-site")


@pytest.fixture(scope="module")
def provider() -> Host:
    """The provider's."""
    return server("managed-provider")


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """The lab's, by name."""
    return yaml.safe_load((LAB / "secrets.yml").read_text())["all"]["vars"]


@pytest.fixture
def shop(published: Callable[[str, int], tuple[str, int]]) -> Shop:
    """The site."""
    return Shop(f"https://localhost:{published('managed-site', 443)[1]}")


def redis(host: Host, password: str, *words: str, user: str = "default", port: int = 6379) -> str:
    """What a Redis of a host answers."""
    login = ["redis-cli", "-p", str(port), "--no-auth-warning", "--user", user, "--pass", password, *words]
    return host.check_output(" ".join(["%s"] * len(login)), *login)


def orders_of(provider: Host) -> int:
    """How many orders the provider's database holds."""
    ask = "runuser -u postgres -- psql --no-psqlrc -At webshop -c 'SELECT count(*) FROM payments_order'"
    return int(provider.check_output(ask))


def waiting(shop: Shop, host: Host, count: int) -> list[str]:
    """Orders that nobody takes."""
    managed.control(host, "stop", ["stockpot-worker-critical"])
    return [shop.order() for _ in range(count)]


def changes(run: subprocess.CompletedProcess[str]) -> int:
    """How many tasks of a run that went well changed the server."""
    assert run.returncode == 0, run.stdout[-6000:]
    return int(re.findall(r"^managed-site .*changed=(\d+)", run.stdout, re.MULTILINE)[-1])


def test_orders_are_paid_on_the_provider_s_servers_alone(
    ours: Host, provider: Host, secrets: dict[str, str], shop: Shop, wait_until: Wait
) -> None:
    """By its user default, in the databases that it says, without a prefix; nothing of ours stands in for it."""
    orders = [shop.order() for _ in range(5)]
    for order in orders:
        assert wait_until(lambda order=order: shop.state(order) == "paid")
    assert orders_of(provider) >= 5
    password = secrets["vault_redis_celery_password"]
    assert "_kombu.binding." in redis(provider, password, "-n", "5", "KEYS", "*")
    assert int(redis(provider, password, "-n", "7", "DBSIZE")) > 0
    assert ours.run("dpkg-query -W redis-server 'postgresql-[0-9]*'").rc != 0


def test_flower_the_watch_and_the_figures_work_as_ever(
    ours: Host, secrets: dict[str, str], shop: Shop, wait_until: Wait
) -> None:
    """They read the provider's broker and database."""
    password = secrets["vault_flower_password"]
    wait_until(lambda: {name.split("@")[0] for name in shop.workers(password)} >= set(WORKERS))
    program = "import ssl, urllib.request as r; context = ssl._create_unverified_context()"
    program += "; print(r.urlopen('https://localhost/metrics', timeout=30, context=context).read().decode())"
    page = ours.check_output("python3 -c %s", program)
    assert len(re.findall(r"^celery_worker_up{.*} 1.0$", page, re.MULTILINE)) == len(WORKERS)
    assert re.search(r"^celery_task_runs_total{.*} [1-9]", page, re.MULTILINE)
    frozen = managed.main_pids(ours, ["stockpot-worker-critical"])
    ours.check_output("kill -STOP %s", *frozen.values())
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid", timeout=180)
    assert managed.main_pids(ours, list(frozen)) != frozen


def test_their_sentinel_takes_the_place_of_an_address_and_no_task_is_lost(
    ours: Host, provider: Host, shop: Shop, converge_again: Run, wait_until: Wait
) -> None:
    """Broker, results and cache by one override: the Sentinel names the Redis that has all of it."""
    place = "default:{{ vault_redis_celery_password }}@redis.provider.example:26379"
    names = ("broker_url", "result_backend_url", "cache_url")
    sentinel = {name: f"sentinel://{place}/{database}" for database, name in enumerate(names, 5)}
    orders = waiting(shop, ours, 5)
    assert changes(converge_again("-e", json.dumps({**sentinel, "redis_primary_name": "theirs"}))) > 0
    for order in [*orders, shop.order()]:
        assert wait_until(lambda order=order: shop.state(order) == "paid")
    assert "redis-sentinel" in provider.check_output("ss -Htnp state established sport = 26379")
    assert ours.run("dpkg-query -W redis-server redis-sentinel").rc != 0


def test_their_rabbitmq_takes_the_broker_s_place(
    ours: Host, provider: Host, secrets: dict[str, str], shop: Shop, converge_again: Run, wait_until: Wait
) -> None:
    """By one override, and over TLS to the name in its certificate; who cannot show that is refused."""
    place = "customer-17:{{ vault_rabbitmq_celery_password | urlencode }}@rabbitmq.provider.example:5671/shops%2F17"
    theirs = ("-e", json.dumps({"celery_broker": "rabbitmq", "broker_url": f"amqps://{place}"}))
    assert changes(converge_again(*theirs)) > 0
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid")
    shown = provider.check_output("rabbitmqctl list_queues --quiet --no-table-headers --vhost shops/17 name type")
    kinds = dict(line.split("\t") for line in shown.splitlines())
    assert {kinds[name] for name in ("critical", "default", "emails", "images", "reports")} == {"quorum"}
    shown = provider.check_output("rabbitmqctl list_connections --quiet --no-table-headers user vhost ssl")
    assert set(shown.splitlines()) == {"customer-17\tshops/17\ttrue"}
    assert ours.run("dpkg-query -W rabbitmq-server").rc != 0
    password = secrets["vault_flower_password"]
    wait_until(lambda: {name.split("@")[0] for name in shop.workers(password)} >= set(WORKERS))
    address = provider.check_output("hostname -I").split()[0]
    program = "from config.celery import app; url = app.conf.broker_url.replace('rabbitmq.provider.example', '{}')"
    program += "; app.connection_for_write(url).ensure_connection(max_retries=1); print('connected')"
    ask = "/usr/local/bin/stockpot-manage shell -c %s"
    assert "connected" in ours.check_output(ask, program.format("rabbitmq.provider.example"))
    assert "IP address mismatch" in ours.run(ask, program.format(address)).stderr
    assert changes(converge_again(*theirs)) == 0


def test_what_the_provider_keeps_stays_when_the_application_goes(
    provider: Host, secrets: dict[str, str], shop: Shop, converge_again: Run, wait_until: Wait
) -> None:
    """Even where its data is to go: that is the data of our own servers."""
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid")
    password = secrets["vault_redis_celery_password"]
    before = orders_of(provider)
    gone = ("-e", json.dumps({"app_state": "absent", "app_state_remove_data": True}))
    assert changes(converge_again(*gone)) > 0
    assert orders_of(provider) == before
    assert "_kombu.binding." in redis(provider, password, "-n", "5", "KEYS", "*")
    assert changes(converge_again()) > 0
    assert shop.state(order) == "paid"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inventory after the site has left the provider's Redis for one of its own."""
    inventory = yaml.safe_load((PROJECT / "molecule/managed/hosts.yml").read_text())
    site = inventory["all"]["children"]["demo"]
    given = site["hosts"]["managed-site"]
    site["hosts"]["managed-site"] = {name: given[name] for name in ("lab_suite", "stack_hosts", "database_url")}
    site["children"]["redis"] = site["children"]["web"]
    # The application is found from the inventory's folder, as in a checkout.
    checkout = tmp_path_factory.mktemp("checkout")
    folder = checkout / "inventories/own"
    folder.mkdir(parents=True)
    (checkout / "app").symlink_to(PROJECT / "app")
    (folder / "group_vars").symlink_to(PROJECT / "group_vars")
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    return folder / "hosts.yml"


def listening(host: Host) -> set[str]:
    """The ports of Redis on a host."""
    lines = host.check_output("ss -Hltnp").splitlines()
    return {line.split()[3].rsplit(":", 1)[1] for line in lines if "redis-server" in line}


def test_the_cache_moves_to_a_redis_of_its_own_and_back_and_no_task_is_lost(
    ours: Host, own: Path, secrets: dict[str, str], shop: Shop, converge_again: Run, wait_until: Wait
) -> None:
    """Orders wait in the broker over each move; after it there is no key, user or port that nobody needs, and the next run has nothing to do.

    TLS goes with the first one, and leaves nothing that would renew certificates, or reload what reads none.
    """
    admin, cache = (secrets[f"vault_redis_{user}_password"] for user in ("admin", "cache"))
    two = ("-e", json.dumps({"redis_cache_instance": {"port": 6380}}))
    changes(converge_again("-e", json.dumps({"service_tls": True}), hosts=own))
    assert listening(ours) == {"16379"}
    assert int(redis(ours, admin, "-s", "/run/redis/redis-server.sock", "-n", "0", "DBSIZE", user="admin")) > 0
    of_tls = "/etc/ssl/services/stockpot /etc/systemd/system/stockpot-certificates.* /etc/redis/reload.login"
    of_tls += " /etc/systemd/system/redis-server.service.d/reload.conf"
    assert len(ours.check_output(f"ls -d {of_tls}").split()) == 5
    ours.check_output("systemctl start stockpot-certificates.service")

    orders = waiting(shop, ours, 10)
    assert changes(converge_again(*two, hosts=own)) > 0
    for order in orders:
        assert wait_until(lambda order=order: shop.state(order) == "paid")
    assert listening(ours) == {"6379", "6380"}
    assert ours.run(f"ls -d {of_tls}").stdout == ""
    assert "stockpot-certificates" not in ours.check_output("systemctl list-timers --all")
    assert redis(ours, admin, "-n", "0", "DBSIZE", user="admin") == "0"
    assert "NOAUTH" in redis(ours, cache, "PING", user="cache")
    assert int(redis(ours, admin, "DBSIZE", user="admin", port=6380)) > 0
    assert changes(converge_again(*two, hosts=own)) == 0

    orders = waiting(shop, ours, 10)
    assert changes(converge_again(hosts=own)) > 0
    for order in orders:
        assert wait_until(lambda order=order: shop.state(order) == "paid")
    assert listening(ours) == {"6379"}
    assert ours.run("systemctl is-active redis-server@stockpot-cache").stdout.strip() == "inactive"
    assert (
        ours.run(
            "ls -d /etc/redis/*-cache.* /var/lib/redis/*-cache /etc/systemd/system/redis-server@*-cache.service.d"
        ).stdout
        == ""
    )
    assert redis(ours, cache, "PING", user="cache") == "PONG"
    assert changes(converge_again(hosts=own)) == 0
