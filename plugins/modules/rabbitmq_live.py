#!/usr/bin/python
"""Ansible module: the running RabbitMQ has the virtual host, users and settings that it should have."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils.rabbitmq import Api, RabbitError, Refused
from ansible_collections.stockpot.stack.plugins.module_utils.systemctl import Systemctl

DOCUMENTATION = r"""
module: rabbitmq_live
short_description: Have the running RabbitMQ know an application, and prove its settings
description:
  - Gives RabbitMQ an application's virtual host, its users with their permissions, its policies and its queue of dead letters, by the management API
    on loopback. What else somebody allowed in that virtual host is taken back, and the user V(guest) removed.
  - The first of the users asks. Where RabbitMQ does not know that user or password, root makes it by rabbitmqctl, which is given the hash in a file;
    to be removed, with a password for that once, whatever the vault still has.
  - Then fails with every setting of the server that is not what it should be.
  - RabbitMQ keeps passwords as salted hashes, and this module sends no others.
options:
  service:
    description: RabbitMQ's unit.
    type: str
    default: rabbitmq-server.service
  port:
    description: The management API's, on loopback.
    type: int
    default: 15672
  vhost:
    description: The virtual host.
    type: str
    required: true
  users:
    description: The virtual host's users. The first one has to be an administrator.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name to log in with.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
      tags:
        description: What it is to the management API.
        type: list
        elements: str
        default: []
      configure:
        description: A pattern of what it may create and remove.
        type: str
        default: ^$
      write:
        description: A pattern of what it may send to.
        type: str
        default: ^$
      read:
        description: A pattern of what it may receive from.
        type: str
        default: ^$
  policies:
    description: The virtual host's policies by name, each with C(pattern), C(apply-to), C(priority) and C(definition).
    type: dict
    default: {}
  dead_letters:
    description: Name of a quorum queue that is made in the virtual host, for what cannot be delivered; empty for none.
    type: str
    default: ""
  dead_letters_limit:
    description: How many messages it keeps; the oldest go first.
    type: int
    default: 10000
  settings:
    description: What the server has to say of itself; C(listeners) are addresses with ports for AMQP, C(mem_limit) and C(disk_free_limit) bytes.
    type: dict
    default: {}
  state:
    description: V(absent) removes the users, and with O(remove_vhost) the virtual host with its messages.
    type: str
    choices: [present, absent]
    default: present
  remove_vhost:
    description: Whether V(absent) removes the virtual host.
    type: bool
    default: false
  foretold:
    description: Whether a check only foretold that RabbitMQ is started or restarted; it is not asked then.
    type: bool
    default: false
author: Stockpot
"""

EXAMPLES = r"""
- name: Have the live RabbitMQ know the shop
  stockpot.stack.rabbitmq_live:
    vhost: shop
    users:
      - {name: shop-admin, password: "{{ rabbitmq_admin_password }}", tags: [administrator], configure: .*, write: .*, read: .*}
      - {name: shop-celery, password: "{{ rabbitmq_celery_password }}", configure: .*, write: .*, read: .*}
    settings: {mem_limit: 536870912}
"""

RETURN = r"""
changes:
  description: What was, or in check mode would be, changed, a sentence each.
  type: list
  elements: str
  returned: success
differences:
  description: What the live server has otherwise, a sentence each.
  type: list
  elements: str
  returned: failure
"""

# The management plugin opens its port a moment after the service is up.
START_SECONDS = 30
COMMAND_SECONDS = 60
HASHING = "rabbit_password_hashing_sha256"
SALT_BYTES = 4


def hashed(password: str, salt: bytes) -> str:
    """A password as RabbitMQ keeps it (https://www.rabbitmq.com/docs/passwords)."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def is_password(password: str, user: Mapping[str, Any]) -> bool:
    """Whether it is the one that RabbitMQ has of a user."""
    salt = base64.b64decode(user.get("password_hash") or "")[:SALT_BYTES]
    return user.get("hashing_algorithm") == HASHING and hashed(password, salt) == user["password_hash"]


def definition(user: Mapping[str, Any]) -> dict[str, Any]:
    """A user as the API takes it; never with the password."""
    return {
        "password_hash": hashed(user["password"], secrets.token_bytes(SALT_BYTES)),
        "hashing_algorithm": HASHING,
        "tags": ",".join(user["tags"]),
    }


def tags_of(user: Mapping[str, Any]) -> list[str]:
    """A user's tags: a text up to 3.8, a list since."""
    tags = user.get("tags", [])
    return sorted(tags.split(",") if isinstance(tags, str) else tags)


Step = tuple[str, Callable[[Api], Any]]


def put(path: tuple[str, ...], body: Any) -> Callable[[Api], Any]:
    """A step that writes."""
    return lambda api: api.ask("PUT", *path, body=body)


def delete(path: tuple[str, ...]) -> Callable[[Api], Any]:
    """A step that removes."""
    return lambda api: api.ask("DELETE", *path)


def steps(given: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Step]:
    """What is to be changed, with a sentence that holds no secret.

    Args:
        given: the module's parameters.
        live: what GET /api/definitions answered.
    """
    vhost = given["vhost"]
    users = {user["name"]: user for user in live["users"]}
    permissions = {entry["user"]: entry for entry in live["permissions"] if entry["vhost"] == vhost}
    policies = {entry["name"]: entry for entry in live["policies"] if entry["vhost"] == vhost}
    if vhost not in {entry["name"] for entry in live["vhosts"]}:
        yield f"the virtual host {vhost} is made", put(("vhosts", vhost), {})
    for user in given["users"]:
        name, known = user["name"], users.get(user["name"])
        if not known or not is_password(user["password"], known) or tags_of(known) != sorted(user["tags"]):
            yield f"the user {name} is {'changed' if known else 'made'}", put(("users", name), definition(user))
        allowed = {key: user[key] for key in ("configure", "write", "read")}
        if {key: permissions.get(name, {}).get(key) for key in allowed} != allowed:
            yield f"the permissions of {name} are set", put(("permissions", vhost, name), allowed)
    for name in sorted(permissions.keys() - {user["name"] for user in given["users"]}):
        yield f"{name} loses its permissions in {vhost}", delete(("permissions", vhost, name))
    if "guest" in users:
        yield "the user guest is removed", delete(("users", "guest"))
    for name, policy in given["policies"].items():
        if {key: policies.get(name, {}).get(key) for key in policy} != policy:
            yield f"the policy {name} is set", put(("policies", vhost, name), policy)
    for name in sorted(policies.keys() - given["policies"].keys()):
        yield f"the policy {name} is removed", delete(("policies", vhost, name))
    queue = given["dead_letters"]
    if queue and (vhost, queue) not in {(entry["vhost"], entry["name"]) for entry in live["queues"]}:
        arguments = {"x-queue-type": "quorum", "x-max-length": given["dead_letters_limit"]}
        yield f"the queue {queue} is made", put(("queues", vhost, queue), {"durable": True, "arguments": arguments})


def removals(given: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Step]:
    """What is to be removed; the user that asks goes last."""
    users = {user["name"] for user in live["users"]}
    if given["remove_vhost"] and given["vhost"] in {entry["name"] for entry in live["vhosts"]}:
        yield f"the virtual host {given['vhost']} is removed", delete(("vhosts", given["vhost"]))
    for user in reversed(given["users"]):
        if user["name"] in users:
            yield f"the user {user['name']} is removed", delete(("users", user["name"]))


def own_node(api: Api, name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What a server says of itself; one that has just joined others takes some seconds to."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        node = next((node for node in api.ask("GET", "nodes") if node["name"] == name), {})
        if wanted.keys() <= node.keys() or time.monotonic() > deadline:
            return node
        time.sleep(0.5)


def differences(api: Api, settings: Mapping[str, Any]) -> list[str]:
    """What the live server has otherwise than its configuration says; others of its cluster have settings of their own."""
    found = []
    wanted = {name: value for name, value in settings.items() if name != "listeners"}
    overview = api.ask("GET", "overview")
    node = own_node(api, overview["node"], wanted)
    found += [f"{name} is {node.get(name)}, not {value}" for name, value in wanted.items() if node.get(name) != value]
    alarms = [name for name in ("mem_alarm", "disk_free_alarm") if node.get(name)]
    found += [f"{name} is raised, so publishers wait" for name in alarms]
    if "listeners" in settings:
        listeners = sorted(
            f"{entry['ip_address']}:{entry['port']}"
            for entry in overview["listeners"]
            # Of the management API, 3.10 names another address than that which it has.
            if entry["protocol"].startswith("amqp") and entry["node"] == overview["node"]
        )
        if listeners != sorted(settings["listeners"]):
            found.append(f"it listens on {', '.join(listeners)}, not {', '.join(sorted(settings['listeners']))}")
    return found


class Server:
    """RabbitMQ, asked as the first of the users."""

    def __init__(self, module: AnsibleModule, password: str = "") -> None:
        """Takes the module, and another password of the user than it was given."""
        self._module = module
        given = module.params
        self._admin = {**given["users"][0], **({"password": password} if password else {})}
        self.api = Api(given["port"], self._admin["name"], self._admin["password"])

    def definitions(self) -> dict[str, Any]:
        """All virtual hosts, users, permissions, policies and durable queues; waits for a server that has just been started."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.api.ask("GET", "definitions")
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def make_administrator(self) -> None:
        """By root's way, which needs no password. Raises RabbitError when it fails."""
        user = {"name": self._admin["name"], **definition(self._admin)}
        # That of RabbitMQ 4 does not read its standard input.
        with tempfile.NamedTemporaryFile("w", dir="/run", suffix=".json") as file:
            json.dump({"users": [user]}, file)
            file.flush()
            shutil.chown(file.name, "rabbitmq")
            code, output, errors = self._module.run_command(
                ["timeout", str(COMMAND_SECONDS), "rabbitmqctl", "--quiet", "import_definitions", file.name], cwd="/"
            )
        if code != 0:
            raise RabbitError(f"rabbitmqctl import_definitions failed: {(errors or output).strip()}")


def prove(module: AnsibleModule) -> tuple[list[str], list[str]]:
    """Change what is to be changed, and compare.

    Returns:
        What was, or would be, changed; and what the live server has otherwise than it should.

    Raises:
        OSError: RabbitMQ does not answer.
        Refused: it does not know the administrator.
        RabbitError: it does not do what it is asked.
    """
    given, server, done = module.params, Server(module), []
    try:
        live = server.definitions()
    except Refused:
        name = given["users"][0]["name"]
        if given["state"] == "absent":
            # Taken away before, or with a password that nobody has any more.
            server = Server(module, secrets.token_urlsafe())
        done.append(f"the user {name} is made, or given its password")
        if module.check_mode:
            return done, []
        server.make_administrator()
        live = server.definitions()
    if given["state"] == "absent":
        for sentence, step in removals(given, live):
            done.append(sentence)
            if not module.check_mode:
                step(server.api)
        return done, []
    for sentence, step in list(steps(given, live)):
        done.append(sentence)
        if not module.check_mode:
            step(server.api)
    found = differences(server.api, given["settings"])
    if done and not module.check_mode:
        found += [f"not so, though it was asked for: {sentence}" for sentence, _ in steps(given, server.definitions())]
    return done, found


def main() -> None:
    """Ansible's entry point."""
    patterns = {name: {"type": "str", "default": "^$"} for name in ("configure", "write", "read")}
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "default": "rabbitmq-server.service"},
            "port": {"type": "int", "default": 15672},
            "vhost": {"type": "str", "required": True},
            "users": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                    "tags": {"type": "list", "elements": "str", "default": []},
                    **patterns,
                },
            },
            "policies": {"type": "dict", "default": {}},
            "dead_letters": {"type": "str", "default": ""},
            "dead_letters_limit": {"type": "int", "default": 10000},
            "settings": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "remove_vhost": {"type": "bool", "default": False},
            "foretold": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    if module.check_mode and given["foretold"]:
        module.exit_json(changed=False, msg="RabbitMQ is asked once it runs with what is written.", changes=[])
    try:
        done, found = prove(module)
    except (Refused, RabbitError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"RabbitMQ's management API does not answer at 127.0.0.1:{given['port']}: {error}\nLook at /var/log/rabbitmq; its journal "
            f"ends with:\n{Systemctl().journal(given['service'])}"
        )
    if found:
        module.fail_json(
            msg=f"RabbitMQ does not run with what its configuration says: {'; '.join(found)}. Somebody changed it by hand, or it lacks memory or "
            f"disk space. Take that back with `systemctl restart {given['service']}` and run this again; where it was meant, set the role's "
            "variable for it.",
            differences=found,
        )
    module.exit_json(changed=bool(done), changes=done)


if __name__ == "__main__":
    main()
