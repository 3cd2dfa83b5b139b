"""The whole stack, as its users and its operators meet it: it serves, refuses, and comes back."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import managed
import pytest
import testinfra
import yaml
from scan import open_ports
from shop import WORKERS, Shop
from testinfra.host import Host

from lab import lab_ports

LAB = Path(__file__).resolve().parents[3] / ".lab/default"
UNITS = (
    *(f"stockpot-worker-{name}" for name in WORKERS),
    "stockpot-beat",
    "stockpot-flower",
    "stockpot-watch",
    "stockpot-web",
    "stockpot-gateway",
)
SERVICES = (*UNITS, "redis-server", "postgresql@{postgresql}-main", "nginx")
Wait = Callable[..., Any]


@pytest.fixture
def shop(host_name: str, published: Callable[[str, int], tuple[str, int]]) -> Shop:
    """The site of the host under test."""
    return Shop(f"https://localhost:{published(host_name, 443)[1]}")


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    """What may not be seen anywhere, by name."""
    return yaml.safe_load((LAB / "secrets.yml").read_text())["all"]["vars"]


@pytest.fixture(scope="session", autouse=True)
def secrets_at_hand(host_name: str, secrets: dict[str, str]) -> None:
    """Puts what the tests look for on the host, through a pipe: on a command line they would find themselves."""
    for path, text in (
        ("/root/.patterns", "\n".join(lines_of(secrets)) + "\n"),
        ("/root/.redis-admin", secrets["vault_redis_admin_password"]),
    ):
        subprocess.run(
            ["ssh", "-F", LAB / "ssh_config", host_name, f"umask 077; cat >{path}"],
            input=text,
            text=True,
            check=True,
            timeout=60,
        )


def lines_of(secrets: dict[str, str]) -> list[str]:
    """The lines that are nobody else's: certificates are public, and every key begins and ends alike."""
    texts = [value for name, value in secrets.items() if not name.endswith("_certificate")]
    return [line for text in texts for line in text.splitlines() if line and not line.startswith("-----")]


def services(host: Host) -> list[str]:
    """The names of all services of the stack on a host."""
    version = host.check_output("ls /etc/postgresql")
    return [name.format(postgresql=version) for name in SERVICES]


def main_pids(host: Host) -> dict[str, str]:
    """Each service's main process."""
    return managed.main_pids(host, services(host))


def logged(host: Host, text: str) -> set[tuple[str, str]]:
    """The process and the logger of each line that holds a text: in the journal, and under supervisor in the programs' files."""
    search = "journalctl --no-pager --since today --unit 'stockpot-*' --output json --grep %s"
    found = [json.loads(line) for line in host.run(search, text).stdout.splitlines()]
    told = {(line["_SYSTEMD_UNIT"].removesuffix(".service"), line["MESSAGE"]) for line in found}
    files = host.run("grep -rF %s /var/log/stockpot", text).stdout.splitlines()
    for path, message in (line.split(":", 1) for line in files):
        told.add((f"stockpot-{Path(path).stem}", message))
    return {(process, message.split()[1]) for process, message in told}


def test_every_order_is_paid_by_a_worker(shop: Shop, wait_until: Wait) -> None:
    """The path of all the parts: page, database, broker, worker, payment service."""
    orders = [shop.order() for _ in range(5)]
    for order in orders:
        assert wait_until(lambda order=order: shop.state(order) == "paid")


def test_one_id_follows_an_order_from_the_proxy_to_the_worker(host: Host, shop: Shop, wait_until: Wait) -> None:
    """It is nginx's, whatever the visitor sends; by it one search finds gunicorn's line, the view's and the task's."""
    claimed = "f" * 32
    shop.session.headers["X-Request-ID"] = claimed
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid")
    posts = host.check_output("grep -F '\"POST / HTTP/' /var/log/nginx/access.log").splitlines()
    (request_id,) = re.findall(r" id=([0-9a-f]{32}) ", posts[-1])
    assert request_id != claimed

    expected = {
        ("stockpot-web", "core.outbox"),
        ("stockpot-web", "gunicorn.access"),
        ("stockpot-worker-critical", "core.tracing"),
        ("stockpot-worker-critical", "payments.services"),
        ("stockpot-worker-critical", "celery.app.trace"),
    }
    assert wait_until(lambda: logged(host, request_id) >= expected)
    assert logged(host, claimed) == set()


def test_the_site_says_how_its_parts_are(shop: Shop) -> None:
    """For load balancers and for the 3 a.m. look."""
    assert shop.get("/healthz").status_code == 200
    ready = shop.get("/readyz")
    assert ready.status_code == 200
    for part in ("database", "cache", "broker"):
        assert part in ready.text


def test_orders_wait_for_a_stopped_worker_and_survive_a_killed_redis(host: Host, shop: Shop, wait_until: Wait) -> None:
    """A message is kept by Redis through SIGKILL, and only the worker of its queue takes it."""
    managed.control(host, "stop", ["stockpot-worker-critical"])
    try:
        orders = [shop.order() for _ in range(3)]
        # everysec: what is older than a second is on the disk.
        wait_until(lambda: "aof_pending_bio_fsync:0" in redis(host, "info persistence"))
        before = redis(host, "-n 1 llen celery:critical")
        assert int(before) >= 3
        host.check_output("systemctl kill -s KILL redis-server")
        wait_until(lambda: redis(host, "-n 1 llen celery:critical") == before)
        assert {shop.state(order) for order in orders} == {"pending"}
    finally:
        managed.control(host, "start", ["stockpot-worker-critical"])
    for order in orders:
        assert wait_until(lambda order=order: shop.state(order) == "paid", timeout=120)


@pytest.mark.long
def test_an_order_is_paid_while_all_other_workers_stand_still(host: Host, shop: Shop, wait_until: Wait) -> None:
    """Nothing that takes long shares a worker with a payment."""
    others = [f"stockpot-worker-{name}" for name in WORKERS if name != "critical"]
    managed.control(host, "stop", others)
    try:
        order = shop.order()
        assert wait_until(lambda: shop.state(order) == "paid")
    finally:
        managed.control(host, "start", others)


def redis(host: Host, arguments: str) -> str:
    """redis-cli as the administrator."""
    return host.check_output("REDISCLI_AUTH=$(cat /root/.redis-admin) redis-cli --user admin " + arguments)


@pytest.mark.parametrize("path", ["/flower/", "/flower/api/workers", "/flower/workers"])
def test_flower_asks_for_its_password(shop: Shop, secrets: dict[str, str], path: str, wait_until: Wait) -> None:
    """401 without, 401 with a wrong one, 200 with the right one."""
    assert shop.get(path).status_code == 401
    assert shop.get(path, auth=("flower", "guess")).status_code == 401
    assert wait_until(lambda: shop.get(path, auth=("flower", secrets["vault_flower_password"])).status_code == 200)


def test_flower_sees_every_worker(host_name: str, shop: Shop, secrets: dict[str, str], wait_until: Wait) -> None:
    """It listens to the same keys of the broker as the workers do."""
    password = secrets["vault_flower_password"]
    assert wait_until(lambda: {name.split("@")[0] for name in shop.workers(password)} >= set(WORKERS))


def test_flower_shows_no_secret(shop: Shop, secrets: dict[str, str], wait_until: Wait) -> None:
    """Nor does a worker tell one to whoever asks for its configuration."""
    login = ("flower", secrets["vault_flower_password"])
    workers = wait_until(lambda: shop.get("/flower/api/workers?refresh=1", auth=login).json())
    pages = [shop.get(f"/flower/worker/{name}", auth=login) for name in workers]
    assert {page.status_code for page in pages} == {200}
    for name, value in secrets.items():
        assert value not in json.dumps(workers), name
        assert [page.url for page in pages if value in page.text] == [], name


@pytest.mark.parametrize("path", ["/flower/metrics", "/flower/healthcheck", "/metrics"])
def test_metrics_are_closed_to_the_outside(shop: Shop, secrets: dict[str, str], path: str) -> None:
    """They stay for the host itself and for addresses named in nginx_private_addresses."""
    answer = shop.get(path, auth=("flower", secrets["vault_flower_password"]))
    assert answer.status_code in (403, 404)


def test_only_the_proxy_and_ssh_listen_to_the_outside(host: Host) -> None:
    """Everything else is on loopback or a socket file."""
    listening = host.check_output("ss -Hltn").splitlines()
    outside = {
        line.split()[3].rsplit(":", 1)[1] for line in listening if not line.split()[3].startswith(("127.", "[::1]"))
    }
    assert outside == {"22", "80", "443"}


def test_a_stranger_on_the_same_network_finds_ssh_and_the_proxy_alone(host: Host, host_name: str) -> None:
    """Asked from the other deployment's server, port by port."""
    [other] = set(lab_ports()) - {host_name}
    stranger = testinfra.get_host(f"ssh://{other}", ssh_config=str(LAB / "ssh_config"), controlpersist=60)
    address = host.check_output("hostname -I").split()[0]
    assert open_ports(stranger, address) == {22, 80, 443}


def test_no_secret_is_in_a_world_readable_file_or_a_command_line(host: Host, secrets: dict[str, str]) -> None:
    """Neither in clear nor as part of an address."""
    found = host.check_output(
        "find /etc /srv /opt /var/lib /var/log /var/cache /run /tmp /home /usr/local -xdev -type f -perm -o=r -print0 2>/dev/null"
        " | xargs -0 -r grep -lF -f /root/.patterns || test $? -le 123\n"
        "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -cF -f /root/.patterns || test $? = 1"
    )
    assert found.split() == ["0"], found


def test_no_secret_reaches_the_journal(host: Host, secrets: dict[str, str]) -> None:
    """What the services and Ansible's modules logged."""
    journal = host.run("journalctl --no-pager -o cat").stdout
    assert len(journal) > 1000
    for name, value in secrets.items():
        assert value not in journal, name


def test_a_repeated_run_restarts_nothing_and_shows_no_secret(
    host: Host, host_name: str, secrets: dict[str, str], converge_again: Callable[..., Any]
) -> None:
    """All main processes are the same after it; its most talkative output with differences holds no secret."""
    before = main_pids(host)
    result = converge_again("--diff", "-vv", limit=host_name)
    assert result.returncode == 0, result.stdout[-4000:]
    assert "changed=0" in result.stdout
    assert main_pids(host) == before
    for name, value in secrets.items():
        assert value not in result.stdout, name


@pytest.mark.long
def test_a_frozen_worker_is_ended_by_the_watch_and_orders_are_paid_again(
    host: Host, shop: Shop, wait_until: Wait
) -> None:
    """Under both process managers; nothing else is touched."""
    before = main_pids(host)
    worker = "stockpot-worker-critical"
    host.check_output("kill -STOP %s", before[worker])
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid", timeout=180)
    assert {name for name, pid in main_pids(host).items() if pid != before[name]} == {worker}
    told = "journalctl --no-pager --output=cat --unit=stockpot-watch; cat /var/log/stockpot/watch.log"
    assert "The worker critical" in host.run(told).stdout


def test_a_worker_is_drained_and_restarted_by_name(
    host: Host, host_name: str, shop: Shop, converge_again: Callable[..., Any], wait_until: Wait
) -> None:
    """Under both process managers: what an operator reads is what happened, and no other process is another."""
    before = main_pids(host)
    worker = "stockpot-worker-critical"
    drained = converge_again("-e", "workers=critical", limit=host_name, playbook="../../playbooks/drain.yml")
    assert drained.returncode == 0, drained.stdout[-4000:]
    assert re.search(rf"critical@{host_name} .* stopped", drained.stdout)
    order = shop.order()
    assert not managed.all_run(host, [worker])
    assert shop.state(order) == "pending"
    restarted = converge_again("-e", "workers=critical", limit=host_name, playbook="../../playbooks/restart.yml")
    assert restarted.returncode == 0, restarted.stdout[-4000:]
    assert re.search(rf"critical@{host_name} .* consumes again", restarted.stdout)
    assert wait_until(lambda: shop.state(order) == "paid")
    assert {name for name, pid in main_pids(host).items() if pid != before[name]} == {worker}


def test_killed_services_come_back(host: Host, shop: Shop, wait_until: Wait) -> None:
    """All of them at once, by SIGKILL to the whole unit; then orders are paid again."""
    before = main_pids(host)
    managed.kill(host, services(host))

    def are_back() -> bool:
        now = main_pids(host)
        return managed.all_run(host, services(host)) and all(now[name] != before[name] for name in before)

    wait_until(are_back, timeout=120)
    wait_until(lambda: shop.get("/readyz").status_code == 200, timeout=120)
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid", timeout=120)


def test_everything_serves_again_after_a_reboot(
    host: Host,
    host_name: str,
    shop: Shop,
    lab_restart: Callable[[str], None],
    secrets: dict[str, str],
    wait_until: Wait,
) -> None:
    """The container's power switch; an order placed before it is still there."""
    order = shop.order()
    wait_until(lambda: shop.state(order) == "paid")
    lab_restart(host_name)
    wait_until(lambda: shop.get("/readyz").status_code == 200, timeout=180)
    assert shop.state(order) == "paid"
    later = shop.order()
    assert wait_until(lambda: shop.state(later) == "paid", timeout=120)
    wait_until(
        lambda: shop.get("/flower/", auth=("flower", secrets["vault_flower_password"])).status_code == 200, timeout=120
    )
    wait_until(lambda: managed.all_run(host, services(host)))


def test_redis_refused_the_application_nothing(host: Host) -> None:
    """All that the tests before this did fits the rights of the users cache and celery."""
    log = json.loads(redis(host, "--json acl log") or "[]")
    refused = [entry for entry in log if entry["username"] in ("cache", "celery")]
    assert refused == []


@pytest.fixture(autouse=True)
def journal_of_a_failure(host: Host, request: pytest.FixtureRequest) -> Iterator[None]:
    """Shows the end of the journal beside a test that failed."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        print(host.run("journalctl --no-pager -n 80 -p warning").stdout)
