"""A Redis that fails over: what dies, freezes or is cut off is replaced, the shop goes on, and no run of Ansible's interferes.

FAILOVERS of each kind: one, unless the environment says otherwise (`make prove`: ten).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
LAB = PROJECT / ".lab/sentinel"
MEMBERS = ("redis-1", "redis-2", "redis-3")
FAILOVERS = int(os.environ.get("FAILOVERS", "1"))
PROGRAM = "/usr/local/lib/stockpot/redis-failover"
# Of Redis, and of its Sentinel.
PORTS = ("16379", "36379")
CLEAR_PORTS = ("6379", "26379")
CERTIFICATES = "/etc/ssl/services/stockpot"
Wait = Callable[..., Any]


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


def admin(name: str, arguments: str) -> str:
    """redis-cli as the administrator of a member; the password goes through a pipe."""
    ask = f"read -r REDISCLI_AUTH; export REDISCLI_AUTH; redis-cli -s /run/redis/redis-server.sock --user admin --no-auth-warning {arguments}"
    done = subprocess.run(
        ["ssh", "-F", LAB / "ssh_config", name, ask],
        input=secrets()["vault_redis_admin_password"] + "\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def figures() -> dict[str, Any]:
    """How far the reports are."""
    query = (HERE / "figures.sql").read_text()
    return json.loads(server("shop").check_output("runuser -u postgres -- psql -d stockpot -Atc %s", query))


def waiting() -> int:
    """Messages in the queue of the reports."""
    return int(admin(primary(), "-n 1 llen celery:reports"))


def sweep() -> None:
    """Lets an hour pass for the reports that stand still, then sweeps."""
    script = (HERE / "sweep.py").read_text()
    server("shop").check_output("stockpot-manage shell --verbosity=0 --command=%s", script)


def primary() -> str:
    """The member that says it is the primary, and that most Sentinels name."""
    said = [server(name).run(f"timeout 20 {PROGRAM} members").stdout for name in MEMBERS]
    named = {found for text in said for found in re.findall(r"its Sentinel says (\S+)", text)}
    are = {found for text in said for found in re.findall(r"^(\S+) \(\S+\): primary", text, re.MULTILINE)}
    assert len(named) == 1, said
    assert named <= are, said
    return named.pop()


def all_well() -> bool:
    """Whether each member is in its place and a primary that dies would be replaced."""
    return all(server(name).run(f"{PROGRAM} status --quorum").rc == 0 for name in MEMBERS)


@contextmanager
def load(wait_until: Wait) -> Iterator[None]:
    """Somebody asks for reports meanwhile."""
    server("shop").check_output("rm -f /run/stockpot-load-may-end")
    command = f"stockpot-manage shell --verbosity=0 --command={shlex.quote((HERE / 'load.py').read_text())}"
    before = figures()["done"]
    ssh = ["ssh", "-F", LAB / "ssh_config", "shop", command]
    with subprocess.Popen(ssh, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: figures()["done"] >= before + 10, timeout=120)
            yield
        finally:
            server("shop").check_output("touch /run/stockpot-load-may-end")
            output, _ = process.communicate(timeout=60)
    assert int(output) > 0


@contextmanager
def killed(name: str) -> Iterator[None]:
    """As when its power goes, and comes back."""
    server(name).check_output("systemctl mask --runtime redis-server && systemctl kill -s KILL redis-server")
    try:
        yield
    finally:
        server(name).check_output("systemctl unmask --runtime redis-server && systemctl start redis-server")


@contextmanager
def frozen(name: str) -> Iterator[None]:
    """Neither dead nor alive: its connections stay open."""
    server(name).check_output("systemctl kill -s STOP redis-server")
    try:
        yield
    finally:
        server(name).check_output("systemctl kill -s CONT redis-server")


@contextmanager
def cut_off(name: str) -> Iterator[None]:
    """From all others: no packet goes either way, and nobody is told."""
    others = [other for other in (*MEMBERS, "shop") if other != name]
    pairs = [*((name, other) for other in others), *((other, name) for other in others)]
    with ExitStack() as routes:
        for here, there in pairs:
            server(here).check_output(f"ip route add blackhole {address(there)}/32")
            routes.callback(server(here).check_output, f"ip route del blackhole {address(there)}/32")
        yield


FAULTS = {"killed": killed, "frozen": frozen, "cut off": cut_off}


def test_each_member_is_in_its_place_and_the_first_is_the_primary(wait_until: Wait) -> None:
    assert all_well()
    assert primary() == "redis-1"


def ask(name: str, port: str, words: str, *, tls: bool) -> str:
    """What an application's server is answered."""
    wrap = f"s = ssl.create_default_context(cafile='{CERTIFICATES}/authority.pem').wrap_socket(s, server_hostname='{address(name)}');"
    program = (
        f"import socket, ssl; s = socket.create_connection(('{address(name)}', {port}), 5); {wrap if tls else ''} "
        f"s.sendall(b'{words}\\r\\n'); print(s.recv(99))"
    )
    done = server("shop").run("python3 -c %s", program)
    return done.stdout or done.stderr


def test_nobody_is_let_in_without_a_password() -> None:
    """Neither by a Redis nor by a Sentinel."""
    for name in MEMBERS:
        for port in PORTS:
            assert "NOAUTH" in ask(name, port, "INFO", tls=True)


def test_clear_text_is_answered_by_nobody() -> None:
    """Ports of TLS hear it and hang up; others are shut."""
    for name in MEMBERS:
        for port in PORTS:
            assert re.search(r"ConnectionResetError|^b''$", ask(name, port, "PING", tls=False).strip().splitlines()[-1])
        for port in CLEAR_PORTS:
            assert "TimeoutError" in ask(name, port, "PING", tls=False)


def test_all_that_members_and_the_shop_say_to_each_other_is_encrypted(wait_until: Wait) -> None:
    """Whoever is connected to a member from elsewhere is so at a port that speaks TLS alone: each Sentinel to each Redis and to each
    Sentinel, replicas to their primary, and the shop."""
    names = {address(name): name for name in (*MEMBERS, "shop")}

    def connections() -> set[tuple[str, str, str]]:
        """From whom, to whom and to which port."""
        found = set()
        for name in MEMBERS:
            for line in server(name).check_output("ss -Hnt state established").splitlines():
                (here, port), (there, their_port) = (end.rsplit(":", 1) for end in line.split()[2:4])
                if here != there and there in names:
                    is_asked = port in (*PORTS, *CLEAR_PORTS)
                    found.add((names[there], name, port) if is_asked else (name, names[there], their_port))
        return found

    expected = {(one, other, port) for one in MEMBERS for other in MEMBERS if one != other for port in PORTS}
    wait_until(lambda: connections() >= expected | {("shop", primary(), PORTS[0])})
    assert {port for *_, port in connections()} == set(PORTS)


def test_a_renewed_certificate_is_shown_and_nobody_fails_over(wait_until: Wait) -> None:
    """Redis reads it and goes on; a Sentinel is restarted."""
    name = primary()
    host = server(name)
    started = admin(name, "info server").split("process_id:")[1].split()[0]
    epochs = sentinel_said(name)["config-epoch"]
    # Some that end too soon, as those will that are old.
    for service in ("redis", "sentinel"):
        host.check_output(
            f'rm -rf /root/short && cp -a {CERTIFICATES} /root/short && sed -i \'s/"days": 30/"days": 2/\' /root/short/services.json'
            f" && {PROGRAM.rpartition('/')[0]}/certificates.py /root/short make {service} {CERTIFICATES}/{service}.pem; rm -r /root/short"
        )
    short = {service: written(name, service) for service in ("redis", "sentinel")}
    said = host.check_output(f"{PROGRAM.rpartition('/')[0]}/certificates.py {CERTIFICATES} renew")
    assert said.count("is renewed") == 2
    for service, port in zip(("redis", "sentinel"), PORTS, strict=True):
        assert written(name, service) != short[service]
        wait_until(lambda service=service, port=port: shown(name, port) == written(name, service))
    wait_until(all_well, timeout=120)
    assert primary() == name
    assert sentinel_said(name)["config-epoch"] == epochs
    assert admin(name, "info server").split("process_id:")[1].split()[0] == started


def written(name: str, service: str) -> str:
    """The number of the certificate in a service's file."""
    return server(name).check_output(f"openssl x509 -noout -serial -in {CERTIFICATES}/{service}.pem")


def shown(name: str, port: str) -> str:
    """The number of the certificate that is shown to the shop."""
    asking = (
        f"openssl s_client -connect {address(name)}:{port} -CAfile {CERTIFICATES}/authority.pem -verify_return_error"
    )
    return server("shop").run(f"{asking} </dev/null 2>/dev/null | openssl x509 -noout -serial").stdout.strip()


def sentinel_said(name: str) -> dict[str, str]:
    """What a member's Sentinel says of the primary."""
    password = secrets()["vault_redis_sentinel_password"]
    command = f"redis-cli -h {address(name)} -p {PORTS[1]} --tls --cacert {CERTIFICATES}/authority.pem sentinel master primary"
    words = server(name).check_output(f"REDISCLI_AUTH={password} {command}").splitlines()
    return dict(zip(words[::2], words[1::2], strict=True))


def test_members_listen_at_their_private_addresses_only() -> None:
    for name in MEMBERS:
        sockets = [line.split()[3].rsplit(":", 1) for line in server(name).check_output("ss -Hltn").splitlines()]
        listening = {(ip, port) for ip, port in sockets if port in (*PORTS, *CLEAR_PORTS)}
        assert listening == {(ip, port) for ip in ("127.0.0.1", address(name)) for port in PORTS}


def test_ansible_s_files_are_nobody_else_s() -> None:
    """Sentinel has Redis rewrite its configuration after each failover."""
    for name in MEMBERS:
        assert "Read-only file system" in admin(name, "config rewrite")
        assert "CONFIG REWRITE" not in server(name).check_output("cat /etc/redis/redis.conf /etc/redis/failover*")


@pytest.mark.parametrize("number", range(FAILOVERS))
@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_is_replaced_and_the_sweep_brings_back_what_was_lost(
    fault: str, number: int, wait_until: Wait, record_property: Callable[[str, object], None]
) -> None:
    before = figures()
    with load(wait_until):
        old = primary()
        began = time.time()
        with FAULTS[fault](old):
            new = wait_until(lambda: other if (other := primary_of_the_others(old)) else None, timeout=60)
            seconds = wait_until(lambda: consuming_since(began), timeout=120)
        wait_until(all_well, timeout=120)
        assert primary() == new
    seen = settled(wait_until)
    lost = seen["unfinished"]
    if lost:
        sweep()
    after = wait_until(lambda: found if (found := figures())["unfinished"] == 0 else None, timeout=120)
    assert after["done"] == after["asked"]
    figure = {
        "primary": fault,
        "reports": after["asked"] - before["asked"],
        "lost": lost,
        "brought back": after["done"] - seen["done"],
        "lost after it": after["unfinished"],
        "run twice": after["runs"] - before["runs"] - (after["done"] - before["done"]),
        "seconds until consuming": round(seconds, 1),
        "ended by the watch": ended_since(began),
    }
    record_property("counted", figure)


def ended_since(began: float) -> int:
    """Workers, and Beat, that the watch has killed; each comes back, but what it worked on waits for the sweep."""
    said = server("shop").check_output(
        "journalctl --quiet --output=cat --unit=stockpot-watch --since=@%s", str(int(began))
    )
    return said.count(" is deaf: ")


def primary_of_the_others(old: str) -> str:
    """The primary that the Sentinels beside the old one name."""
    for name in MEMBERS:
        if name != old and (
            found := re.search(rf"^{name} .*: primary", server(name).run(f"{PROGRAM} members").stdout, re.MULTILINE)
        ):
            return found[0].split()[0]
    return ""


def consuming_since(began: float) -> float | None:
    """Seconds from a moment until reports were finished again after the longest pause since; None while the pause goes on."""
    ends = [end for end in figures()["ends"] if end >= began - 5]
    pauses = [(after - before, after) for before, after in itertools.pairwise(ends)]
    longest = max(pauses, default=(0.0, 0.0))
    return longest[1] - began if longest[0] > 2 else None


def settled(wait_until: Wait) -> dict[str, Any]:
    """How far the reports are when nothing waits and nothing moves any more."""

    def stands() -> dict[str, Any] | None:
        seen = figures()
        has_stopped = seen["unfinished"] == 0 or time.time() - seen["ends"][-1] > 10
        return seen if has_stopped and waiting() == 0 else None

    return wait_until(stands, timeout=240)


def test_a_run_after_failovers_changes_nothing_and_moves_nobody_back(
    converge_again: Callable[..., Any], wait_until: Wait
) -> None:
    """The first of the inventory is no longer the primary; it hands over when it is restarted, should it be again."""
    if primary() == "redis-1":
        server("redis-1").check_output("systemctl restart redis-server")
        wait_until(all_well, timeout=120)
    before = primary()
    assert before != "redis-1"
    result = converge_again()
    assert result.returncode == 0, result.stdout[-4000:]
    assert set(re.findall(r"changed=(\d+)", result.stdout)) == {"0"}
    assert primary() == before


def test_another_setting_is_rolled_out_while_the_shop_goes_on(
    converge_again: Callable[..., Any], wait_until: Wait
) -> None:
    """One member after the other; the primary hands over before it restarts. What was refused in that moment the sweep sends."""
    old, began = primary(), time.time()
    with load(wait_until):
        result = converge_again("-e", json.dumps({"redis_settings": {"slowlog-max-len": 77}}), limit="redis")
        assert result.returncode == 0, result.stdout[-4000:]
    assert {admin(name, "config get slowlog-max-len").split()[-1] for name in MEMBERS} == {"77"}
    # Another one may have handed over to it since.
    said = server(old).check_output(f"journalctl --no-pager --unit redis-server --since @{began:.0f}")
    assert re.search(r"redis-\d \(\S+\) is the primary now", said)
    if settled(wait_until)["unfinished"]:
        sweep()
    assert wait_until(lambda: figures()["unfinished"] == 0, timeout=120)


def test_all_go_over_to_clear_text_and_back_at_once_and_keep_what_they_have(
    converge_again: Callable[..., Any], wait_until: Wait
) -> None:
    """Neither understands the other, so none of them stays behind. The shop, left as it is, is deaf meanwhile."""
    name = primary()
    admin(name, "-n 0 set cache:order paid")
    for tls, ports in ((False, CLEAR_PORTS), (True, PORTS)):
        result = converge_again("-e", json.dumps({"service_tls": tls}), limit="redis")
        assert result.returncode == 0, result.stdout[-4000:]
        wait_until(all_well, timeout=120)
        assert primary() == name
        for member in MEMBERS:
            assert admin(member, "-n 0 get cache:order") == "paid"
            sockets = server(member).check_output("ss -Hltn").splitlines()
            assert {line.split()[3].rsplit(":", 1)[1] for line in sockets} & {*PORTS, *CLEAR_PORTS} == set(ports)


def run_id(name: str) -> str:
    """Another one for each process of Redis."""
    return admin(name, "info server").split("run_id:")[1].split()[0]


def test_a_primary_that_crashes_is_back_and_nothing_is_lost(wait_until: Wait) -> None:
    """systemd starts it again, before the Sentinels notice or after; then it follows the one that they chose."""
    name = primary()
    admin(name, "-n 0 set cache:crash 1")
    before = run_id(name)
    server(name).check_output("systemctl kill -s KILL redis-server")
    wait_until(lambda: run_id(name) != before)
    wait_until(all_well, timeout=60)
    assert {admin(member, "-n 0 get cache:crash") for member in MEMBERS} == {"1"}


def test_the_site_its_workers_and_flower_are_well_after_all_that(shop: Shop, wait_until: Wait) -> None:
    wait_until(lambda: shop.get("/readyz").status_code == 200)
    order = shop.order()
    wait_until(lambda: shop.state(order) == "paid")
    password = secrets()["vault_flower_password"]
    wait_until(lambda: shop.workers(password) >= {f"{name}@shop" for name in WORKERS})
    queues = shop.get("/flower/api/queues/length", auth=("flower", password))
    assert queues.status_code == 200, queues.text


def test_no_secret_is_in_a_log() -> None:
    """Addresses of several servers are not what programs that hide passwords expect."""
    patterns = "\n".join(secrets().values())
    for name in (*MEMBERS, "shop"):
        search = '{ journalctl --no-pager; cat /var/log/redis/*.log 2>/dev/null; } | grep -F -f /dev/fd/3 3<<<"$(cat)" | head -3'
        ssh = ["ssh", "-F", LAB / "ssh_config", name, f"bash -c {shlex.quote(search)}"]
        found = subprocess.run(ssh, input=patterns, capture_output=True, text=True, timeout=120)
        assert found.stdout == "", name
