#!/usr/bin/python
"""Ansible module: the running Redis has the users and settings that were written."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils.systemctl import ServiceError, Systemctl

DOCUMENTATION = r"""
module: redis_live
short_description: Have the running Redis use what was written, and prove it
description:
  - Loads the file of users into the running Redis when it is younger than what Redis has loaded, without a restart. Where the
    administrator's own password is another one in the file, so that nobody can ask for that, Redis is restarted.
  - Fails with every setting that is not what it should be, and when the user V(default) may log in, as both happen only by hand.
options:
  service:
    description: Redis's unit.
    type: str
    default: redis-server.service
  socket:
    description: Its socket.
    type: path
    required: true
  user:
    description: Who asks; the user has to be allowed everything.
    type: str
    default: admin
  password:
    description: The user's password.
    type: str
    required: true
  users_file:
    description: The file of users (aclfile).
    type: path
    required: true
  settings:
    description: What CONFIG GET has to show, by setting.
    type: dict
    required: true
  forgotten:
    description: A pattern of keys to remove from the database 0; empty for none.
    type: str
    default: ""
  foretold:
    description: Whether a check only foretold that Redis is started or restarted; it is not asked then.
    type: bool
    default: false
author: Stockpot
"""

EXAMPLES = r"""
- name: Prove that the live Redis has these users and settings
  stockpot.stack.redis_live:
    socket: /run/redis/redis-server.sock
    password: "{{ redis_admin_password }}"
    users_file: /etc/redis/users.acl
    settings: {maxmemory-policy: noeviction, timeout: "0"}
"""

RETURN = r"""
differences:
  description: What the live server has otherwise, a sentence each.
  type: list
  elements: str
  returned: failure
"""

TIMEOUT = 20  # seconds that Redis has to answer


class Refused(Exception):
    """Redis answered with an error."""


class Redis:
    """A connection to Redis's socket that speaks its protocol (https://redis.io/docs/latest/develop/reference/protocol-spec/)."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT)
        self._socket.connect(path)
        self._answers = self._socket.makefile("rb")

    def ask(self, *words: str) -> Any:
        """The answer to a command. Raises Refused with the text of an error."""
        encoded = [word.encode() for word in words]
        parts = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        self._socket.sendall(b"*%d\r\n%s" % (len(encoded), parts))
        return self._read()

    def _read(self) -> Any:
        kind, rest = self._answers.read(1), self._answers.readline()[:-2].decode()
        if kind == b"-":
            raise Refused(rest)
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == "-1" else self._answers.read(int(rest) + 2)[:-2].decode()
        return int(rest) if kind == b":" else rest


def logged_in(given: Mapping[str, Any]) -> Redis:
    """A connection of the user who asks. Raises Refused when Redis does not know the password."""
    redis = Redis(given["socket"])
    redis.ask("AUTH", given["user"], given["password"])
    return redis


def differences(live: Mapping[str, str], wanted: Mapping[str, Any], default_user: list[Any]) -> list[str]:
    """What the live server has otherwise than written.

    Args:
        live: what CONFIG GET answered.
        wanted: what it should have.
        default_user: what ACL GETUSER says of the user default, names and values in turn.
    """
    found = [
        f"{name} is {live.get(name)}, not {value}" for name, value in wanted.items() if live.get(name) != str(value)
    ]
    flags = dict(zip(default_user[::2], default_user[1::2], strict=False)).get("flags", [])
    return found if "off" in flags else [*found, "the user default is not off"]


def forget(redis: Redis, pattern: str, *, check_mode: bool) -> bool:
    """Remove the keys of this pattern from the connection's database.

    Args:
        redis: a connection of somebody who may do everything.
        pattern: as SCAN has it.
        check_mode: remove none.

    Returns:
        Whether there were any.
    """
    found, cursor = False, ""
    while cursor != "0":
        cursor, keys = redis.ask("SCAN", cursor or "0", "MATCH", pattern, "COUNT", "1000")
        found = found or bool(keys)
        if keys and not check_mode:
            redis.ask("UNLINK", *keys)
    return found


class Users:
    """Which users the running Redis has: those of the file when it started, or when this module last loaded it."""

    def __init__(self, file: str, service: str, systemctl: Systemctl, run: Path = Path("/run")) -> None:
        self._file = Path(file)
        self._service = service
        self._systemctl = systemctl
        self._stamp = run / f"{service.removesuffix('.service')}.users-loaded"

    def loaded(self) -> bool:
        """Whether the file is not younger than what Redis has."""
        seen = [self._systemctl.show([self._service])[self._service].started]
        if self._stamp.exists():
            seen.append(self._stamp.stat().st_mtime)
        return self._file.stat().st_mtime <= max(seen)

    def note(self) -> None:
        """Remember that Redis has loaded the file now."""
        self._stamp.touch()


def prove(given: Mapping[str, Any], *, check_mode: bool) -> tuple[bool, list[str]]:
    """Load the users where that is needed, and compare.

    Args:
        given: the module's parameters.
        check_mode: load nothing, restart nothing.

    Returns:
        Whether something was, or would be, loaded or restarted; and what the live server has otherwise then.

    Raises:
        OSError: Redis does not answer.
        Refused: Redis does not do what it is asked.
        ServiceError: Redis does not restart.
    """
    systemctl = Systemctl()
    users = Users(given["users_file"], given["service"], systemctl)
    stale = changed = not users.loaded()
    try:
        redis = logged_in(given)
    except Refused as refused:
        if not stale:
            raise Refused(
                f"Redis refuses the user {given['user']} with the password given ({refused}). Somebody changed it by hand "
                f"(ACL SETUSER): take that back with `systemctl restart {given['service']}` and run this again."
            ) from refused
        if check_mode:
            return True, []
        systemctl.run("restart", given["service"])
        redis, stale = logged_in(given), False
    if stale and not check_mode:
        redis.ask("ACL", "LOAD")
        users.note()
        # Redis 7.0 ends the connections of all users that it has loaded anew.
        redis = logged_in(given)
    if given["forgotten"]:
        changed = forget(redis, given["forgotten"], check_mode=check_mode) or changed
    flat = redis.ask("CONFIG", "GET", *given["settings"])
    live = dict(zip(flat[::2], flat[1::2], strict=False))
    return changed, differences(live, given["settings"], redis.ask("ACL", "GETUSER", "default"))


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "default": "redis-server.service"},
            "socket": {"type": "path", "required": True},
            "user": {"type": "str", "default": "admin"},
            "password": {"type": "str", "required": True, "no_log": True},
            "users_file": {"type": "path", "required": True},
            "settings": {"type": "dict", "required": True},
            "forgotten": {"type": "str", "default": "", "no_log": False},
            "foretold": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    if module.check_mode and given["foretold"]:
        module.exit_json(changed=False, msg="Redis is asked once it runs with what is written.")
    try:
        changed, found = prove(given, check_mode=module.check_mode)
    except Refused as refused:
        module.fail_json(msg=str(refused))
    except (OSError, ServiceError) as error:
        module.fail_json(
            msg=f"Redis does not answer at {given['socket']}: {error}\nIts journal ends with:\n{Systemctl().journal(given['service'])}"
        )
    if found:
        module.fail_json(
            msg=f"Redis does not run with what its configuration says: {', '.join(found)}. Somebody changed it by hand "
            f"(CONFIG SET, ACL SETUSER). Take that back with `systemctl restart {given['service']}` and run this again; where it "
            "was meant, set the role's variable for it.",
            differences=found,
        )
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
