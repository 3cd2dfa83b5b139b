#!/usr/bin/python
"""Ansible module: several servers of RabbitMQ are one."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils.rabbitmq import Api, RabbitError, Refused

DOCUMENTATION = r"""
module: rabbitmq_cluster
short_description: Have several servers of RabbitMQ be one cluster
description:
  - V(looked) says in C(is_running) and C(has_data) how this member is. It fails where RabbitMQ runs with another cookie than it is to have, or speaks TLS
    to the others where it shall not, or the other way round; members that do so cannot hear each other.
  - V(forgotten) has the cluster forget those O(nodes) that it knows and that do not run, so that they can come back empty.
  - V(spared) waits until this member can be restarted, because all others run and each quorum queue has enough of them; fails where that does
    not come.
  - V(whole) waits until the cluster is O(nodes), all of them running, and each quorum queue has a member that has caught up on each of them. Gives
    queues the members that they lack, and forgets others' that do not run.
options:
  state:
    description: What is asked.
    type: str
    choices: [looked, forgotten, spared, whole]
    required: true
  node:
    description: This member, as Erlang names it.
    type: str
    required: true
  nodes:
    description: The members; with V(forgotten) those that have lost their data.
    type: list
    elements: str
    default: []
  cookie:
    description: What members know each other by, for V(looked).
    type: str
    default: ""
  tls:
    description: Whether members speak TLS to each other, for V(looked).
    type: bool
    default: false
  root:
    description: The folder that holds the host's files.
    type: path
    default: /
  port:
    description: The management API's, on loopback.
    type: int
    default: 15672
  user:
    description: An administrator.
    type: str
    default: ""
  password:
    description: The administrator's password.
    type: str
    default: ""
  seconds:
    description: How long V(spared) and V(whole) wait.
    type: int
    default: 180
author: Stockpot
"""

EXAMPLES = r"""
- name: Prove that the members are one RabbitMQ
  stockpot.stack.rabbitmq_cluster:
    state: whole
    node: rabbit@one
    nodes: [rabbit@one, rabbit@two, rabbit@three]
    user: shop-admin
    password: "{{ rabbitmq_admin_password }}"
"""

RETURN = r"""
node:
  description: This member.
  type: str
  returned: V(looked)
is_running:
  description: Whether RabbitMQ runs here.
  type: bool
  returned: V(looked)
has_data:
  description: Whether RabbitMQ has data here that are this member's.
  type: bool
  returned: V(looked)
changes:
  description: What was, or in check mode would be, changed, a sentence each.
  type: list
  elements: str
  returned: success
"""

COMMAND_SECONDS = 120
PAUSE = 1.0  # seconds between two looks
# What of a member's folder says that RabbitMQ has been started with it.
DATA = ("schema.DAT", "quorum", "coordination")


class NotYet(Exception):
    """What is waited for, in a sentence."""


class Local:
    """RabbitMQ's files on this host."""

    def __init__(self, root: str, node: str) -> None:
        self._root = Path(root)
        self._node = node

    def has_data(self) -> bool:
        """Whether this member has been here."""
        folder = self._root / "var/lib/rabbitmq/mnesia" / self._node
        return any((folder / name).exists() for name in DATA)

    def disagreement(self, cookie: str, *, tls: bool) -> str:
        """The variable in which what is written here differs from what all members have to agree upon; empty for none."""
        file = self._root / "var/lib/rabbitmq/.erlang.cookie"
        if not file.exists() or file.read_text().strip() != cookie:
            return "vault_rabbitmq_cookie"
        environment = self._root / "etc/rabbitmq/rabbitmq-env.conf"
        text = environment.read_text() if environment.exists() else ""
        return "" if ("-proto_dist inet_tls" in text) == tls else "service_tls"


def looked(module: AnsibleModule, local: Local) -> dict[str, Any]:
    """How this member is."""
    given = module.params
    code, _, _ = module.run_command(["systemctl", "--quiet", "is-active", "rabbitmq-server.service"])
    # 3 is also said of one that waits for the others as it starts.
    _, state, _ = module.run_command(["systemctl", "show", "-P", "ActiveState", "rabbitmq-server.service"])
    is_running = code == 0 or state.strip() in ("activating", "reloading")
    variable = local.disagreement(given["cookie"], tls=given["tls"]) if is_running else ""
    if variable:
        raise RabbitError(
            f"{variable}: RabbitMQ runs on this host with another one, and members that go over one by one do not hear each other. Stop RabbitMQ on all "
            "of them (systemctl stop rabbitmq-server; what is queued stays), then run this again."
        )
    return {"node": given["node"], "is_running": is_running, "has_data": local.has_data()}


class Cluster:
    """The cluster as this member knows it."""

    def __init__(self, module: AnsibleModule, api: Api) -> None:
        self._module = module
        self._api = api
        self.changes: list[str] = []

    def run(self, sentence: str, *words: str) -> None:
        """A command of RabbitMQ's, which needs no password. Raises RabbitError when it fails."""
        if sentence in self.changes:
            return
        self.changes.append(sentence)
        if self._module.check_mode:
            return
        code, output, errors = self._module.run_command(["timeout", str(COMMAND_SECONDS), *words], cwd="/")
        if code != 0:
            raise RabbitError(f"{' '.join(words)} failed: {(errors or output).strip()}")

    def forget(self, gone: Iterable[str]) -> None:
        """Those that it knows and that do not run; their members of quorum queues go with them."""
        known = self.known()
        for node in gone:
            if known.get(node) is False:
                self.run(f"{node} is forgotten", "rabbitmqctl", "--quiet", "forget_cluster_node", node)

    def known(self) -> dict[str, bool]:
        """The members by name, and whether each runs."""
        return {node["name"]: bool(node["running"]) for node in self._api.ask("GET", "nodes")}

    def be_spared(self, node: str, members: Collection[str]) -> None:
        """Raises NotYet while the others need this member."""
        down = sorted(name for name, runs in self.known().items() if name in members and not runs)
        if down:
            raise NotYet(f"RabbitMQ does not run as {', '.join(down)}")
        try:
            self._api.ask("GET", "health", "checks", "node-is-quorum-critical")
        except RabbitError as error:
            raise NotYet(f"queues would lose their majority without {node}") from error

    def be_whole(self, members: Collection[str]) -> None:
        """Raises NotYet while it is not, RabbitError where waiting does not help."""
        known = self.known()
        strangers = sorted(known.keys() - set(members))
        if running := [name for name in strangers if known[name]]:
            raise RabbitError(
                f"The group rabbitmq lacks {', '.join(running)}, which is a member and runs: put its host back; or, if it is to go, stop it there "
                "(systemctl disable --now rabbitmq-server), and run this again."
            )
        if missing := sorted(set(members) - known.keys()):
            raise NotYet(f"{', '.join(missing)} is no member yet")
        if down := sorted(name for name in members if not known[name]):
            raise NotYet(f"RabbitMQ does not run as {', '.join(down)}")
        self.forget(strangers)
        queues = self.quorum_queues()
        for node in members:
            if any(node not in queue["members"] for queue in queues):
                sentence = f"quorum queues get a member on {node}"
                self.run(sentence, "rabbitmq-queues", "--quiet", "grow", node, "all")
        if self._module.check_mode:
            return
        behind = [queue["name"] for queue in self.quorum_queues() if not set(members) <= set(queue["online"])]
        if behind:
            raise NotYet(f"{', '.join(sorted(behind))} has not caught up on each member")

    def quorum_queues(self) -> list[Mapping[str, Any]]:
        """Each with the members that it has, and those of them that are online."""
        return [
            {"name": queue["name"], "members": queue.get("members", []), "online": queue.get("online", [])}
            for queue in self._api.ask("GET", "queues")
            if queue.get("type") == "quorum"
        ]


def wait(look: Callable[[], None], seconds: float) -> str:
    """Looks again until it raises NotYet no more; what was still not so when time was up."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            look()
        except NotYet as error:
            said = str(error)
        except OSError as error:
            said = f"the management API does not answer ({error})"
        else:
            return ""
        if time.monotonic() > deadline:
            return said
        time.sleep(PAUSE)


def done(module: AnsibleModule) -> dict[str, Any]:
    """What came of it. Raises RabbitError for what has to be told."""
    given = module.params
    if given["state"] == "looked":
        return looked(module, Local(given["root"], given["node"]))
    cluster = Cluster(module, Api(given["port"], given["user"], given["password"]))
    if given["state"] == "forgotten":
        cluster.forget(given["nodes"])
    elif given["state"] == "spared":
        if said := wait(lambda: cluster.be_spared(given["node"], given["nodes"]), given["seconds"]):
            raise RabbitError(
                f"RabbitMQ has to restart on this host for what is written, but {said}: it goes on as it is. Start what is down, and run this again."
            )
    elif said := wait(lambda: cluster.be_whole(given["nodes"]), given["seconds"]):
        raise RabbitError(
            f"RabbitMQ is not whole: {said}. Look at /var/log/rabbitmq there. A member that stands alone, because it could not reach the others when it "
            "was empty, is stopped (systemctl stop rabbitmq-server) and loses its folder below /var/lib/rabbitmq/mnesia; then run this again."
        )
    return {"changed": bool(cluster.changes), "changes": cluster.changes}


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["looked", "forgotten", "spared", "whole"], "required": True},
            "node": {"type": "str", "required": True},
            "nodes": {"type": "list", "elements": "str", "default": []},
            "cookie": {"type": "str", "default": "", "no_log": True},
            "tls": {"type": "bool", "default": False},
            "root": {"type": "path", "default": "/"},
            "port": {"type": "int", "default": 15672},
            "user": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "seconds": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    try:
        result = done(module)
    except (Refused, RabbitError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"RabbitMQ's management API does not answer: {error}. Look at /var/log/rabbitmq.")
    module.exit_json(**{"changed": False, **result})


if __name__ == "__main__":
    main()
