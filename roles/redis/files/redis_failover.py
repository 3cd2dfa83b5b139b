#!/usr/bin/python3
"""Keeps one primary among the Redis servers that replace each other: who that is, the Sentinels are asked at every start.

    redis-failover server     before redis-server starts: whose replica it is, into the file that redis.conf includes
    redis-failover leave      before redis-server stops: a primary hands over, so that nothing is lost and nobody waits
    redis-failover sentinel   before redis-sentinel starts: what Ansible wrote, with what the Sentinel knows, into the Sentinel's own file
    redis-failover members    how the members are, as far as they say so
    redis-failover status     the same, once this one is in its place; the exit status is 1 when it does not come there

Neither Redis nor the Sentinel ever writes a file of Ansible's, and a run of Ansible's never says who is the primary.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

CONFIG = Path("/etc/redis/failover.json")
ANSWER_SECONDS = 2.0
POLL_SECONDS = 0.2
# After a power cut of all the Sentinels come up within that of each other; then this host's own Sentinel is believed.
MAJORITY_SECONDS = 20.0
# Longer than it takes the Sentinels to choose another primary than one that has lost its data: between two tries each lets twice its
# failover-timeout of 30 s pass. Shorter than the 90 s that systemd gives a start.
CHOICE_SECONDS = 75.0
# A primary that stops takes no more writes for so long at most: its replicas catch up, and one of them takes over.
CATCH_UP_SECONDS = 10.0
HAND_OVER_SECONDS = 30.0
# For a replica to have everything from its primary again.
IN_PLACE_SECONDS = 600.0
# What of its file is the Sentinel's own knowledge; the rest is Ansible's. Of most of it the next word is the primary's name.
KNOWLEDGE = re.compile(
    r"sentinel (myid|current-epoch|config-epoch|leader-epoch|known-replica|known-sentinel)\b", re.IGNORECASE
)
OF_NO_PRIMARY = ("myid", "current-epoch")
MONITOR = re.compile(r"sentinel monitor \S+ (\S+) \d+ \d+", re.IGNORECASE)


class Refused(Exception):
    """Redis or a Sentinel answered with an error."""


class Stuck(Exception):
    """What an operator has to be told; the message is complete."""


class View(NamedTuple):
    """What a Sentinel says of the primary."""

    sentinel: str
    primary: str
    epoch: int
    others: int
    """How many other Sentinels it knows."""
    replicas: int
    """How many replicas it knows."""


class Connection:
    """Speaks Redis's protocol (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""

    def __init__(
        self, address: str, port: int, password: str, *, user: str = "sentinel", tls: ssl.SSLContext | None = None
    ) -> None:
        self._socket = socket.create_connection((address, port), timeout=ANSWER_SECONDS)
        if tls:
            # It closes what it cannot wrap.
            self._socket = tls.wrap_socket(self._socket, server_hostname=address)
        self._answers = self._socket.makefile("rb")
        try:
            self.ask("AUTH", user, password)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self._answers.close()
        self._socket.close()

    def ask(self, *words: str) -> Any:
        """The answer to a command. Raises Refused with the text of an error."""
        encoded = [word.encode() for word in words]
        parts = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        self._socket.sendall(b"*%d\r\n%s" % (len(encoded), parts))
        return self._read()

    def _read(self) -> Any:
        line = self._answers.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection ended")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise Refused(rest)
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == "-1" else self._answers.read(int(rest) + 2)[:-2].decode(errors="replace")
        return int(rest) if kind == b":" else rest


class Failover:
    """The members, as one of them sees them.

    Args:
        config: what Ansible wrote: primary_name, quorum, own (this member's address), members (name, address), port, sentinel_port,
            agreement (by redis and sentinel another text for other things that all members have to have alike),
            authority (the file of what TLS trusts; empty for clear text), password (of the user sentinel), data, data_mark (a file that is
            there once there were data), replication_file, sentinel_template, sentinel_file.
        say: prints a sentence.
    """

    def __init__(self, config: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self.config = config
        self.say = say
        self.own: str = config["own"]
        authority = config["authority"]
        self.tls = ssl.create_default_context(cafile=authority) if authority else None
        self.names = {member["address"]: member["name"] for member in config["members"]}

    # --- asking ---------------------------------------------------------------------------------------------------------

    def redis(self, address: str) -> Connection:
        """A connection to a member's Redis. Raises OSError or Refused."""
        return Connection(address, self.config["port"], self.config["password"], tls=self.tls)

    def sentinel(self, address: str) -> Connection:
        """A connection to a member's Sentinel. Raises OSError or Refused."""
        return Connection(address, self.config["sentinel_port"], self.config["password"], tls=self.tls)

    def views(self) -> list[View]:
        """What each Sentinel that answers says, the youngest first."""

        def ask(address: str) -> View | None:
            try:
                with self.sentinel(address) as sentinel:
                    said = pairs(sentinel.ask("SENTINEL", "MASTER", self.config["primary_name"]))
            except (OSError, Refused):
                return None
            numbers = (int(said[name]) for name in ("config-epoch", "num-other-sentinels", "num-slaves"))
            return View(address, said["ip"], *numbers)

        with ThreadPoolExecutor(len(self.names)) as pool:
            found = [view for view in pool.map(ask, self.names) if view and view.primary in self.names]
        return sorted(found, key=lambda view: -view.epoch)

    def are_most(self, views: Sequence[View]) -> bool:
        """Whether so many Sentinels are more than half of all."""
        return len(views) * 2 > len(self.names)

    def replication(self, address: str) -> dict[str, str]:
        """INFO replication of a member. Raises OSError or Refused."""
        with self.redis(address) as redis:
            return info(redis.ask("INFO", "replication"))

    # --- before redis-server starts -------------------------------------------------------------------------------------

    def server(self) -> None:
        """Writes whose replica this Redis is. Raises Stuck when it must not start now."""
        primary, path = self._primary(), Path(self.config["replication_file"])
        if primary != self.own and self._has_data() and not path.exists():
            raise Stuck(
                f"This Redis has data of its own and was never one of several: as a replica of {self._named(primary)} it would lose them. "
                f"Name this server first of all members; or, if nobody needs the data, remove {self.config['data']}/appendonlydir."
            )
        self.say(f"The primary is {'this Redis' if primary == self.own else self._named(primary)}.")
        # Here, and not in Ansible's file: the next run looks how the Redis that runs speaks to the others.
        over_tls = "tls-replication yes\n" if self.tls else ""
        line = "" if primary == self.own else f"replicaof {primary} {self.config['port']}\n"
        agreement = f"# agreement {self.config['agreement']['redis']}\n"
        write(path, f"# Written by redis-failover at every start of Redis.\n{agreement}{over_tls}{line}")

    def _primary(self) -> str:
        began = time.monotonic()
        while True:
            views, seconds = self.views(), time.monotonic() - began
            primary = views[0].primary if views else self._remembered() or self.config["members"][0]["address"]
            if self.has_lost_data():
                # Beside a primary that is there: without one the Sentinels could choose this Redis, as good as any after a power cut.
                if primary != self.own and self._is_primary(primary):
                    return primary
            elif self.are_most(views):
                has_nobody = not any(view.epoch or view.replicas for view in views)
                if primary != self.own or self._has_data() or has_nobody:
                    return primary
            elif not any(view.others for view in views) and not self._knows_others():
                # The first deployment: there is nobody to be asked.
                return primary
            elif seconds > MAJORITY_SECONDS:
                self.say(
                    f"Only {len(views)} of {len(self.names)} Sentinels answer; the last primary that is known here is taken. "
                    "As long as a primary has no replica it takes no writes."
                )
                return primary
            if seconds > CHOICE_SECONDS:
                raise Stuck(
                    f"This Redis has no data, and would take them from {self._named(primary)}, the primary as far as is known here"
                    + (": itself" if primary == self.own else ", which does not answer as that")
                    + ". It starts beside another primary: have the others run, which choose one; or have them do so by `redis-cli -h "
                    f"{self.own} -p {self.config['sentinel_port']}{' --tls --cacert ' + self.config['authority'] if self.tls else ''} "
                    f"SENTINEL FAILOVER {self.config['primary_name']}` as the user sentinel. Where nobody needs what the members had, "
                    f"remove {self.config['data_mark']} on one that shall begin with nothing."
                )
            time.sleep(POLL_SECONDS)

    def _is_primary(self, address: str) -> bool:
        """Whether a member's Redis answers, as a primary."""
        try:
            return self.replication(address)["role"] == "master"
        except (OSError, Refused):
            return False

    def mark_data(self) -> None:
        """Remembers, elsewhere than where it has them, that this Redis has data. As root; done again it changes nothing."""
        if self._has_data():
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.config["data_mark"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))

    def has_lost_data(self) -> bool:
        """Whether it had some: its disk is another one, or not mounted."""
        return Path(self.config["data_mark"]).exists() and not self._has_data()

    def _has_data(self) -> bool:
        return any(Path(self.config["data"], "appendonlydir").glob("*.manifest"))

    def _knows_others(self) -> bool:
        return any(line.split()[1].lower() == "known-sentinel" for line in self._knowledge())

    def _remembered(self) -> str:
        """The primary in the Sentinel's own file, if it is a member."""
        found = [MONITOR.match(line) for line in lines(Path(self.config["sentinel_file"]))]
        return next((match[1] for match in found if match and match[1] in self.names), "")

    def _knowledge(self) -> list[str]:
        return [line for line in lines(Path(self.config["sentinel_file"])) if KNOWLEDGE.match(line)]

    # --- before redis-server stops --------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Has another member take over, if this one is the primary and has replicas."""
        with self.redis(self.own) as redis:
            before = info(redis.ask("INFO", "replication"))
            if before["role"] != "master" or before["connected_slaves"] == "0":
                return
            # From here on nothing is acknowledged that only this server has. Those who write wait; then their connection ends.
            redis.ask("CLIENT", "PAUSE", str(int((CATCH_UP_SECONDS + HAND_OVER_SECONDS) * 1000)), "WRITE")
            try:
                self._catch_up(redis)
                primary = self._hand_over()
            except (Stuck, OSError, Refused):
                redis.ask("CLIENT", "UNPAUSE")
                raise
        self.say(f"{self._named(primary)} is the primary now.")

    @staticmethod
    def _catch_up(redis: Connection) -> None:
        wanted = int(info(redis.ask("INFO", "replication"))["master_repl_offset"])

        def have_all() -> bool:
            found = [
                dict(part.split("=", 1) for part in value.split(","))
                for key, value in info(redis.ask("INFO", "replication")).items()
                if re.fullmatch(r"slave\d+", key)
            ]
            online = [int(one["offset"]) for one in found if one["state"] == "online"]
            return bool(online) and min(online) >= wanted

        wait(have_all, CATCH_UP_SECONDS, "No replica has all that this Redis has: it stops as the primary.")

    def _hand_over(self) -> str:
        """The new primary's address."""
        refusals: list[str] = []

        def is_begun() -> bool:
            # The others' first: this host may be going down, its Sentinel with it.
            for address in [*(one for one in self.names if one != self.own), self.own]:
                try:
                    with self.sentinel(address) as sentinel:
                        sentinel.ask("SENTINEL", "FAILOVER", self.config["primary_name"])
                    return True
                except OSError:
                    continue
                except Refused as refused:
                    refusals[:] = [str(refused)]
                    if str(refused).startswith("INPROG"):
                        return True
            return False

        def taken_over() -> str:
            return next((view.primary for view in self.views() if view.primary != self.own), "")

        wait(
            is_begun,
            HAND_OVER_SECONDS / 2,
            lambda: f"No Sentinel hands over: {(refusals or ['none answers'])[0]}. Redis stops as the primary.",
        )
        return wait(taken_over, HAND_OVER_SECONDS / 2, "No replica took over in time: Redis stops as the primary.")

    # --- before redis-sentinel starts -----------------------------------------------------------------------------------

    def write_sentinel(self) -> None:
        """Joins Ansible's part of the Sentinel's configuration with what the Sentinel knows."""
        config = self.config
        primary = self._remembered()
        if not primary:
            views = self.views()
            primary = views[0].primary if views else config["members"][0]["address"]
        port = str(config["port"])
        # Those that speak TLS now have other ports than before, or an operator has changed them; and what the primary is called.
        ports = {"known-replica": port, "known-sentinel": str(config["sentinel_port"])}
        known = [self._renamed(line) for line in self._knowledge() if self._is_member(line, ports)]
        text = Path(config["sentinel_template"]).read_text(encoding="utf-8")
        monitor = f"sentinel monitor {config['primary_name']} {primary} {port} {config['quorum']}"
        agreement = f"# agreement {config['agreement']['sentinel']}"
        write(Path(config["sentinel_file"]), "\n".join([text.rstrip("\n"), agreement, monitor, *known, ""]))

    def _is_member(self, line: str, ports: Mapping[str, str]) -> bool:
        """Whether a line is about no other server than the members, at the ports that they have; and not about this Sentinel itself."""
        words = line.split()
        what = words[1].lower()
        if what not in ports:
            return True
        is_itself = what == "known-sentinel" and words[3] == self.own
        return words[3] in self.names and words[4] == ports[what] and not is_itself

    def _renamed(self, line: str) -> str:
        """A line of what the Sentinel knows, with the name that the primary has now: it ends over one that it does not monitor."""
        words = line.split()
        if words[1].lower() not in OF_NO_PRIMARY:
            words[2] = self.config["primary_name"]
        return " ".join(words)

    # --- for people, and for Ansible ------------------------------------------------------------------------------------

    def status(self, *, quorum: bool) -> None:
        """Says how the members are, having waited until this one is in its place.

        Args:
            quorum: whether enough Sentinels have to answer to replace a primary.

        Raises:
            Stuck: it is not, or they do not.
        """
        try:
            wait(self.is_in_place, IN_PLACE_SECONDS, self._out_of_place)
            if quorum:
                wait(lambda: not self.why_not_replaceable(), CHOICE_SECONDS, self.why_not_replaceable)
        finally:
            self.say_members()

    def is_in_place(self) -> bool:
        """Whether this Redis is what the Sentinels say: the primary, or a replica that has all of it."""
        views = self.views()
        # One that none of the others understands, as with another password than theirs, has its own Sentinel's word alone.
        known = 1 + max((view.others for view in views), default=0)
        if len(views) * 2 <= known:
            return False
        try:
            replication = self.replication(self.own)
        except (OSError, Refused):
            return False
        if views[0].primary == self.own:
            return replication["role"] == "master"
        return (
            replication["role"] == "slave"
            and replication["master_host"] == views[0].primary
            and replication["master_link_status"] == "up"
        )

    def _out_of_place(self) -> str:
        return (
            f"Redis on this host ({self.own}) is neither the primary that the Sentinels know nor a replica that has all of it, or most "
            "of the Sentinels do not answer it. Look at: "
            "journalctl -u redis-server -u redis-sentinel, and at the ends of /var/log/redis/*.log"
        )

    def why_not_replaceable(self) -> str:
        """What keeps the Sentinels from replacing a primary that dies, for an operator; empty when nothing does."""
        try:
            with self.sentinel(self.own) as sentinel:
                sentinel.ask("SENTINEL", "CKQUORUM", self.config["primary_name"])
        except (OSError, Refused) as error:
            return (
                f"The Sentinels could not replace a primary that dies: {error}. Look at: journalctl -u redis-sentinel"
            )
        # A replica that a Sentinel has not heard of would go on following a dead primary.
        for view in self.views():
            if min(view.others, view.replicas) < len(self.names) - 1:
                return f"The Sentinel of {self._named(view.sentinel)} has not heard of all members. Look at: journalctl -u redis-sentinel"
        return ""

    def say_members(self) -> None:
        """Says how each member is."""
        for line in self._members():
            self.say(line)

    def _members(self) -> Iterator[str]:
        views = {view.sentinel: view for view in self.views()}
        for address, name in self.names.items():
            try:
                replication = self.replication(address)
                is_primary = replication["role"] == "master"
                link = f"its link to the primary is {replication.get('master_link_status')}"
                redis = f"primary with {replication['connected_slaves']} replicas" if is_primary else f"replica, {link}"
            except (OSError, Refused) as error:
                redis = f"Redis does not answer ({error})"
            view = views.get(address)
            said = f"its Sentinel says {self._named(view.primary)}" if view else "its Sentinel does not answer"
            yield f"{name} ({address}): {redis}; {said}"

    def _named(self, address: str) -> str:
        return f"{self.names[address]} ({address})"


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """Names and values that stand in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def info(text: str) -> dict[str, str]:
    """A section of INFO."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def lines(path: Path) -> list[str]:
    """The lines of a file; none of one that is missing."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def write(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner reads it."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def wait(function: Callable[[], Any], seconds: float, otherwise: str | Callable[[], str]) -> Any:
    """What a function returns as soon as that is true. Raises Stuck with a text when time is up."""
    deadline = time.monotonic() + seconds
    while not (found := function()):
        if time.monotonic() > deadline:
            raise Stuck(otherwise() if callable(otherwise) else otherwise)
        time.sleep(POLL_SECONDS)
    return found


def become(name: str) -> None:
    """Go on as another user: what is written belongs to Redis, and root opens nothing in its folders."""
    user = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.umask(0o027)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["server", "leave", "sentinel", "members", "status"])
    parser.add_argument(
        "--quorum", action="store_true", help="status: fail where a primary that dies could not be replaced"
    )
    given = parser.parse_args()
    failover = Failover(json.loads(CONFIG.read_text(encoding="utf-8")), lambda text: print(text, flush=True))
    failover.mark_data()
    become("redis")
    try:
        if given.what == "status":
            failover.status(quorum=given.quorum)
        else:
            commands = {
                "server": failover.server,
                "leave": failover.leave,
                "sentinel": failover.write_sentinel,
                "members": failover.say_members,
            }
            commands[given.what]()
    except (Stuck, OSError, Refused) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
