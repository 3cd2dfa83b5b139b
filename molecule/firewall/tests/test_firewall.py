"""Who gets in, who does not, and that nobody shuts themselves out: seen from a foreign machine, and by runs that go wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra
from scan import open_ports
from testinfra.host import Host

PROJECT = Path(__file__).resolve().parents[3]
LAB = PROJECT / ".lab/firewall"
SERVERS = ("firewall-bookworm", "firewall-trixie")
OTHER = dict(zip(SERVERS, reversed(SERVERS), strict=True))
# What listens on every address: the site, what the other server may reach, and what nobody was told of.
LISTENS = (80, 6379, 7000, 8000)
OWN = "/etc/nftables.d/own"
SHOWN = "nft --stateless --terse list table inet stockpot"
Wait = Callable[..., Any]
Run = Callable[..., Any]


def machine(name: str) -> Host:
    """A host of the lab."""
    return testinfra.get_host(f"ssh://{name}", ssh_config=str(LAB / "ssh_config"), controlpersist=60)


def address(name: str) -> str:
    """Where the others reach it."""
    return machine(name).check_output("hostname -I").split()[0]


def reaches(asks: str, asked: str, port: int) -> bool:
    """Whether one machine gets a connection to another; a port that is shut says nothing at all."""
    program = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
    done = machine(asks).run("python3 -c %s %s %s", program, asked, str(port))
    assert done.rc == 0 or "TimeoutError" in done.stderr, done.stderr
    return done.rc == 0


def rules() -> dict[str, str]:
    """What each server lets in, as it is loaded."""
    return {name: machine(name).check_output(SHOWN) for name in SERVERS}


def kept() -> dict[str, str]:
    """What an operator reads and a boot loads."""
    look = "find /etc/nftables.d /var/lib/nftables-stockpot -type f -exec sha256sum {} + | sort"
    return {name: machine(name).check_output(look) for name in SERVERS}


def dropped(name: str) -> int:
    """How many packets a server has let go."""
    counted = re.search(r"packets (\d+)", machine(name).check_output("nft list counter inet stockpot dropped"))
    assert counted
    return int(counted[1])


def changes(run: Any) -> set[str]:
    """The counts of changed tasks in a run's recap."""
    return set(re.findall(r"changed=(\d+)", run.stdout))


def new_connection(name: str) -> subprocess.CompletedProcess[str]:
    """Whether SSH lets somebody in who was not there before."""
    ssh = ["ssh", "-F", str(LAB / "ssh_config"), "-o", "ControlPath=none", "-o", "ConnectTimeout=3", name, "true"]
    return subprocess.run(ssh, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module", autouse=True)
def _listening(wait_until: Wait) -> None:
    """Something to be found."""
    for name in SERVERS:
        listen_on(machine(name), wait_until)


def listen_on(server: Host, wait_until: Wait) -> None:
    """Start what listens, where it does not yet."""
    for port in LISTENS:
        if server.run(f"systemctl is-active listens-{port}").rc != 0:
            server.check_output(
                f"systemd-run --quiet --collect --unit=listens-{port} python3 -m http.server --bind :: {port}"
            )
        wait_until(lambda port=port: server.run(f"ss -Hltn sport = :{port}").stdout)


@pytest.fixture
def own_rule(converge_again: Run) -> Iterator[Callable[[str], None]]:
    """Writes an operator's drop-in on both servers; afterwards it is gone, and loaded no longer."""

    def write(text: str) -> None:
        for name in SERVERS:
            machine(name).check_output(f"printf '%%s\\n' %s >{OWN}/mine.nft", text)

    yield write
    for name in SERVERS:
        machine(name).check_output(f"rm -f {OWN}/mine.nft")
    assert converge_again().returncode == 0


@pytest.mark.parametrize("name", SERVERS)
def test_a_stranger_finds_ssh_and_what_is_open_to_everybody(name: str) -> None:
    """Of all ports, though more than that listens; and what is dropped is counted."""
    before = dropped(name)
    assert open_ports(machine("firewall-stranger"), address(name)) == {22, 80}
    assert dropped(name) - before > 65000


@pytest.mark.parametrize("name", SERVERS)
def test_a_service_is_open_to_whom_it_is_named_for_and_to_nobody_else(name: str) -> None:
    assert reaches(OTHER[name], address(name), 6379)
    assert not reaches("firewall-stranger", address(name), 6379)
    assert not reaches(OTHER[name], address(name), 7000)
    # Oneself.
    assert reaches(name, address(name), 7000)


@pytest.mark.parametrize("name", SERVERS)
def test_by_ipv6_it_is_the_same(name: str) -> None:
    """Neighbours find each other, too."""
    [link_local] = re.findall(r"inet6 (fe80\S+)/64", machine(name).check_output("ip -6 address show dev eth0"))
    assert reaches("firewall-stranger", f"{link_local}%eth0", 80)
    assert not reaches("firewall-stranger", f"{link_local}%eth0", 8000)


def test_a_boot_loads_it_before_the_network(
    lab_restart: Callable[[str], None], wait_until: Wait, converge_again: Run
) -> None:
    """And Debian's own service, which removes the tables of all, brings it back."""
    before = rules()
    for name in SERVERS:
        lab_restart(name)
        server = machine(name)
        listen_on(server, wait_until)
        order = server.check_output("systemctl show -P Before nftables-stockpot.service").split()
        assert "network-pre.target" in order
        assert not reaches("firewall-stranger", address(name), 8000)
        for verb in ("start", "reload", "restart"):
            server.check_output(f"systemctl {verb} nftables")
            assert "table inet filter" in server.check_output("nft list tables")
            assert server.check_output(SHOWN) == before[name], verb
        server.check_output("nft delete table inet filter")
    assert rules() == before
    # A container has another address after it, which a run tells the others.
    assert converge_again().returncode == 0


def test_what_somebody_flushed_or_changed_is_put_right(converge_again: Run) -> None:
    """A table of another's is not touched; once more changes nothing."""
    before = rules()
    machine(SERVERS[0]).check_output("nft delete table inet stockpot")
    machine(SERVERS[1]).check_output(
        "nft insert rule inet stockpot input tcp dport 8000 accept; nft add table inet another"
    )
    assert reaches("firewall-stranger", address(SERVERS[1]), 8000)
    foretold = converge_again("--check", "--diff")
    assert changes(foretold) == {"1"}, foretold.stdout
    assert "-\t\ttcp dport 8000 accept" in foretold.stdout
    assert changes(converge_again()) == {"1"}
    assert rules() == before
    assert changes(converge_again()) == {"0"}
    machine(SERVERS[1]).check_output("nft delete table inet another")


def test_an_operator_s_own_rules_are_loaded(own_rule: Callable[[str], None], converge_again: Run) -> None:
    """They stand before those of the applications."""
    own_rule(f"ip saddr {address('firewall-stranger')} tcp dport 8000 accept\ntcp dport 80 drop")
    done = converge_again()
    assert changes(done) == {"1"}, done.stdout
    for name in SERVERS:
        assert reaches("firewall-stranger", address(name), 8000)
        assert not reaches(OTHER[name], address(name), 8000)
        assert not reaches("firewall-stranger", address(name), 80)


def test_a_broken_rule_is_refused_by_its_file_and_changes_nothing(
    own_rule: Callable[[str], None], converge_again: Run
) -> None:
    before = rules()
    own_rule("tcp dport no-such-service accept")
    refused = converge_again()
    assert refused.returncode != 0
    assert changes(refused) == {"0"}
    assert f"{OWN}/mine.nft:1:" in refused.stdout
    assert rules() == before


def test_rules_that_shut_ssh_out_come_back_and_the_run_says_why(
    own_rule: Callable[[str], None], converge_again: Run
) -> None:
    """A boot would not load them either."""
    before, files = rules(), kept()
    own_rule("tcp dport 22 drop")
    failed = converge_again()
    assert failed.returncode != 0
    for name in SERVERS:
        assert f"With its new rules {name} takes no new SSH connection" in failed.stdout
        assert f"or the rules in {OWN}/ on {name}" in failed.stdout
        assert new_connection(name).returncode == 0
        machine(name).check_output(f"rm {OWN}/mine.nft")
    assert "firewall_ssh_addresses or firewall_ssh_ports (group_vars/<environment>/main.yml" in failed.stdout
    assert rules() == before
    assert kept() == files


def test_a_run_that_is_cut_off_leaves_the_rules_from_before(own_rule: Callable[[str], None], wait_until: Wait) -> None:
    """Nobody is there to say that SSH is shut: the server finds it out by itself, and keeps its rules over a boot."""
    before, files = rules(), kept()
    own_rule("tcp dport 22 drop")
    inventories = [PROJECT / "molecule/firewall/hosts.yml", LAB / "connections.yml"]
    words = [
        "ansible-playbook",
        *(f"--inventory={path}" for path in inventories),
        str(PROJECT / "molecule/firewall/converge.yml"),
    ]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")}
    with (LAB / "cut-off.log").open("w") as log:
        run = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=PROJECT,
            start_new_session=True,
        )
        try:
            for name in SERVERS:
                wait_until(lambda name=name: new_connection(name).returncode != 0)
        finally:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    for name in SERVERS:
        wait_until(lambda name=name: new_connection(name).returncode == 0)
        machine(name).check_output(f"rm {OWN}/mine.nft")
    assert rules() == before
    assert kept() == files


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"firewall_ssh_addresses": ["192.0.2.1"]}, "firewall_ssh_addresses does not hold "),
        ({"firewall_ssh_ports": [2222]}, "firewall_ssh_ports is [2222], but this run reaches the server at port 22"),
        ({"firewall_ssh_addresses": ["office"]}, "firewall_ssh_addresses holds 'office'"),
    ],
)
def test_what_would_shut_this_run_out_is_refused_at_once(given: dict[str, Any], said: str, converge_again: Run) -> None:
    before = rules()
    refused = converge_again("-e", json.dumps(given))
    assert refused.returncode != 0
    assert said in refused.stdout
    assert changes(refused) == {"0"}
    assert rules() == before


@pytest.mark.long
def test_a_second_application_has_its_own_rules_and_takes_only_them_away(converge_again: Run) -> None:
    """The first one's runs do not touch them, nor the other way round."""
    before = rules()
    everybody = [{"name": "blog", "ports": [8000], "addresses": ["0.0.0.0/0"]}]
    blog = json.dumps({"firewall_application": "blog", "firewall_services": everybody})
    assert changes(converge_again("-e", blog)) == {"1"}
    assert changes(converge_again()) == {"0"}
    assert changes(converge_again("-e", blog)) == {"0"}
    for name in SERVERS:
        assert reaches("firewall-stranger", address(name), 8000)
        assert reaches("firewall-stranger", address(name), 80)
    assert changes(converge_again("-e", "firewall_application=blog", playbook="absent.yml")) == {"1"}
    assert changes(converge_again("-e", "firewall_application=blog", playbook="absent.yml")) == {"0"}
    assert rules() == before


@pytest.mark.long
def test_what_is_still_used_stays_open_until_the_role_runs_without_it(converge_again: Run) -> None:
    """As a run of site.yml does that moves a service to another port."""
    before = rules()
    old = [{"name": "old", "ports": [7000], "addresses": ["0.0.0.0/0"]}]
    new = [{"name": "old", "ports": [8000], "addresses": ["0.0.0.0/0"]}]
    given = {"firewall_application": "blog", "firewall_services": new}
    seen = []
    for changed in ({"firewall_services": old}, {"firewall_kept_services": ["old"]}, {}):
        done = converge_again("-e", json.dumps(given | changed))
        assert changes(done) == {"1"}, done.stdout
        seen.append([port for port in (7000, 8000) if reaches("firewall-stranger", address(SERVERS[0]), port)])
    assert seen == [[7000], [7000, 8000], [8000]]
    assert "Shut from now on, for something listens there: TCP 7000." in done.stdout
    assert changes(converge_again("-e", "firewall_application=blog", playbook="absent.yml")) == {"1"}
    assert rules() == before


# One that sends a word to whoever has come, when it is told to; and one who comes and waits for that.
SAYS = """
import os, socket, time
server = socket.create_server(("0.0.0.0", 9000))
peers = [server.accept()[0] for _ in range(2)]
open("/run/all-wait", "w").close()
while not os.path.exists("/run/say"):
    time.sleep(0.1)
for peer in peers:
    peer.sendall(b"a word")
time.sleep(600)
"""
WAITS = """
import socket, sys
peer = socket.create_connection((sys.argv[1], 9000))
said = peer.recv(100)
open("/run/heard", "wb").write(said)
"""


def have_them_wait(wait_until: Wait) -> Callable[[], None]:
    """Have both servers wait for a word of a foreign machine, from before there are rules; the function returned says it, and sees that they hear it."""
    stranger = machine("firewall-stranger")
    stranger.check_output("rm -f /run/say /run/all-wait; systemctl stop says 2>/dev/null; true")
    stranger.check_output("systemd-run --quiet --collect --unit=says python3 -c %s", SAYS)
    wait_until(lambda: stranger.run("ss -Hltn sport = :9000").stdout)
    for name in SERVERS:
        machine(name).check_output("rm -f /run/heard; systemctl stop waits 2>/dev/null; true")
        started = "systemd-run --quiet --collect --unit=waits python3 -c %s %s"
        machine(name).check_output(started, WAITS, address("firewall-stranger"))
    wait_until(lambda: stranger.file("/run/all-wait").exists)

    def say() -> None:
        stranger.check_output("touch /run/say")
        for name in SERVERS:
            wait_until(lambda name=name: machine(name).run("cat /run/heard").stdout == "a word")

    return say


@pytest.mark.long
def test_it_is_taken_away_and_comes_back_with_a_word_on_what_it_shuts(converge_again: Run, wait_until: Wait) -> None:
    """The last application's openings first: SSH stays. Whoever waits for an answer, when it comes back, gets it."""
    before = rules()
    assert changes(converge_again("-e", "firewall_application=shop", playbook="absent.yml")) == {"1"}
    for name in SERVERS:
        assert not reaches("firewall-stranger", address(name), 80)
        assert new_connection(name).returncode == 0
    off = converge_again("-e", "firewall_enabled=false")
    assert changes(off) == {"1"}, off.stdout
    assert changes(converge_again("-e", "firewall_enabled=false")) == {"0"}
    for name in SERVERS:
        assert "stockpot" not in machine(name).check_output("nft list tables")
        assert machine(name).run("systemctl cat nftables-stockpot").rc != 0
        assert reaches("firewall-stranger", address(name), 8000)
    say = have_them_wait(wait_until)
    on = converge_again()
    assert on.returncode == 0, on.stdout
    say()
    assert "Shut from now on, for something listens there: TCP 7000, 8000." in on.stdout
    assert rules() == before
