"""Three servers of RabbitMQ that are one: any of them dies under load and no task is lost, and runs of Ansible's stop no two at once.

TASKS are sent, 600 unless the environment says otherwise (`bin/test --prove`: 10,000).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from shop import WORKERS, Shop
from testinfra.host import Host

PROJECT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
LAB = PROJECT / ".lab/cluster"
MEMBERS = ("rabbit-1", "rabbit-2", "rabbit-3")
NODES = {f"rabbit@{name}" for name in MEMBERS}
TASKS = int(os.environ.get("TASKS", "600"))
AUTHORITY = "/etc/ssl/services/stockpot/authority.pem"
TLS_NAME = "rabbitmq.stockpot.internal"
Wait = Callable[..., Any]
# Asks by HTTP; prints the status and what JSON says. Reads the login from standard input.
HTTP = """
import base64, json, sys, urllib.error, urllib.request
login = base64.b64encode(sys.stdin.readline().strip().encode()).decode()
headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
data = None if sys.argv[3] == "null" else sys.argv[3].encode()
request = urllib.request.Request(sys.argv[2], data, headers, method=sys.argv[1])
try:
    with urllib.request.urlopen(request, timeout=20) as answer:
        print(json.dumps([answer.status, json.loads(answer.read() or "null")]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, None]))
"""


@cache
def server(name: str) -> Host:
    """One of the hosts."""
    return testinfra.get_host(f"ssh://{name}", ssh_config=str(LAB / "ssh_config"), controlpersist=60)


@cache
def address(name: str) -> str:
    """Where the others reach a host."""
    return server(name).check_output("hostname -I").split()[0]


@pytest.fixture
def shop(published: Callable[[str, int], tuple[str, int]]) -> Shop:
    """The site."""
    return Shop(f"https://localhost:{published('shop', 443)[1]}")


@cache
def secrets() -> dict[str, str]:
    """The lab's, by name."""
    return yaml.safe_load((LAB / "secrets.yml").read_text())["all"]["vars"]


def ask(name: str, method: str, path: str, body: Any = None, login: str = "") -> tuple[int, Any]:
    """What the management API of a member answers its administrator; the password goes through a pipe."""
    login = login or f"stockpot-admin:{secrets()['vault_rabbitmq_admin_password']}"
    words = ("python3", "-c", HTTP, method, f"http://127.0.0.1:15672/api/{path}", json.dumps(body))
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    ssh = ["ssh", "-F", LAB / "ssh_config", name, quoted]
    done = subprocess.run(ssh, input=f"{login}\n", capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise OSError(done.stderr)
    return tuple(json.loads(done.stdout))


def queues(name: str = MEMBERS[0]) -> dict[str, dict[str, Any]]:
    """The quorum queues as a member knows them."""
    return {queue["name"]: queue for queue in ask(name, "GET", "queues/stockpot")[1] if queue["type"] == "quorum"}


def all_well(name: str = MEMBERS[0]) -> bool:
    """Whether all members run, and each quorum queue is on each of them."""
    nodes = {node["name"]: node["running"] for node in ask(name, "GET", "nodes")[1]}
    return nodes == dict.fromkeys(NODES, True) and all(set(q["online"]) == NODES for q in queues(name).values())


def reaches(name: str, port: int, of: str = MEMBERS[0]) -> str:
    """What becomes of a connection from one host to another."""
    program = f"import socket; socket.create_connection(('{address(of)}', {port}), 4); print('connected')"
    done = server(name).run("python3 -c %s", program)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def done() -> list[tuple[str, int, float]]:
    """The runs of the task: part, number and time, oldest first."""
    lines = server("shop").run("cat /run/counted/done").stdout.splitlines()
    return sorted(
        ((part, int(number), float(when)) for part, number, when in map(str.split, lines)), key=lambda run: run[2]
    )


def unit(name: str, *words: str) -> str:
    """A command that runs as the shop's workers do."""
    properties = "-p EnvironmentFile=/etc/stockpot/environment -p WorkingDirectory=/srv/stockpot/current/source"
    path = "-E PYTHONPATH=/run/counted:/srv/stockpot/current/source"
    program = f"/srv/stockpot/current/venv/bin/{' '.join(words)}"
    return (
        f"systemd-run --quiet --collect --unit={name} --uid=stockpot --gid=stockpot {properties} {path} {{}} {program}"
    )


@pytest.fixture(scope="module")
def counter(wait_until: Wait) -> Iterator[None]:
    """A worker for the task."""
    shop = server("shop")
    shop.check_output("rm -rf /run/counted && install -d -o stockpot -g stockpot /run/counted")
    subprocess.run(
        ["ssh", "-F", LAB / "ssh_config", "shop", "cat >/run/counted/counted.py"],
        input=(HERE / "counted.py").read_text(),
        text=True,
        check=True,
    )
    words = "celery -A counted worker -Q counted -c 2 -n counted@shop --loglevel INFO --without-gossip --without-mingle"
    shop.check_output(unit("counted-worker", words).format("-p Restart=always"))
    wait_until(lambda: queues()["counted"]["consumers"] == 1, timeout=120)
    yield
    shop.check_output("systemctl stop counted-worker")
    assert ask(MEMBERS[0], "DELETE", "queues/stockpot/counted")[0] == 204


@contextmanager
def load(part: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """Somebody sends tasks meanwhile; ends when each is confirmed."""
    command = unit(f"counted-sender-{part}", "python", "-m", "counted", part, str(count)).format("--wait --pipe")
    with subprocess.Popen(
        ["ssh", "-F", LAB / "ssh_config", "shop", command], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def test_the_members_are_one_and_over_tls(wait_until: Wait) -> None:
    """They listen for each other at their private addresses alone, and each sees whose certificate it is shown."""
    assert wait_until(all_well)
    for name in MEMBERS:
        listening = {line.split()[3] for line in server(name).check_output("ss -Hltn").splitlines()}
        own = address(name)
        ports = {place for place in listening if place.rpartition(":")[2] in ("4369", "5671", "5672", "15672", "25672")}
        both = {f"{ip}:{port}" for ip in ("127.0.0.1", own) for port in (4369, 5671)}
        assert ports == both | {"127.0.0.1:15672", f"{own}:25672"}
        other = MEMBERS[MEMBERS.index(name) - 1]
        for port, known_as in ((25672, name), (5671, TLS_NAME)):
            show = f"openssl s_client -connect {own}:{port} -CAfile {AUTHORITY} -verify_return_error -verify_hostname"
            asking = server(other) if port == 25672 else server("shop")
            assert asking.run(f"{show} {known_as} </dev/null").rc == 0
            assert "ostname mismatch" in asking.run(f"{show} another </dev/null").stderr


def test_nobody_comes_without_a_login_and_nothing_goes_in_clear_text(wait_until: Wait) -> None:
    assert ask(MEMBERS[1], "GET", "overview", login="guest:guest")[0] == 401
    assert {user["name"] for user in ask(MEMBERS[2], "GET", "users")[1]} == {
        f"stockpot-{user}" for user in ("admin", "celery", "monitoring")
    }
    connections = wait_until(lambda: ask(MEMBERS[0], "GET", "connections")[1])
    assert len(connections) > len(WORKERS)
    assert {connection["ssl_protocol"] for connection in connections} <= {"tlsv1.2", "tlsv1.3"}
    cookie = server(MEMBERS[0]).check_output("stat --format=%s /var/lib/rabbitmq/.erlang.cookie", "%a %U")
    assert cookie == "400 rabbitmq"


def test_who_has_no_business_there_is_not_let_in() -> None:
    """Clients come by AMQP over TLS alone, members by Erlang's own ports, a stranger not at all."""
    for name in MEMBERS:
        assert {reaches("stranger", port, name) for port in (4369, 5671, 5672, 15672, 25672)} == {
            "TimeoutError: timed out"
        }
        assert {reaches("shop", port, name) for port in (4369, 5672, 15672, 25672)} == {"TimeoutError: timed out"}
        assert reaches("shop", 5671, name) == "connected"
    clear = f"import amqp; amqp.Connection('{address(MEMBERS[0])}:5671', 'a', 'b', connect_timeout=5, read_timeout=5).connect()"
    refused = server("shop").run("/srv/stockpot/current/venv/bin/python -c %s", clear)
    assert refused.rc != 0
    assert re.search("(Connection reset|Server unexpectedly closed)", refused.stderr), refused.stderr


def test_each_queue_is_on_each_member(wait_until: Wait) -> None:
    found = wait_until(lambda: known if set(known := queues()) >= {"critical", "sweep", "dead-letters"} else None)
    assert all(set(queue["members"]) == NODES for queue in found.values())


@pytest.mark.usefixtures("counter")
@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_is_killed_under_load_and_no_task_is_lost(
    member: str, wait_until: Wait, record_property: Callable[[str, object], None]
) -> None:
    """What RabbitMQ has confirmed is run, while the member is down and after it is back; it catches up."""
    other = next(name for name in MEMBERS if name != member)
    count = TASKS // len(MEMBERS)
    wait_until(lambda: all_well(other), timeout=120)
    with load(member, count) as sender:
        wait_until(lambda: sum(part == member for part, _, _ in done()) >= count // 5, timeout=300)
        server(member).check_output(
            "systemctl mask --runtime rabbitmq-server && systemctl kill -s KILL rabbitmq-server"
        )
        killed = time.time()
        wait_until(lambda: sum(when > killed + 1 for _, _, when in done()) >= 10, timeout=120)
        assert not all_well(other)
        server(member).check_output("systemctl unmask --runtime rabbitmq-server && systemctl start rabbitmq-server")
        back = time.time()
        wait_until(lambda: all_well(other), timeout=240)
        whole = time.time()
        sent, _ = sender.communicate(timeout=900)
    assert sender.returncode == 0
    wait_until(lambda: len({number for part, number, _ in done() if part == member}) == count, timeout=600)
    wait_until(lambda: queues(other)["counted"]["messages"] == 0, timeout=120)
    runs = Counter(number for part, number, _ in done() if part == member)
    # The longest pause that ended after the kill.
    times = [when for _, _, when in done() if when > killed - 5]
    _, ended = max((after - before, after) for before, after in itertools.pairwise(times) if after > killed)
    figure = {
        "member": member,
        "tasks": count,
        "lost": count - len(runs),
        "run twice": sum(times - 1 for times in runs.values()),
        "refused at first": int(sent.split()[-1]),
        "seconds until consuming": round(ended - killed, 1),
        "seconds until caught up": round(whole - back, 1),
    }
    record_property("counted", figure)
    assert figure["lost"] == 0


def test_a_run_changes_nothing(converge_again: Callable[..., Any]) -> None:
    result = converge_again()
    assert result.returncode == 0, result.stdout[-4000:]
    assert set(re.findall(r"changed=(\d+)", result.stdout)) == {"0"}


def test_a_queue_that_was_made_while_one_was_down_is_on_all_after_a_run(
    converge_again: Callable[..., Any], wait_until: Wait
) -> None:
    """The run starts the member that is down, too."""
    server("rabbit-3").check_output("systemctl stop rabbitmq-server")
    body = {"durable": True, "arguments": {"x-queue-type": "quorum"}}
    assert ask("rabbit-1", "PUT", "queues/stockpot/made-meanwhile", body)[0] == 201
    result = converge_again(limit="rabbitmq", playbook="rabbitmq.yml")
    assert result.returncode == 0, result.stdout[-4000:]
    assert wait_until(lambda: set(queues()["made-meanwhile"]["online"]) == NODES)
    assert all_well()
    assert ask("rabbit-1", "DELETE", "queues/stockpot/made-meanwhile")[0] == 204


def test_one_that_has_lost_its_data_is_given_it_again(converge_again: Callable[..., Any], wait_until: Wait) -> None:
    """It is no member until a run lets it in; then each queue is on it again."""
    server("rabbit-2").check_output("systemctl stop rabbitmq-server && rm -r /var/lib/rabbitmq/mnesia")
    result = converge_again(limit="rabbitmq", playbook="rabbitmq.yml")
    assert result.returncode == 0, result.stdout[-4000:]
    assert wait_until(all_well)
    again = converge_again(limit="rabbitmq", playbook="rabbitmq.yml")
    assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}, again.stdout[-4000:]


def test_another_setting_goes_round_one_member_at_a_time(
    shop: Shop, converge_again: Callable[..., Any], wait_until: Wait
) -> None:
    """While orders are paid; none of them is down while another is."""
    before = {name: server(name).check_output("systemctl show -P MainPID rabbitmq-server") for name in MEMBERS}
    began = time.time()
    setting = json.dumps({"rabbitmq_settings": {"channel_max": 1000}})
    result = converge_again("-e", setting, limit="rabbitmq", playbook="rabbitmq.yml")
    assert result.returncode == 0, result.stdout[-4000:]
    after = {name: server(name).check_output("systemctl show -P MainPID rabbitmq-server") for name in MEMBERS}
    assert not set(before.values()) & set(after.values())
    stops = {}
    for name in MEMBERS:
        journal = server(name).check_output(
            f"journalctl --no-pager --output=short-unix --unit rabbitmq-server --since @{began:.0f}"
        )
        times = [float(line.split()[0]) for line in journal.splitlines() if re.search("(Stopping|Started) ", line)]
        stops[name] = (times[0], times[-1])
    spans = sorted(stops.values())
    assert all(ended <= begins for (_, ended), (begins, _) in itertools.pairwise(spans)), stops
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid", timeout=90)
    assert converge_again(limit="rabbitmq", playbook="rabbitmq.yml").returncode == 0


def test_members_that_others_need_are_not_restarted(converge_again: Callable[..., Any], wait_until: Wait) -> None:
    """With one that cannot start, a run that would restart the others says so and leaves them."""
    server("rabbit-3").check_output("systemctl stop rabbitmq-server && systemctl mask --runtime rabbitmq-server")
    before = {name: server(name).check_output("systemctl show -P MainPID rabbitmq-server") for name in MEMBERS[:2]}
    try:
        setting = json.dumps({"rabbitmq_settings": {"channel_max": 999}})
        result = converge_again("-e", setting, limit="rabbit-1,rabbit-2", playbook="rabbitmq.yml")
    finally:
        server("rabbit-3").check_output("systemctl unmask --runtime rabbitmq-server && systemctl start rabbitmq-server")
    assert result.returncode != 0
    said = " ".join(result.stdout.split())
    assert (
        "RabbitMQ has to restart on this host for what is written, but RabbitMQ does not run as rabbit@rabbit-3" in said
    )
    assert before == {name: server(name).check_output("systemctl show -P MainPID rabbitmq-server") for name in before}
    assert wait_until(all_well, timeout=120)
    assert converge_again(limit="rabbitmq", playbook="rabbitmq.yml").returncode == 0


def test_all_of_them_that_were_stopped_are_started_by_a_run(
    converge_again: Callable[..., Any], wait_until: Wait
) -> None:
    """They wait for each other as they start."""
    for name in MEMBERS:
        server(name).check_output("systemctl stop rabbitmq-server")
    result = converge_again(limit="rabbitmq", playbook="rabbitmq.yml")
    assert result.returncode == 0, result.stdout[-4000:]
    assert wait_until(all_well)


def test_another_cookie_is_refused_while_they_run(converge_again: Callable[..., Any]) -> None:
    cookie = json.dumps({"vault_rabbitmq_cookie": "another-cookie-of-the-test"})
    result = converge_again("-e", cookie, limit="rabbitmq", playbook="rabbitmq.yml")
    assert result.returncode != 0
    assert "vault_rabbitmq_cookie: RabbitMQ runs on this host with another one" in " ".join(result.stdout.split())
    assert all_well()


def test_the_site_its_workers_and_flower_are_well_after_all_that(shop: Shop, wait_until: Wait) -> None:
    wait_until(lambda: shop.get("/readyz").status_code == 200)
    order = shop.order()
    wait_until(lambda: shop.state(order) == "paid", timeout=90)
    password = secrets()["vault_flower_password"]
    wait_until(lambda: shop.workers(password) >= {f"{name}@shop" for name in WORKERS}, timeout=120)


def test_no_secret_is_in_a_log() -> None:
    patterns = "\n".join(secrets().values())
    for name in (*MEMBERS, "shop"):
        search = '{ journalctl --no-pager; cat /var/log/rabbitmq/* 2>/dev/null; } | grep -c -F -f /dev/fd/3 3<<<"$(cat)" || true'
        ssh = ["ssh", "-F", LAB / "ssh_config", name, f"bash -c '{search}'"]
        found = subprocess.run(ssh, input=patterns, capture_output=True, text=True, timeout=120)
        assert found.stdout.strip() == "0", name
