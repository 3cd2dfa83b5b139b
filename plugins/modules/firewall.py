#!/usr/bin/python
"""Ansible module: what a server lets in, loaded so that nobody shuts themselves out."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils import sockets, ssh
from ansible_collections.stockpot.stack.plugins.module_utils.files import File, FileError, write

DOCUMENTATION = r"""
module: firewall
short_description: Load what a server lets in, and take it back unless SSH goes on
description:
  - Keeps the table C(inet stockpot) of nftables as it is written in C(/etc/nftables.d). Tables of others are not touched.
  - The rules of the table, of every application and an operator's own are first loaded in a network namespace of their own, which
    shows how they look loaded. Where the live table looks otherwise, it is replaced in one step; else nothing is loaded.
  - Before that a timer of systemd's is set, which loads the old rules again. Only a new SSH connection of this very run stops it; the
    files are written then, and what a boot loads. So neither rules that shut SSH out nor a run that is cut off change the server for good.
  - In check mode the rules are looked at in the same way, where nftables is installed.
options:
  state:
    description:
      - V(present) for the application's rules in the table.
      - V(closed) for an application that is taken away. Its file goes; the last one's stays, with O(rules), until another application has
        one. Nothing is closed while another application on the host has no file and would be shut.
      - V(absent) for an application that wants no firewall. It takes away the table, its files and its unit, unless another application
        wants them, as long as which the rules are loaded as with V(present).
    type: str
    choices: [present, closed, absent]
    default: present
  application:
    description: Whose rules they are; names their file.
    type: str
    required: true
  table:
    description: The table, which includes C(own/*.nft) and C(applications/*.nft).
    type: str
    required: true
  rules:
    description: The application's rules for the chain of what comes in.
    type: str
    required: true
  unit:
    description: The unit that loads the confirmed rules at boot.
    type: str
    required: true
  drop_in:
    description: A drop-in for Debian's nftables.service, which removes the tables of all where it is used, so that it loads them again.
    type: str
    required: true
  kept_services:
    description:
      - Names of services, as the comments of O(rules) tell them. What the application's file lets in for these now stays beside O(rules),
        until the module is called without their names, for a run in which what uses it is only later told of something else.
    type: list
    elements: str
    default: []
  ssh_addresses:
    description: Addresses and networks that O(rules) let in by SSH; a run that comes from elsewhere is refused.
    type: list
    elements: str
    required: true
  ssh_ports:
    description: Ports at which O(rules) let SSH in; a run that came by another one is refused.
    type: list
    elements: int
    required: true
  take_back_seconds:
    description: How long a new SSH connection is waited for before the old rules are loaded again.
    type: int
    default: 60
author: Stockpot
"""

EXAMPLES = r"""
- name: Let nothing in but SSH and the site
  stockpot.stack.firewall:
    application: shop
    table: "{{ lookup('ansible.builtin.file', 'stockpot.nft', rstrip=false) }}"
    rules: "{{ lookup('ansible.builtin.template', 'application.nft.j2') }}"
    unit: "{{ lookup('ansible.builtin.file', 'nftables-stockpot.service', rstrip=false) }}"
    drop_in: "{{ lookup('ansible.builtin.file', 'nftables.service.d/stockpot.conf', rstrip=false) }}"
    ssh_addresses: [0.0.0.0/0, "::/0"]
    ssh_ports: [22]
"""

RETURN = r"""
loaded:
  description: Whether the live table was replaced.
  type: bool
  returned: success
kept:
  description: Whether something is let in for O(kept_services) that O(rules) do not let in.
  type: bool
  returned: success
files:
  description: The paths of the files that were written or removed.
  type: list
  elements: str
  returned: success
"""

UNIT = "nftables-stockpot.service"
DROP_IN = "nftables.service.d/stockpot.conf"
TIMER = "nftables-stockpot-take-back"
TABLE = ("inet", "stockpot")
# A table is replaced by what follows, in one step, whether there was one or not.
REPLACED = f"table {' '.join(TABLE)}\ndelete table {' '.join(TABLE)}\n"
LOAD = 'include "stockpot.nft"\ninclude "ongoing.nft"\n'
# Longer than somebody waits for an answer.
ONGOING = "1d"
LISTED = ("--stateless", "--terse", "list", "table", *TABLE)
OPENING = re.compile(r"\b(tcp|udp) dport (?:\{([^}]*)\}|(\S+)) .*\baccept\b")
# What an application's file begins with that asks for no firewall.
UNASKED = "# firewall_enabled is false for this application: this stays while another one on this server wants the firewall.\n"
LEFT = "# This application is taken away: SSH stays open until another one has its rules here.\n"
# What stands before rules that are no more wanted but for the time of a run.
KEPT = "# Until the end of the run: what the application is reached by before it is told of the above.\n"
# Interfaces whose packets come inside others.
TUNNELS = ("tun", "wireguard")


class FirewallError(Exception):
    """What an operator has to be told; the message is complete."""


class Commands:
    """Runs the programs of the host."""

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output and errors."""
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def must(self, *words: str) -> str:
        """The output.

        Raises:
            FirewallError: it failed.
        """
        code, output, errors = self.run(*words)
        if code != 0:
            raise FirewallError(f"`{' '.join(words)}` failed ({code}): {errors.strip() or output.strip()}")
        return output


class Firewall:
    """The table of one host, with its files.

    Args:
        commands: runs nft, unshare, systemctl and systemd-run.
        scratch: a folder of this process alone.
        check_mode: foretell, change nothing.
        root: the folder that holds the host's files.
    """

    def __init__(self, commands: Commands, *, scratch: str, check_mode: bool = False, root: str = "/") -> None:
        self.commands = commands
        self.scratch = scratch
        self.check_mode = check_mode
        self.written = Path(root, "etc/nftables.d")
        self.boot = Path(root, "var/lib/nftables-stockpot/confirmed.nft")
        self.units = Path(root, "etc/systemd/system")
        self.programs = Path(root, "etc/supervisor/conf.d")
        self.state = Path(root, "run/nftables-stockpot")
        # Who takes this file away decides: the confirmation, or the timer.
        self.pending = self.state / "pending"
        self.done = self.state / "confirmed"
        self.trial = self.state / "trial"
        self.before = self.state / "before.nft"
        self.files: list[str] = []
        self.diff: list[dict[str, str]] = []
        # Ports at which something listens that somebody could reach before, and nobody will; by protocol.
        self.shut: dict[str, list[int]] = {}
        # Applications that live by what another one has opened, which is to be closed.
        self.dependent: list[str] = []
        # Whether something stays open for the time of the run.
        self.kept = False

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Two runs on a host do this one after the other."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        with (self.state / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def load(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Load the rules if the live ones are others; the files are written when that is confirmed.

        Returns:
            `token`, which confirms this load and no other; empty where nothing has to be confirmed.

        Raises:
            FirewallError: the rules are wrong, or would shut this run out. Nothing was changed.
        """
        if not self.check_mode:
            self.take_back()
        nothing = {"changed": False, "loaded": False, "token": ""}
        if given["state"] == "closed" and not (self.written / f"applications/{given['application']}.nft").exists():
            return nothing
        if not shutil.which("nft"):
            return self._without_nft(given) if given["state"] == "present" else nothing
        trial = Path(self.scratch, "trial") if self.check_mode else self.trial
        if not self._lay_out(trial, given):
            return self._remove_all()
        if said := ssh.shut_out(by := ssh.connection(), given):
            raise FirewallError(f"Nothing was changed. {said} (group_vars/<environment>/main.yml)")
        wanted = self._looks_like(trial)
        live = self._live()
        if wanted == live:
            self._install(trial, given["application"])
            return {"changed": bool(self.files), "loaded": False, "token": ""}
        self.shut = self._newly_shut(live, wanted)
        if given["state"] == "closed" and told(self.shut):
            self.dependent = self._without_rules(given["application"])
            if self.dependent:
                self.shut = {}
                return nothing
        self._refuse_to_end_a_tunnel(by, wanted)
        header = f"nft list table {' '.join(TABLE)}"
        self.diff.append(
            {"before_header": header, "after_header": header, "before": live or "", "after": wanted},
        )
        if self.check_mode:
            return {"changed": True, "loaded": True, "token": ""}
        return {"changed": True, "loaded": True, "token": self._load_for_now(trial, given["take_back_seconds"])}

    def confirm(self, token: str, application: str) -> None:
        """Keep what was loaded: stop the timer, write the files and what a boot loads.

        Raises:
            FirewallError: this load was taken back meanwhile, or replaced by another run's.
        """
        if not self._is(self.done, token):
            if not self._is(self.pending, token):
                raise FirewallError(
                    "These rules were not confirmed in time, or another run has loaded its own: the old ones are back."
                )
            try:
                self.pending.rename(self.done)
            except FileNotFoundError as error:
                raise FirewallError("These rules were not confirmed in time: the old ones are back.") from error
        self._stop_timer()
        self._install(self.trial, application)

    def take_back(self) -> bool:
        """Load the old rules again where the new ones were not confirmed; whether there was anything to take back."""
        try:
            self.pending.unlink()
        except FileNotFoundError:
            return False
        self._stop_timer()
        self.commands.must("nft", "-f", str(self.before))
        return True

    def _lay_out(self, trial: Path, given: Mapping[str, Any]) -> bool:
        """Write into a folder what the host is to have; whether it is to have a firewall at all."""
        shutil.rmtree(trial, ignore_errors=True)
        for part in ("own", "applications"):
            (trial / part).mkdir(parents=True)
            for path in sorted((self.written / part).glob("*.nft")):
                shutil.copyfile(path, trial / part / path.name)
        own = trial / "applications" / f"{given['application']}.nft"
        own.unlink(missing_ok=True)
        others = {path: path.read_text(encoding="utf-8") for path in (trial / "applications").iterdir()}
        for path in [path for path, text in others.items() if text.startswith(LEFT)]:
            del others[path]
            path.unlink()
        is_wanted = not all(text.startswith(UNASKED) for text in others.values())
        if given["state"] == "absent" and not is_wanted:
            return False
        if given["state"] != "closed" or not others:
            mark = {"present": "", "absent": UNASKED, "closed": LEFT}[given["state"]]
            own.write_text(mark + given["rules"] + self._kept(given), encoding="utf-8")
        (trial / "stockpot.nft").write_text(given["table"], encoding="utf-8")
        (trial / UNIT).write_text(given["unit"], encoding="utf-8")
        (trial / DROP_IN).parent.mkdir()
        (trial / DROP_IN).write_text(given["drop_in"], encoding="utf-8")
        return True

    def _kept(self, given: Mapping[str, Any]) -> str:
        """The rules of the application's file that stay beside the new ones."""
        former = self.written / "applications" / f"{given['application']}.nft"
        ends = tuple(f'accept comment "{name} ({given["application"]})"' for name in given["kept_services"])
        lines = former.read_text(encoding="utf-8").splitlines() if former.exists() else []
        kept = [line for line in lines if line.endswith(ends) and line not in given["rules"].splitlines()]
        self.kept = bool(kept)
        return KEPT + "".join(f"{line}\n" for line in kept) if kept else ""

    def _looks_like(self, trial: Path) -> str:
        """The rules of a folder as nft lists them, loaded where nobody is: without interfaces, as at boot."""
        script = 'nft -I "$1" -f "$1/stockpot.nft" && nft --stateless list table inet stockpot >"$1/boot.nft" && shift && nft "$@"'
        code, output, errors = self.commands.run(
            "unshare", "--net", "--", "sh", "-c", script, "sh", str(trial), *LISTED
        )
        if code != 0:
            said = (errors.strip() or output.strip()).replace(str(trial), str(self.written))
            raise FirewallError(f"Nothing was changed: nft does not take these rules ({code}):\n{said}")
        return output

    def _live(self) -> str | None:
        """The table that is loaded, or None."""
        code, output, _ = self.commands.run("nft", *LISTED)
        return output if code == 0 else None

    def _newly_shut(self, live: str | None, wanted: str) -> dict[str, list[int]]:
        """The ports at which something listens that are open now and will not be."""
        now, then = opened(live or ""), opened(wanted)
        return {
            protocol: [
                port
                for port in ports
                if (live is None or any(port in some for some in now[protocol]))
                and not any(port in some for some in then[protocol])
            ]
            for protocol, ports in sockets.listening_outside().items()
        }

    def _without_rules(self, own: str) -> list[str]:
        """Other applications of the host that have no rules: they were deployed before there was a firewall, or without one."""
        files = [*self.units.glob("*.service"), *self.units.glob("*.service.d/application.conf")]
        files += self.programs.glob("*.conf")
        names = {
            name
            for path in files
            if path.is_file()
            for name in re.findall(r"^(?:; )?X-Application=([\w-]+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        }
        return sorted(name for name in names - {own} if not (self.written / "applications" / f"{name}.nft").exists())

    def _refuse_to_end_a_tunnel(self, by: ssh.Connection | None, wanted: str) -> None:
        """A tunnel that ends on this server goes on for some minutes without its port: long enough to prove that SSH works.

        Raises:
            FirewallError: this run comes in through one, and no port is left at which it may be.
        """
        shut, listening = self.shut.get("udp", []), sockets.listening_outside()["udp"]
        is_left = any(port in some for port in listening for some in opened(wanted)["udp"])
        if by is None or not shut or is_left or not (tunnel := self._tunnel(by.server_address)):
            return
        raise FirewallError(
            f"Nothing was changed. This run comes in through {tunnel}, a tunnel that ends on this server, and of the UDP ports at which something "
            f"listens here ({', '.join(map(str, shut))}) none would be open: the tunnel would end some minutes later. Name its port in "
            "firewall_extra_services, such as {name: WireGuard, ports: [51820], protocol: udp, addresses: [0.0.0.0/0, '::/0']} "
            "(group_vars/<environment>/main.yml)."
        )

    def _tunnel(self, address: str) -> str:
        """The interface of an address, where that is a tunnel's; else nothing."""
        code, output, _ = self.commands.run("ip", "-json", "-details", "address", "show", "to", address)
        found = json.loads(output or "[]") if code == 0 else []
        kinds = {one["ifname"]: one.get("linkinfo", {}).get("info_kind") for one in found if "ifname" in one}
        return next((name for name, kind in kinds.items() if kind in TUNNELS), "")

    def _load_for_now(self, trial: Path, seconds: int) -> str:
        token = secrets.token_hex(16)
        code, output, _ = self.commands.run("nft", "list", "table", *TABLE)
        self.before.write_text(REPLACED + (output if code == 0 else ""), encoding="utf-8")
        self.done.unlink(missing_ok=True)
        self._stop_timer()
        self.pending.write_text(token, encoding="ascii")
        script = f"rm {self.pending} && nft -f {self.before}"
        options = (
            "--quiet",
            "--collect",
            f"--unit={TIMER}",
            f"--on-active={seconds}",
            "--timer-property=AccuracySec=1s",
        )
        try:
            self.commands.must("systemd-run", *options, "--", "/bin/sh", "-c", script)
            # Where there are no rules yet, nothing has kept count of connections.
            (trial / "ongoing.nft").write_text("" if code == 0 else self._ongoing(), encoding="utf-8")
            (trial / "load.nft").write_text(LOAD, encoding="utf-8")
            self.commands.must("nft", "-I", str(trial), "-f", str(trial / "load.nft"))
        except FirewallError:
            self._stop_timer()
            self.pending.unlink(missing_ok=True)
            raise
        return token

    @staticmethod
    def _ongoing() -> str:
        """What lets in the answers that connections from before the first load wait for."""
        found: dict[int, list[str]] = {4: [], 6: []}
        for one in sockets.begun_here():
            found[one.address.version].append(
                f"{one.peer} . {one.peer_port} . {one.address} . {one.port} timeout {ONGOING}"
            )
        return "".join(
            f"add element {' '.join(TABLE)} {name} {{ {', '.join(found[version])} }}\n"
            for version, name in ((4, "ongoing"), (6, "ongoing6"))
            if found[version]
        )

    def _stop_timer(self) -> None:
        if self.commands.run("systemctl", "is-active", "--quiet", f"{TIMER}.timer")[0] == 0:
            self.commands.must("systemctl", "stop", f"{TIMER}.timer")

    def _install(self, trial: Path, application: str) -> None:
        """Write the files of a folder where they belong, and have a boot load what it holds."""
        own = Path("applications", f"{application}.nft")
        self._place(self.written / "stockpot.nft", (trial / "stockpot.nft").read_text(encoding="utf-8"))
        if (trial / own).exists():
            self._place(self.written / own, (trial / own).read_text(encoding="utf-8"))
        for path in sorted((self.written / "applications").glob("*.nft")):
            if not (trial / "applications" / path.name).exists():
                self._remove(path)
        self._place(self.boot, REPLACED + (trial / "boot.nft").read_text(encoding="utf-8"))
        units = [self._place(self.units / name, (trial / name).read_text(encoding="utf-8")) for name in (UNIT, DROP_IN)]
        if not (self.written / "own").is_dir():
            self.files.append(str(self.written / "own"))
            if not self.check_mode:
                (self.written / "own").mkdir(mode=0o755)
        if any(units) and not self.check_mode:
            self.commands.must("systemctl", "daemon-reload")
        for asked, verb in (("is-enabled", "enable"), ("is-active", "start")):
            if self.commands.run("systemctl", asked, "--quiet", UNIT)[0] != 0:
                self.files.append(f"{UNIT}: {verb}")
                if not self.check_mode:
                    self.commands.must("systemctl", verb, UNIT)
                    # Its start has loaded what a boot loads, which knows of no connections.
                    if verb == "start" and (trial / "ongoing.nft").exists():
                        self.commands.must("nft", "-f", str(trial / "ongoing.nft"))

    def _remove_all(self) -> dict[str, Any]:
        """No application is left that wants it."""
        live = self._live()
        if (self.units / UNIT).exists() and not self.check_mode:
            self.commands.must("systemctl", "disable", "--now", UNIT)
        rules = sorted((self.written / "applications").glob("*.nft"))
        for path in (*rules, self.written / "stockpot.nft", self.boot, self.units / UNIT, self.units / DROP_IN):
            self._remove(path)
        if self.files and not self.check_mode:
            self.commands.must("systemctl", "daemon-reload")
        if live is not None and not self.check_mode:
            self.commands.must("nft", "delete", "table", *TABLE)
        return {"changed": bool(self.files) or live is not None, "loaded": False, "token": ""}

    def _without_nft(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """On a bare server, in check mode."""
        if not self.check_mode:
            raise FirewallError("nft is missing here: install Debian's package nftables.")
        self._place(self.written / "applications" / f"{given['application']}.nft", given["rules"])
        self.shut = self._newly_shut(None, given["rules"])
        return {"changed": True, "loaded": True, "token": ""}

    def _place(self, path: Path, text: str) -> bool:
        outcome = write(File(path=str(path), content=text), scratch=self.scratch, check_mode=self.check_mode)
        if outcome.written or outcome.adjusted:
            self.files.append(str(path))
            self.diff += outcome.diff
        return outcome.written

    def _remove(self, path: Path) -> None:
        if path.exists():
            self.files.append(str(path))
            if not self.check_mode:
                path.unlink()

    @staticmethod
    def _is(path: Path, token: str) -> bool:
        return path.exists() and path.read_text(encoding="ascii") == token


def opened(rules: str) -> dict[str, list[range]]:
    """The ports, by protocol, at which rules let somebody in, as nft lists them or a template writes them."""
    found: dict[str, list[range]] = {"tcp": [], "udp": []}
    for protocol, several, one in OPENING.findall(rules):
        for part in (several or one).split(","):
            first, _, last = part.strip().partition("-")
            if first.isdigit():
                found[protocol].append(range(int(first), int(last or first) + 1))
    return found


def told(ports: Mapping[str, Sequence[int]]) -> str:
    """Ports by protocol, in words; empty for none."""
    return "; ".join(
        f"{protocol.upper()} {', '.join(map(str, numbers))}" for protocol, numbers in ports.items() if numbers
    )


def main() -> None:
    """Ansible's entry point; the action plugin of this name says which stage it is."""
    module = AnsibleModule(
        argument_spec={
            "stage": {"type": "str", "choices": ["load", "confirm", "take_back"], "default": "load"},
            "token": {"type": "str", "default": "", "no_log": False},
            "state": {"type": "str", "choices": ["present", "closed", "absent"], "default": "present"},
            "application": {"type": "str", "required": True},
            "table": {"type": "str", "default": ""},
            "rules": {"type": "str", "default": ""},
            "unit": {"type": "str", "default": ""},
            "kept_services": {"type": "list", "elements": "str", "default": []},
            "drop_in": {"type": "str", "default": ""},
            "ssh_addresses": {"type": "list", "elements": "str", "default": []},
            "ssh_ports": {"type": "list", "elements": "int", "default": []},
            "take_back_seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    given = module.params
    firewall = Firewall(Commands(), scratch=module.tmpdir, check_mode=module.check_mode)
    try:
        with firewall.alone():
            if given["stage"] == "load":
                result = firewall.load(given)
            elif given["stage"] == "confirm":
                firewall.confirm(given["token"], given["application"])
                result = {"changed": True}
            else:
                result = {"changed": firewall.take_back()}
    except (FirewallError, FileError, OSError) as error:
        module.fail_json(msg=str(error))
    if shut := told(firewall.shut):
        module.warn(
            f"Shut from now on, for something listens there: {shut}. What is to be reached goes into "
            "firewall_extra_services (group_vars/<environment>/main.yml)."
        )
    if firewall.dependent:
        module.warn(
            f"What {given['application']} had open stays open: {', '.join(firewall.dependent)} on this server may be reached by it, and has no "
            "rules of its own yet. Run site.yml for that, and this once more."
        )
    module.exit_json(**result, kept=firewall.kept, files=firewall.files, diff=firewall.diff)


if __name__ == "__main__":
    main()
