"""Action plugin: load what a server lets in, and keep it only if a new SSH connection comes through."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.plugins.connection import ConnectionBase

MODULE = "stockpot.stack.firewall"
# Of these a connection can be had that did not exist before, and comes through the firewall.
BY_SSH = ("ssh", "paramiko", "paramiko_ssh")
# Of one try; further ones follow.
CONNECT_SECONDS = 10
PAUSE_SECONDS = 1
SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "closed", "absent"], "default": "present"},
    "application": {"type": "str", "required": True},
    **{name: {"type": "str", "required": True} for name in ("table", "rules", "unit", "drop_in")},
    "kept_services": {"type": "list", "elements": "str", "default": []},
    "ssh_addresses": {"type": "list", "elements": "str", "required": True},
    "ssh_ports": {"type": "list", "elements": "int", "required": True},
    "take_back_seconds": {"type": "int", "default": 60},
}


class ActionModule(ActionBase):
    """See plugins/modules/firewall.py for its documentation."""

    _supports_check_mode = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Has the module load the rules, and confirms that through a connection that did not exist before."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _, given = self.validate_argument_spec(SPEC)
        loaded = self._execute_module(module_name=MODULE, module_args=given, task_vars=variables)
        token = loaded.pop("token", "")
        if loaded.get("failed") or not token:
            return {**result, **loaded}
        stage = {"token": token, "application": given["application"]}
        # The rest is for the take-back over a connection that is still open.
        seconds = given["take_back_seconds"]
        deadline = time.monotonic() + seconds * 2 / 3
        while True:
            try:
                with new_connections(self._connection):
                    confirmed = self._execute_module(
                        module_name=MODULE, module_args={**stage, "stage": "confirm"}, task_vars=variables
                    )
            except AnsibleConnectionFailure as error:
                if time.monotonic() > deadline:
                    return {**result, **self._taken_back(stage, variables, seconds, error)}
                time.sleep(PAUSE_SECONDS)
                continue
            if confirmed.get("failed"):
                return {**result, **confirmed, "msg": f"{confirmed['msg']} {mend(variables['inventory_hostname'])}"}
            if self._connection.transport not in BY_SSH:
                self._display.warning(
                    f"The new rules of {variables['inventory_hostname']} are kept, and nothing has proved that they let SSH in: this run's connection "
                    f"is {self._connection.transport}."
                )
            return {**result, **loaded, "files": confirmed["files"]}

    def _taken_back(
        self, stage: dict[str, Any], variables: dict[str, Any], seconds: int, error: Exception
    ) -> dict[str, Any]:
        """Has the old rules back at once where a connection from before still stands, and says what is wrong."""
        host = variables["inventory_hostname"]
        try:
            back = self._execute_module(
                module_name=MODULE, module_args={**stage, "stage": "take_back"}, task_vars=variables
            )
            said = back["msg"] if back.get("failed") else "The rules from before are back."
        except AnsibleConnectionFailure:
            said = f"The rules from before come back by themselves, {seconds} seconds after these were loaded."
        return {
            "failed": True,
            "msg": f"With its new rules {host} takes no new SSH connection: {str(error).strip()}\n{said} {mend(host)}",
        }


def mend(host: str) -> str:
    """Where the mistake is, most likely."""
    return (
        "Mend firewall_ssh_addresses or firewall_ssh_ports (group_vars/<environment>/main.yml; default: group_vars/all/firewall.yml), "
        f"or the rules in /etc/nftables.d/own/ on {host}, and run it again."
    )


@contextmanager
def new_connections(connection: ConnectionBase) -> Iterator[None]:
    """Within it each use of the connection is a new one, not a channel in one that is shared and stood before."""
    if connection.transport != "ssh":
        connection.reset()
        yield
        return
    before = {name: connection.get_option(name) for name in ("ssh_args", "timeout", "reconnection_retries")}
    # ssh takes the first value that it is given.
    connection.set_option("ssh_args", f"-o ControlMaster=no -o ControlPath=none {before['ssh_args'] or ''}")
    connection.set_option("timeout", CONNECT_SECONDS)
    connection.set_option("reconnection_retries", 0)
    try:
        yield
    finally:
        for name, value in before.items():
            connection.set_option(name, value)
