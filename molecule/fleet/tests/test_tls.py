"""TLS between the servers: nobody speaks in clear text, nobody takes one server for another, and certificates are renewed while all goes on."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
import yaml
from shop import Shop
from test_fleet import LAB, PROJECT, WEB, address, server
from testinfra.host import Host

FOLDER = "/etc/ssl/services/stockpot"
PROGRAM = "/usr/local/lib/stockpot/certificates.py"
PYTHON = "/srv/stockpot/current/venv/bin/python"
# Who runs each service, where, and what OpenSSL has to know to ask it.
SERVICES = {
    "redis": ("fleet-data", 16379, ""),
    "postgresql": ("fleet-data", 5432, "-starttls postgres"),
    "web": (WEB[0], 8000, ""),
}
Wait = Callable[..., Any]


@pytest.fixture(scope="module")
def site(published: Callable[[str, int], tuple[str, int]]) -> str:
    """The site's address, through the proxy."""
    return f"https://localhost:{published('fleet-proxy', 443)[1]}"


def ask_redis(words: str) -> str:
    """What Redis answers its administrator."""
    password = yaml.safe_load((LAB / "secrets.yml").read_text())["all"]["vars"]["vault_redis_admin_password"]
    command = f"redis-cli -s /run/redis/redis-server.sock --user admin {words}"
    return server("fleet-data").check_output(f"REDISCLI_AUTH={password} {command}")


def client_of(service: str) -> Host:
    """A server whom the firewall lets ask it."""
    return server("fleet-proxy" if service == "web" else WEB[1])


def shown(service: str) -> str:
    """The number of the certificate that a service shows to another server."""
    name, port, how = SERVICES[service]
    asking = (
        f"openssl s_client -connect {address(name)}:{port} {how} -CAfile {FOLDER}/authority.pem -verify_return_error"
    )
    return client_of(service).check_output(f"{asking} </dev/null 2>/dev/null | openssl x509 -noout -serial")


def written(service: str) -> str:
    """The number of the certificate in its file."""
    return server(SERVICES[service][0]).check_output(f"openssl x509 -noout -serial -in {FOLDER}/{service}.pem")


def give(service: str, days: int) -> None:
    """A certificate that lasts so long, and is loaded."""
    host = server(SERVICES[service][0])
    host.check_output(
        f'rm -rf /root/short && cp -a {FOLDER} /root/short && sed -i \'s/"days": 30/"days": {days}/\' /root/short/services.json'
        f" && {PROGRAM} /root/short make {service} {FOLDER}/{service}.pem; rm -r /root/short"
    )
    units = {"redis": "redis-server", "postgresql": "'postgresql@*-main.service'"}
    if service in units:
        host.check_output(f"systemctl reload {units[service]}")


@contextmanager
def visits(site: str) -> Iterator[list[str]]:
    """Visitors and orders while something happens; ends with what did not go well."""
    wrong: list[str] = []
    done = threading.Event()

    def visit() -> None:
        with requests.Session() as session:
            session.trust_env = session.verify = False
            while not done.wait(0.05):
                answer = session.get(f"{site}/readyz", timeout=30)
                if answer.status_code != 200:
                    wrong.append(f"{answer.status_code} {answer.text[:80]}")

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_every_connection_between_servers_is_encrypted(site: str, wait_until: Wait) -> None:
    """As Redis and PostgreSQL see them, while orders are paid."""
    shop = Shop(site)
    orders = [shop.order() for _ in range(5)]
    wait_until(lambda: all(shop.state(order) == "paid" for order in orders))
    clients = [line for line in ask_redis("CLIENT LIST").splitlines() if "user=admin" not in line]
    assert {re.search(r" laddr=\S+:(\d+) ", line)[1] for line in clients} == {"16379"}  # type: ignore[index]
    query = "SELECT a.client_addr, s.ssl, s.version FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE a.client_addr IS NOT NULL"
    asked: list[str] = []

    def seen() -> bool:
        asked[:] = server("fleet-data").check_output("su postgres -c %s", f'psql -At -c "{query}"').splitlines()
        return bool(asked)

    with visits(site):
        wait_until(seen)
    assert all("|t|TLSv1." in line for line in asked), asked


CLEAR = {
    "redis": "import redis; redis.Redis(host='{host}', port={port}, socket_timeout=5, retry=None).ping()",
    "redis, on the port that it had": "import redis; redis.Redis(host='{host}', port=6379, socket_timeout=5, retry=None).ping()",
    "postgresql": "import psycopg; psycopg.connect('host={host} port={port} user=stockpot dbname=stockpot sslmode=disable password=x')",
    "web": "import urllib.request as r; r.urlopen('http://{host}:{port}/healthz', timeout=5)",
}
REFUSED = {
    "redis": "(Connection reset|Connection closed)",
    # The firewall lets nobody come so far.
    "redis, on the port that it had": "Timeout connecting",
    "postgresql": "no pg_hba.conf entry for host .* no encryption",
    "web": "(RemoteDisconnected|Connection reset|Bad Request|BadStatusLine)",
}


@pytest.mark.parametrize("service", CLEAR)
def test_clear_text_is_refused_from_a_server_of_the_fleet(service: str) -> None:
    name, port, _ = SERVICES[service.partition(",")[0]]
    program = CLEAR[service].format(host=address(name), port=port)
    refused = client_of(service).run(f'{PYTHON} -c "{program}"')
    assert refused.rc != 0
    assert re.search(REFUSED[service], refused.stderr), refused.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_a_server_is_not_taken_for_another(service: str) -> None:
    """Whoever knows the authority asks it by its own name, and by that of another server."""
    name, port, how = SERVICES[service]
    asking = (
        f"openssl s_client -connect {address(name)}:{port} {how} -CAfile {FOLDER}/authority.pem -verify_return_error"
    )
    client = client_of(service)
    assert client.run(f"{asking} -verify_ip {address(name)} </dev/null").rc == 0
    assert client.run(f"{asking} -verify_hostname {name} </dev/null").rc == 0
    other = client.run(f"{asking} -verify_hostname {WEB[1]} </dev/null")
    assert other.rc != 0
    assert "mismatch" in other.stderr.lower()


def test_what_makes_certificates_is_for_root_alone_and_a_key_for_its_service(site: str) -> None:
    for name, owners in (("fleet-data", {"redis", "postgres"}), (WEB[0], {"stockpot"}), ("fleet-proxy", set())):
        listed = server(name).check_output(f"stat --format=%s {FOLDER}/*.pem", "%n %a %U %G").splitlines()
        modes = {line.split()[0].rpartition("/")[2]: line.split()[1:] for line in listed}
        assert modes.pop("authority.pem") == ["644", "root", "root"]
        assert modes.pop("intermediate.pem") == ["600", "root", "root"]
        assert {group for _mode, _user, group in modes.values()} == owners
        assert {mode for mode, _user, _group in modes.values()} <= {"640"}


@pytest.mark.parametrize("service", SERVICES)
def test_the_timer_renews_a_certificate_while_all_goes_on(service: str, site: str) -> None:
    """The service shows the new one without a restart and without a visitor who is told anything but 200."""
    host = server(SERVICES[service][0])
    units = "redis-server 'postgresql@*-main.service' stockpot-web.service"
    give(service, days=5)
    before = written(service)
    running = host.check_output(f"systemctl show --property=MainPID {units}")
    assert host.check_output("systemctl is-active stockpot-certificates.timer") == "active"
    with visits(site) as wrong:
        host.check_output("systemctl start stockpot-certificates.service")
        assert written(service) != before
        assert shown(service) == written(service)
    assert wrong == []
    assert host.check_output(f"systemctl show --property=MainPID {units}") == running
    assert not host.run(f"{PROGRAM} {FOLDER} look").stdout


def test_one_that_has_ended_is_a_closed_door_until_the_timer_comes(site: str, wait_until: Wait) -> None:
    """A web server's: the proxy does without that server, and takes it again."""
    visitor = requests.Session()
    visitor.trust_env = visitor.verify = False
    for name in WEB:
        server(name).check_output(
            f'rm -rf /root/short && cp -a {FOLDER} /root/short && sed -i \'s/"days": 30/"days": 0/\' /root/short/services.json'
            f" && {PROGRAM} /root/short make web {FOLDER}/web.pem; rm -r /root/short"
        )
    wait_until(lambda: visitor.get(f"{site}/healthz", timeout=30).status_code == 502)
    for name in WEB:
        server(name).check_output("systemctl start stockpot-certificates.service")
    wait_until(lambda: visitor.get(f"{site}/healthz", timeout=30).status_code == 200)


@pytest.mark.long
def test_a_run_renews_too_and_the_next_one_changes_nothing(site: str, converge_again: Callable[..., Any]) -> None:
    for service in SERVICES:
        give(service, days=5)
    before = {service: written(service) for service in SERVICES}
    foretold = converge_again("--check", limit="fleet-data")
    assert foretold.returncode == 0, foretold.stdout[-4000:]
    assert {service: written(service) for service in SERVICES} == before
    with visits(site) as wrong:
        result = converge_again()
    assert result.returncode == 0, result.stdout[-4000:]
    assert wrong == []
    assert not any(written(service) == before[service] for service in SERVICES)
    assert all(shown(service) == written(service) for service in SERVICES)
    again = converge_again()
    assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}, again.stdout[-4000:]


def test_another_authority_is_known_to_the_proxy_after_a_run(
    site: str, converge_again: Callable[..., Any], wait_until: Wait
) -> None:
    """Its configuration names the same file as before."""
    proxy, visitor = server("fleet-proxy"), requests.Session()
    visitor.trust_env = visitor.verify = False
    proxy.check_output(
        f"openssl req -x509 -nodes -newkey rsa:2048 -days 1 -subj /CN=another -keyout /dev/null -out {FOLDER}/authority.pem"
        " && systemctl reload nginx"
    )
    wait_until(lambda: visitor.get(f"{site}/healthz", timeout=30).status_code == 502)
    parts = [str(PROJECT / "playbooks" / name) for name in ("preflight.yml", "base.yml")]
    result = converge_again(*parts, playbook="../../playbooks/proxy.yml", limit="fleet-proxy")
    assert result.returncode == 0, result.stdout[-4000:]
    wait_until(lambda: visitor.get(f"{site}/healthz", timeout=30).status_code == 200)


SEND = """
import os
from celery import Celery
unsigned = Celery(broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])
prefix = {"global_keyprefix": os.environ["CELERY_KEY_PREFIX"]}
unsigned.conf.update(broker_transport_options=prefix, result_backend_transport_options=prefix)
from config.celery import app
sent = []
for one in (unsigned, app, unsigned, app):
    sent.append(one.send_task("celery.accumulate", args=["done"], kwargs={"index": 0}, queue="default"))
    if one is app:
        sent[-1].get(timeout=60)
print(*(app.AsyncResult(task.id).state for task in sent))
"""


def test_a_message_that_is_not_signed_is_not_run() -> None:
    """Whoever has the broker's address and password, and not the key, has no task run."""
    states = server(WEB[0]).check_output("stockpot-python -c %s", SEND)
    assert states.split()[-4:] == ["PENDING", "SUCCESS", "PENDING", "SUCCESS"]


def test_the_key_that_signs_is_for_the_application_alone() -> None:
    found = server(WEB[0]).check_output("stat --format=%s /etc/stockpot/files/celery-signing/key.pem", "%a %U %G")
    assert found == "640 root stockpot"
    assert not server("fleet-data").file("/etc/stockpot/files").exists
