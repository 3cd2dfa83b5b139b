"""Rules are loaded to be taken back, and kept by the run that loaded them alone."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.modules import firewall
from ansible_collections.stockpot.stack.plugins.modules.firewall import (
    Commands,
    Firewall,
    FirewallError,
    is_among,
    listening_outside,
    refuse_what_shuts_out,
)

GIVEN = {
    "state": "present",
    "application": "shop",
    "table": "the table\n",
    "rules": "let in the shop\n",
    "unit": "a unit\n",
    "drop_in": "a drop-in\n",
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
            case ("nft", "-f", path):
                self.live = Path(path).read_text().removeprefix(firewall.REPLACED) or None
            case ("nft", "delete", *_):
                self.live = None
            case ("nft", *_):
                return (0, self.live, "") if self.live is not None else (1, "", "No such file or directory")
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
        return "".join(path.read_text() for path in parts)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A host without SSH, where nft is installed."""
    monkeypatch.setattr(firewall.shutil, "which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(firewall, "ssh_connection", lambda: None)
    return Kernel()


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


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (("10.0.0.9", 2222), "firewall_ssh_ports is [22], but this run reaches the server at port 2222"),
        (("10.0.0.9", 22), "firewall_ssh_addresses does not hold 10.0.0.9"),
    ],
)
def test_a_run_that_the_rules_would_shut_out_is_refused_at_once(connection: tuple[str, int], said: str) -> None:
    given = {**GIVEN, "ssh_addresses": ["192.168.0.0/16", "2001:db8::/32"]}
    with pytest.raises(FirewallError) as refused:
        refuse_what_shuts_out(connection, given)
    assert said in str(refused.value)
    refuse_what_shuts_out(("192.168.7.1", 22), given)
    refuse_what_shuts_out(None, given)


def test_an_address_is_found_in_networks_of_either_family() -> None:
    assert is_among("10.1.2.3", ["::/0", "10.0.0.0/8"])
    assert is_among("::ffff:10.1.2.3", ["10.0.0.0/8"])
    assert is_among("fd00::1", ["fd00::1"])
    assert not is_among("fd00::1", ["0.0.0.0/0"])


def test_what_listens_for_others_is_seen() -> None:
    """On every address, that is; what listens on loopback is not."""
    with socket.create_server(("0.0.0.0", 0)) as outside, socket.create_server(("127.0.0.1", 0)) as inside:  # noqa: S104
        seen = listening_outside()
        assert outside.getsockname()[1] in seen
        assert inside.getsockname()[1] not in seen
