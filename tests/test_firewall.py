"""Rules are loaded to be taken back, and kept by the run that loaded them alone."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.action.firewall import ActionModule
from ansible_collections.stockpot.stack.plugins.module_utils import sockets, ssh
from ansible_collections.stockpot.stack.plugins.modules import firewall
from ansible_collections.stockpot.stack.plugins.modules.firewall import Commands, Firewall, FirewallError, opened, told
from rendering import render

GIVEN = {
    "state": "present",
    "application": "shop",
    "table": "the table\n",
    "rules": "let in the shop\n",
    "unit": "a unit\n",
    "drop_in": "a drop-in\n",
    "kept_services": [],
    "ssh_addresses": ["0.0.0.0/0"],
    "ssh_ports": [22],
    "take_back_seconds": 60,
}


class Kernel(Commands):
    """Keeps one table as nft does, and what systemd is to do about it."""

    def __init__(self) -> None:
        self.live: str | None = None
        self.timer: tuple[str, ...] = ()
        self.enabled = False
        self.loads = 0
        self.ongoing = ""
        self.interface: dict[str, Any] = {"ifname": "eth0"}

    def run(self, *words: str) -> tuple[int, str, str]:
        """Nothing of it reaches the machine that runs the tests."""
        match words:
            case ("unshare", *_):
                trial = Path(words[words.index("sh", 4) + 1])
                rules = self.listed(trial)
                if "nonsense" in rules:
                    return 1, "", f"{trial}/own/mine.nft:1:1-8: Error: syntax error"
                (trial / "boot.nft").write_text(rules)
                return 0, rules, ""
            case ("nft", "-I", trial, "-f", _):
                self.live, self.loads = self.listed(Path(trial)), self.loads + 1
                self.ongoing = Path(trial, "ongoing.nft").read_text()
            case ("nft", "-f", path) if path.endswith("/ongoing.nft"):
                self.ongoing = Path(path).read_text()
            case ("systemctl", "start", _):
                # The unit replaces the table.
                self.ongoing = ""
            case ("nft", "-f", path):
                self.live = Path(path).read_text().removeprefix(firewall.REPLACED) or None
            case ("nft", "delete", *_):
                self.live = None
            case ("nft", *_):
                return (0, self.live, "") if self.live is not None else (1, "", "No such file or directory")
            case ("ip", *_):
                return 0, json.dumps([self.interface]), ""
            case ("systemd-run", *_):
                self.timer = words
            case ("systemctl", "stop", _):
                self.timer = ()
            case ("systemctl", "is-active", "--quiet", "nftables-stockpot-take-back.timer"):
                return (0 if self.timer else 3), "", ""
            case ("systemctl", "is-active" | "is-enabled", *_):
                return (0 if self.enabled else 1), "", ""
            case ("systemctl", "enable", _):
                self.enabled = True
            case ("systemctl", "disable", *_):
                self.enabled = False
        return 0, "", ""

    @staticmethod
    def listed(trial: Path) -> str:
        """A folder's rules as one text."""
        parts = [trial / "stockpot.nft", *sorted(trial.glob("own/*.nft")), *sorted(trial.glob("applications/*.nft"))]
        lines = [line for path in parts for line in path.read_text().splitlines(keepends=True)]
        return "".join(line for line in lines if not line.startswith("#"))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A host without SSH, where nft is installed."""
    monkeypatch.setattr(firewall.shutil, "which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(firewall.ssh, "connection", lambda: None)
    monkeypatch.setattr(firewall.sockets, "begun_here", list)
    listen(monkeypatch)
    return Kernel()


def listen(monkeypatch: pytest.MonkeyPatch, **ports: list[int]) -> None:
    """Have something listen at ports of the host: `listen(monkeypatch, tcp=[80])`."""
    monkeypatch.setattr(firewall.sockets, "listening_outside", lambda: {"tcp": [], "udp": [], **ports})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The host's files."""
    (tmp_path / "run/nftables-stockpot").mkdir(parents=True)
    (tmp_path / "scratch").mkdir()
    return tmp_path


def a_run(kernel: Kernel, root: Path, *, check_mode: bool = False) -> Firewall:
    """What one run does to the host."""
    return Firewall(kernel, scratch=str(root / "scratch"), check_mode=check_mode, root=str(root))


def deployed(kernel: Kernel, root: Path, **given: Any) -> None:
    """A run that goes through."""
    one = a_run(kernel, root)
    if token := one.load({**GIVEN, **given})["token"]:
        one.confirm(token, given.get("application", "shop"))


def files(root: Path) -> dict[str, str]:
    """What a boot would find, and what an operator reads."""
    found = [path for top in ("etc", "var") for path in (root / top).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_text() for path in found}


def test_nothing_is_written_before_it_is_confirmed(kernel: Kernel, root: Path) -> None:
    one = a_run(kernel, root)
    token = one.load(GIVEN)["token"]
    assert kernel.live == "the table\nlet in the shop\n"
    assert kernel.timer
    assert files(root) == {}
    one.confirm(token, "shop")
    assert kernel.timer == ()
    assert kernel.enabled
    assert files(root) == {
        "etc/nftables.d/stockpot.nft": "the table\n",
        "etc/nftables.d/applications/shop.nft": "let in the shop\n",
        "etc/systemd/system/nftables-stockpot.service": "a unit\n",
        "etc/systemd/system/nftables.service.d/stockpot.conf": "a drop-in\n",
        "var/lib/nftables-stockpot/confirmed.nft": f"{firewall.REPLACED}the table\nlet in the shop\n",
    }


def test_what_is_loaded_already_is_not_loaded_again(kernel: Kernel, root: Path) -> None:
    deployed(kernel, root)
    again = a_run(kernel, root)
    assert again.load(GIVEN) == {"changed": False, "loaded": False, "token": ""}
    assert (kernel.loads, kernel.timer) == (1, ())


def test_a_table_that_somebody_flushed_or_changed_is_loaded_again(kernel: Kernel, root: Path) -> None:
    deployed(kernel, root)
    for by_hand in (None, "the table\nlet in everybody\n"):
        kernel.live = by_hand
        deployed(kernel, root)
        assert kernel.live == "the table\nlet in the shop\n"


def test_the_timer_of_systemd_brings_the_old_rules_back_and_ends_the_confirmation(kernel: Kernel, root: Path) -> None:
    """Its command is run here as it would be."""
    deployed(kernel, root)
    before = files(root)
    one = a_run(kernel, root)
    token = one.load({**GIVEN, "rules": "shut everybody out\n"})["token"]
    *_, shell, option, script = kernel.timer
    assert (shell, option) == ("/bin/sh", "-c")
    remove, load = script.split(" && ")
    Path(remove.removeprefix("rm ")).unlink()
    kernel.run(*load.split())
    assert kernel.live == "the table\nlet in the shop\n"
    with pytest.raises(FirewallError, match="the old ones are back"):
        one.confirm(token, "shop")
    assert files(root) == before


def test_a_run_that_was_cut_off_and_goes_on_does_not_confirm_what_a_later_one_loaded(
    kernel: Kernel, root: Path
) -> None:
    deployed(kernel, root)
    orphan = a_run(kernel, root)
    first = orphan.load({**GIVEN, "rules": "the first one's\n"})["token"]
    later = a_run(kernel, root)
    second = later.load({**GIVEN, "rules": "the second one's\n"})["token"]
    with pytest.raises(FirewallError):
        orphan.confirm(first, "shop")
    assert files(root)["etc/nftables.d/applications/shop.nft"] == "let in the shop\n"
    later.confirm(second, "shop")
    assert files(root)["etc/nftables.d/applications/shop.nft"] == "the second one's\n"


def test_a_run_begins_with_the_rules_that_were_last_confirmed(kernel: Kernel, root: Path) -> None:
    """Else it would take those of a run that was cut off for the old ones, and bring them back."""
    deployed(kernel, root)
    a_run(kernel, root).load({**GIVEN, "rules": "of a run that was cut off\n"})
    later = a_run(kernel, root)
    later.load({**GIVEN, "rules": "of the next\n"})
    assert later.take_back()
    assert kernel.live == "the table\nlet in the shop\n"


def test_a_confirmation_whose_answer_was_lost_may_be_repeated(kernel: Kernel, root: Path) -> None:
    one = a_run(kernel, root)
    token = one.load(GIVEN)["token"]
    one.confirm(token, "shop")
    one.confirm(token, "shop")
    assert kernel.live == "the table\nlet in the shop\n"


def test_rules_that_nft_does_not_take_change_nothing_and_are_told_by_their_own_file(kernel: Kernel, root: Path) -> None:
    deployed(kernel, root)
    before, live = files(root), kernel.live
    (root / "etc/nftables.d/own/mine.nft").write_text("nonsense\n")
    with pytest.raises(FirewallError, match=r"nftables\.d/own/mine\.nft:1:1-8: Error: syntax error"):
        a_run(kernel, root).load(GIVEN)
    assert (kernel.live, kernel.loads, kernel.timer) == (live, 1, ())
    assert files(root) == {**before, "etc/nftables.d/own/mine.nft": "nonsense\n"}


def test_a_check_foretells_and_changes_nothing(kernel: Kernel, root: Path) -> None:
    foretold = a_run(kernel, root, check_mode=True)
    assert foretold.load(GIVEN)["changed"]
    assert (kernel.live, kernel.timer, files(root)) == (None, (), {})
    assert "let in the shop" in str(foretold.diff)
    deployed(kernel, root)
    assert not a_run(kernel, root, check_mode=True).load(GIVEN)["changed"]


def test_a_check_on_a_server_without_nftables_foretells_too(
    kernel: Kernel, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firewall.shutil, "which", lambda name: None)
    assert a_run(kernel, root, check_mode=True).load(GIVEN)["changed"]
    assert not a_run(kernel, root).load({**GIVEN, "state": "absent"})["changed"]


def test_each_application_has_its_rules_and_takes_only_them_away(kernel: Kernel, root: Path) -> None:
    deployed(kernel, root)
    deployed(kernel, root, application="blog", rules="let in the blog\n")
    assert kernel.live == "the table\nlet in the blog\nlet in the shop\n"
    deployed(kernel, root, state="closed")
    assert kernel.live == "the table\nlet in the blog\n"
    assert not a_run(kernel, root).load({**GIVEN, "state": "closed"})["changed"]


def test_the_last_application_leaves_the_firewall_with_ssh(kernel: Kernel, root: Path) -> None:
    deployed(kernel, root)
    deployed(kernel, root, state="closed", rules="SSH\n")
    assert kernel.live == "the table\nSSH\n"
    assert not a_run(kernel, root).load({**GIVEN, "state": "closed", "rules": "SSH\n"})["changed"]


def test_where_there_never_was_a_firewall_none_comes_of_taking_an_application_away(kernel: Kernel, root: Path) -> None:
    assert not a_run(kernel, root).load({**GIVEN, "state": "closed"})["changed"]
    assert (kernel.live, files(root)) == (None, {})


def test_without_a_firewall_nothing_of_it_stays(kernel: Kernel, root: Path) -> None:
    """An operator's own rules, who may want them again, do."""
    deployed(kernel, root)
    (root / "etc/nftables.d/own/mine.nft").write_text("mine\n")
    assert a_run(kernel, root, check_mode=True).load({**GIVEN, "state": "absent"})["changed"]
    deployed(kernel, root, state="absent")
    assert (kernel.live, kernel.enabled) == (None, False)
    assert files(root) == {"etc/nftables.d/own/mine.nft": "mine\n"}
    assert not a_run(kernel, root).load({**GIVEN, "state": "absent"})["changed"]


def apps(root: Path) -> dict[str, str]:
    """The files of the applications."""
    found = (root / "etc/nftables.d/applications").glob("*.nft")
    return {path.stem: path.read_text() for path in found}


def test_one_that_wants_no_firewall_keeps_its_openings_while_another_one_wants_it(kernel: Kernel, root: Path) -> None:
    """Whichever is run first: with the last one that wants it, it is gone."""
    deployed(kernel, root)
    deployed(kernel, root, application="blog", rules="let in the blog\n", state="absent")
    assert kernel.live == "the table\nlet in the blog\nlet in the shop\n"
    again = a_run(kernel, root)
    blog = {**GIVEN, "application": "blog", "rules": "let in the blog\n", "state": "absent"}
    assert again.load(blog) == {"changed": False, "loaded": False, "token": ""}
    deployed(kernel, root, state="absent")
    assert (kernel.live, kernel.enabled, files(root)) == (None, False, {})


def test_what_an_application_leaves_counts_for_none(kernel: Kernel, root: Path) -> None:
    """Nor do its addresses of SSH stay beside those of another one."""
    for later, live in (("present", "the table\nlet in the blog\n"), ("absent", None)):
        deployed(kernel, root)
        deployed(kernel, root, state="closed", rules="SSH\n")
        assert kernel.live == "the table\nSSH\n"
        deployed(kernel, root, application="blog", rules="let in the blog\n", state=later)
        assert kernel.live == live
        assert set(apps(root)) == ({"blog"} if live else set())
        deployed(kernel, root, application="blog", state="absent")


def test_what_an_application_still_uses_stays_open_until_it_is_told_of_something_else(
    kernel: Kernel, root: Path
) -> None:
    """Its services alone: who may come by SSH is as written at once. A run that failed midway is completed by the next one."""

    def rules(ssh_from: str, ports: list[int], extra: list[int]) -> str:
        given = {"firewall_ssh_addresses": [ssh_from], "firewall_application": "shop"}
        service = {"name": "Redis", "ports": ports, "addresses": ["10.0.0.5"]}
        given |= {
            "firewall_services": [service],
            "firewall_extra_services": [service | {"name": "mine", "ports": extra}],
        }
        return render("firewall", "application.nft.j2", **given)

    before, after = rules("192.0.2.1", [6379, 6380], [9100]), rules("192.0.2.2", [6379], [9101])
    old = 'ip saddr { 10.0.0.5 } tcp dport { 6379, 6380 } accept comment "Redis (shop)"\n'
    deployed(kernel, root, rules=before)
    during = {**GIVEN, "rules": after, "kept_services": ["Redis"]}
    for _ in range(2):
        one = a_run(kernel, root)
        if token := one.load(during)["token"]:
            one.confirm(token, "shop")
        assert one.kept
        assert apps(root)["shop"] == f"{after}{firewall.KEPT}{old}"
        assert old in str(kernel.live)
    last = a_run(kernel, root)
    last.confirm(last.load({**during, "kept_services": []})["token"], "shop")
    assert not last.kept
    assert apps(root)["shop"] == after
    idle = a_run(kernel, root)
    assert idle.load(during) == {"changed": False, "loaded": False, "token": ""}
    assert not idle.kept


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/systemd/system/blog-web.service", "[Unit]\nX-Application=blog\n"),
        ("etc/systemd/system/redis-server@blog.service.d/application.conf", "[Unit]\nX-Application=blog\n"),
        ("etc/supervisor/conf.d/blog-web.conf", "; X-Application=blog\n"),
    ],
)
def test_nothing_is_closed_that_an_application_without_rules_lives_by(
    kernel: Kernel, root: Path, monkeypatch: pytest.MonkeyPatch, path: str, text: str
) -> None:
    """It is named, and a run for it lets the other one go."""
    (root / path).parent.mkdir(parents=True)
    (root / path).write_text(text)
    (root / "etc/systemd/system/shop-web.service").parent.mkdir(parents=True, exist_ok=True)
    (root / "etc/systemd/system/shop-web.service").write_text("[Unit]\nX-Application=shop\n")
    open_to_all = "tcp dport { 80, 443 } accept\n"
    deployed(kernel, root, rules=open_to_all)
    listen(monkeypatch, tcp=[443, 9100])
    gone = {**GIVEN, "state": "closed", "rules": "tcp dport 22 accept\n"}
    before = files(root)
    closing = a_run(kernel, root)
    assert closing.load(gone) == {"changed": False, "loaded": False, "token": ""}
    assert (closing.dependent, told(closing.shut)) == (["blog"], "")
    assert (kernel.live, files(root)) == (f"the table\n{open_to_all}", before)
    deployed(kernel, root, application="blog", rules=open_to_all)
    deployed(kernel, root, **gone)
    assert set(apps(root)) == {"blog"}


def test_each_load_names_what_it_shuts(kernel: Kernel, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one, and every later one; what was shut before, or where nothing listens, is not told again."""
    listen(monkeypatch, tcp=[80, 3000, 3001, 9100], udp=[53, 5140])
    site, rest = "tcp dport 80 accept\n", "tcp dport { 81, 3000-3010 } accept\nudp dport 5140 accept\n"
    first = a_run(kernel, root, check_mode=True)
    first.load({**GIVEN, "rules": site + rest})
    assert told(first.shut) == "TCP 9100; UDP 53"
    deployed(kernel, root, rules=site + rest)
    second = a_run(kernel, root)
    second.confirm(second.load({**GIVEN, "rules": site})["token"], "shop")
    assert told(second.shut) == "TCP 3000, 3001; UDP 5140"
    third = a_run(kernel, root)
    third.load({**GIVEN, "rules": site + "tcp dport 82 accept\n"})
    assert told(third.shut) == ""


def test_a_check_on_a_server_without_nftables_names_what_will_be_shut(
    kernel: Kernel, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the role's template writes the rules."""
    monkeypatch.setattr(firewall.shutil, "which", lambda name: None)
    listen(monkeypatch, tcp=[22, 80, 9100], udp=[51820])
    services = [{"name": "site", "ports": [80, 443], "addresses": ["0.0.0.0/0", "::/0"]}]
    one = a_run(kernel, root, check_mode=True)
    one.load({**GIVEN, "rules": render("firewall", "application.nft.j2", firewall_services=services)})
    assert told(one.shut) == "TCP 9100; UDP 51820"


def test_the_ports_of_rules_are_read_as_nft_lists_them() -> None:
    listed = """
        ip saddr { 10.0.0.0/8, 192.0.2.1 } tcp dport { 80, 443, 3000-3010 } accept comment "x"
        udp dport 51820 accept
        tcp dport 25 drop
        udp sport 547 udp dport 546 accept
    """
    assert opened(listed) == {
        "tcp": [range(80, 81), range(443, 444), range(3000, 3011)],
        "udp": [range(51820, 51821), range(546, 547)],
    }


def test_a_run_through_a_tunnel_does_not_shut_it(kernel: Kernel, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be proved over a connection that ends minutes later."""
    monkeypatch.setattr(firewall.ssh, "connection", lambda: ssh.Connection("10.8.0.2", "10.8.0.1", 22))
    listen(monkeypatch, udp=[51820])
    # As `ip -json -details` tells it.
    kernel.interface = {"ifname": "wg0", "link_type": "none", "linkinfo": {"info_kind": "wireguard"}}
    with pytest.raises(FirewallError, match=r"comes in through wg0, .* \(51820\) none would be open"):
        a_run(kernel, root).load(GIVEN)
    assert (kernel.live, kernel.timer, files(root)) == (None, (), {})
    opening = "udp dport 51820 accept\n"
    deployed(kernel, root, rules=opening)
    with pytest.raises(FirewallError, match="firewall_extra_services"):
        a_run(kernel, root).load(GIVEN)
    assert kernel.live == f"the table\n{opening}"
    kernel.interface = {"ifname": "eth0"}
    deployed(kernel, root)
    assert kernel.live == "the table\nlet in the shop\n"


def test_a_run_that_the_rules_would_shut_out_is_refused_at_once(
    kernel: Kernel, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firewall.ssh, "connection", lambda: ssh.Connection("10.0.0.9", "10.0.0.1", 2222))
    with pytest.raises(FirewallError, match=r"Nothing was changed\. firewall_ssh_ports is \[22\]"):
        a_run(kernel, root).load(GIVEN)
    assert (kernel.live, kernel.timer, files(root)) == (None, (), {})


@pytest.mark.parametrize(
    ("address", "port", "said"),
    [
        ("10.0.0.9", 2222, "firewall_ssh_ports is [22], but this run reaches the server at port 2222"),
        ("10.0.0.9", 22, "firewall_ssh_addresses does not hold 10.0.0.9"),
        ("192.168.7.1", 22, ""),
    ],
)
def test_who_is_not_let_in_is_told_why(address: str, port: int, said: str) -> None:
    given = {**GIVEN, "ssh_addresses": ["192.168.0.0/16", "2001:db8::/32"]}
    found = ssh.shut_out(ssh.Connection(address, "10.0.0.1", port), given)
    assert found.startswith(said)
    assert bool(found) is bool(said)
    assert ssh.shut_out(None, given) == ""


class Said:
    """What a run shows."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        """One of them."""
        self.warnings.append(text)


@pytest.mark.parametrize(("transport", "words"), [("ssh", []), ("local", ["nothing has proved", "server-1", "local"])])
def test_a_run_that_does_not_come_by_ssh_says_that_it_has_proved_nothing(
    monkeypatch: pytest.MonkeyPatch, transport: str, words: list[str]
) -> None:
    task = SimpleNamespace(args=GIVEN, async_val=0, check_mode=False, diff=False, delegate_to=None)
    connection = SimpleNamespace(
        transport=transport,
        _shell=SimpleNamespace(tmpdir="/tmp"),
        reset=lambda: None,
        get_option=lambda _: "",
        set_option=lambda *_: None,
    )
    action = ActionModule(task, connection, None, None, None, None)
    said = Said()
    monkeypatch.setattr(action, "_display", said)
    stages = {"load": {"changed": True, "token": "a token"}, "confirm": {"changed": True, "files": ["a file"]}}
    monkeypatch.setattr(
        action, "_execute_module", lambda **call: dict(stages[call["module_args"].get("stage", "load")])
    )
    done = action.run(task_vars={"inventory_hostname": "server-1"})
    assert (done["changed"], done["files"]) == (True, ["a file"])
    assert len(said.warnings) == bool(words)
    assert all(word in said.warnings[0] for word in words)


def test_an_address_is_found_in_networks_of_either_family() -> None:
    assert ssh.is_among("10.1.2.3", ["::/0", "10.0.0.0/8"])
    assert ssh.is_among("::ffff:10.1.2.3", ["10.0.0.0/8"])
    assert ssh.is_among("fd00::1", ["fd00::1"])
    assert not ssh.is_among("fd00::1", ["0.0.0.0/0"])


def test_answers_that_somebody_waits_for_are_let_in_by_the_first_load_alone(
    kernel: Kernel, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As nft reads them, of either family."""
    four, six = sockets.ipaddress.ip_address("10.0.0.5"), sockets.ipaddress.ip_address("fd00::5")
    begun = [sockets.Socket(one, 40000 + one.version, one + 1, 6379, sockets.ESTABLISHED) for one in (four, six)]
    monkeypatch.setattr(firewall.sockets, "begun_here", lambda: begun)
    one = a_run(kernel, root)
    token = one.load(GIVEN)["token"]
    elements = (
        "add element inet stockpot ongoing { 10.0.0.6 . 6379 . 10.0.0.5 . 40004 timeout 1d }\n"
        "add element inet stockpot ongoing6 { fd00::6 . 6379 . fd00::5 . 40006 timeout 1d }\n"
    )
    assert kernel.ongoing == elements
    assert 'include "ongoing.nft"' in (one.trial / "load.nft").read_text()
    one.confirm(token, "shop")
    assert kernel.ongoing == elements
    deployed(kernel, root, rules="another\n")
    assert kernel.ongoing == ""


def test_connections_that_this_host_began_are_told_from_those_of_others(tmp_path: Path) -> None:
    """As the kernel writes them: 10.0.0.5 asks 10.0.0.6 at port 6379, is asked itself at 22, and has one of its own that is over."""
    head = "  sl  local_address rem_address   st\n"
    lines = (
        "0500000A:9C44 0600000A:18EB 01",
        "0500000A:0016 0700000A:9C45 01",
        "00000000:0016 00000000:0000 0A",
        "0500000A:9C46 0600000A:18EB 06",
        "0100007F:9C47 0100007F:18EB 01",
    )
    six = "0000000000000000FFFF00000500000A:9C48 0000000000000000FFFF00000600000A:1538 05"
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(head + "".join(f"   {number}: {line}\n" for number, line in enumerate(lines)))
    (tmp_path / "net/tcp6").write_text(f"{head}   0: {six}\n")
    assert [
        (str(one.peer), one.peer_port, str(one.address), one.port) for one in sockets.begun_here(str(tmp_path))
    ] == [
        ("10.0.0.6", 6379, "10.0.0.5", 40004),
        ("10.0.0.6", 5432, "10.0.0.5", 40008),
    ]


@pytest.mark.parametrize(("kind", "protocol"), [(socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")])
def test_what_listens_for_others_is_seen(kind: socket.SocketKind, protocol: str) -> None:
    """On every address, that is; what listens on loopback is not, nor what speaks to one other alone."""
    made = [socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET, kind) for at in PLACES]
    try:
        for one, at in zip(made, PLACES, strict=True):
            one.bind((at, 0))
            if kind == socket.SOCK_STREAM:
                one.listen()
        seen = sockets.listening_outside()[protocol]
        assert [one.getsockname()[1] in seen for one in made] == [True, True, False, False, False]
        if kind == socket.SOCK_DGRAM:
            made[0].connect(("127.0.0.1", 9))
            assert made[0].getsockname()[1] not in sockets.listening_outside()[protocol]
    finally:
        for one in made:
            one.close()


PLACES = ("0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:127.0.0.1")  # noqa: S104
