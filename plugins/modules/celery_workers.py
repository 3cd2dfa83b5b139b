#!/usr/bin/python
"""Ansible module: asks a host's Celery workers what they do, and stops and starts them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from xmlrpc.client import Fault

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils import releases
from ansible_collections.stockpot.stack.plugins.module_utils.supervisor import (
    ALREADY_STARTED,
    NOT_RUNNING,
    Supervisor,
)
from ansible_collections.stockpot.stack.plugins.module_utils.systemctl import ServiceError, Systemctl

DOCUMENTATION = """
---
module: celery_workers
short_description: Ask Celery workers of this host what they do, stop and start them
description:
  - Tells workers what is asked for, without waiting for it, and says how all that are named are then. M(stockpot.stack.celery_drain) runs it
    again and again.
options:
  workers:
    description: The workers to say something of.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: As its node's name has it before the C(@).
        type: str
        required: true
      unit:
        description: The unit that it runs in.
        type: str
        required: true
      mark_seconds:
        description: How long the watch keeps off it, from O(cancel) on.
        type: int
        default: 0
  cancel:
    description: Names of workers that are to take no more from their queues, until they are started anew.
    type: list
    elements: str
    default: []
  stop:
    description: Names of workers that are to end as their units say, with every signal that is theirs.
    type: list
    elements: str
    default: []
  start:
    description: Names of workers to start.
    type: list
    elements: str
    default: []
  app:
    description: What C(celery -A) is given.
    type: str
    required: true
  user:
    description: Who asks them.
    type: str
    required: true
  release_path:
    description: The folder that holds the project in source/ and its virtualenv in venv/.
    type: path
    required: true
  environment_files:
    description: The files with the project's variables; a later one wins.
    type: list
    elements: path
    required: true
  script:
    description: The program that asks them.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Asks, and tells nobody anything.
"""

EXAMPLES = """
- name: Ask a worker what it does
  stockpot.stack.celery_workers:
    workers: [{name: mail, unit: shop-worker-mail.service}]
    app: config
    user: shop
    release_path: /srv/shop/current
    environment_files: [/etc/shop/environment]
    script: "{{ lookup('ansible.builtin.file', 'ask_workers.py') }}"
  register: asked
"""

RETURN = """
seen:
  description: >-
    By name the C(ActiveState) of its unit, whether it C(answers), and if so its C(tasks) (id, name, seconds, acknowledged), the number of messages
    C(waiting) in it and C(scheduled) for a time, and the C(queues) that it consumes.
  returned: always
  type: dict
problem:
  description: Why nobody could be asked; empty when they could.
  returned: always
  type: str
unknown:
  description: Names of workers whose units are not on this host. If there are any, nobody was told or asked anything, and C(seen) is empty.
  returned: always
  type: list
  elements: str
"""

# The state of a unit that is not on this host.
ABSENT = "absent"
MARKS = Path("/run/stockpot/stopping")
NAMES = ("cancel", "stop", "start")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "workers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "unit": {"type": "str", "required": True},
            "mark_seconds": {"type": "int", "default": 0},
        },
    },
    **{name: {"type": "list", "elements": "str", "default": []} for name in NAMES},
    **releases.ARGUMENTS,
}


class Services:
    """Processes that systemd runs, by unit."""

    def __init__(self, systemctl: Systemctl) -> None:
        """Takes what runs systemctl."""
        self.systemctl = systemctl

    def states(self, units: Sequence[str]) -> dict[str, str]:
        """The ActiveState of each that there is."""
        shown = self.systemctl.show(units)
        return {unit: ABSENT if state.load == "not-found" else state.active for unit, state in shown.items()}

    def stop(self, units: Sequence[str]) -> None:
        """Begin to stop them."""
        self.systemctl.run("stop", "--no-block", "--", *units)

    def start(self, units: Sequence[str]) -> None:
        """Begin to start them."""
        self.systemctl.run("reset-failed", "--", *units)
        self.systemctl.run("start", "--no-block", "--", *units)


class Programs:
    """Processes that supervisor runs, each by the scope that it is in."""

    STATES: ClassVar = {
        **dict.fromkeys(("RUNNING", "STARTING"), "active"),
        # What has ended is started again a moment later.
        **dict.fromkeys(("BACKOFF", "EXITED"), "activating"),
        "STOPPING": "deactivating",
    }

    def __init__(self, supervisor: Supervisor) -> None:
        """Takes what speaks to supervisor."""
        self.supervisor = supervisor

    def states(self, units: Sequence[str]) -> dict[str, str]:
        """What systemd would call them."""
        # While supervisor does not run it knows none of them.
        unknown = ABSENT if self.supervisor.is_running() else "inactive"
        shown = self.supervisor.show([program(unit) for unit in units])
        return {unit: {**self.STATES, "": unknown}.get(shown[program(unit)].state, "inactive") for unit in units}

    def stop(self, units: Sequence[str]) -> None:
        """Begin to stop them, except what has just ended."""
        for unit in units:
            self.supervisor.unless({NOT_RUNNING}, "stopProcess", program(unit), False)

    def start(self, units: Sequence[str]) -> None:
        """Begin to start them, except what runs already."""
        for unit in units:
            self.supervisor.unless({ALREADY_STARTED}, "startProcess", program(unit), False)


def program(unit: str) -> str:
    """What supervisor calls the process of a scope."""
    return unit.removesuffix(".scope")


class Workers:
    """The workers of one call.

    Args:
        parameters: the module's, complete.
        marks: the folder of what the watch keeps off.
    """

    def __init__(self, parameters: Mapping[str, Any], marks: Path = MARKS) -> None:
        self.given = parameters
        self.workers: dict[str, dict[str, Any]] = {worker["name"]: worker for worker in parameters["workers"]}
        units = [worker["unit"] for worker in self.workers.values()]
        self.managers: list[tuple[Services | Programs, list[str]]] = [
            (manager, mine)
            for manager, mine in (
                (Services(Systemctl()), [unit for unit in units if not unit.endswith(".scope")]),
                (Programs(Supervisor()), [unit for unit in units if unit.endswith(".scope")]),
            )
            if mine
        ]
        self.marks = marks
        self.new_marks: list[Path] = []

    def run(self, *, told: bool) -> dict[str, Any]:
        """What the module returns, once everybody is told, unless there is somebody whom nobody could tell.

        Args:
            told: whether anybody is to be told anything.

        Raises:
            ServiceError, OSError, Fault, TimeoutExpired: who runs them refuses, or does not answer.
        """
        states = self._states()
        if unknown := [name for name, worker in self.workers.items() if states[worker["unit"]] == ABSENT]:
            return {"changed": False, "seen": {}, "problem": "", "unknown": unknown}
        if told:
            self.tell()
        seen, problem = self.look(told=told)
        return {"changed": told, "seen": seen, "problem": problem, "unknown": []}

    def tell(self) -> None:
        """Mark, stop and start what is to be.

        Raises:
            ServiceError, OSError: who runs them refuses, or does not answer.
        """
        for name in self.given["cancel"]:
            self._mark(self.workers[name])
        for manager, mine in self.managers:
            if stopped := [unit for unit in self._units("stop") if unit in mine]:
                manager.stop(stopped)
            if started := [unit for unit in self._units("start") if unit in mine]:
                manager.start(started)

    def look(self, *, told: bool) -> tuple[dict[str, dict[str, Any]], str]:
        """How all of them are, and why nobody could be asked.

        Args:
            told: whether those that are to take no more are told so.
        """
        states = self._states()
        seen: dict[str, dict[str, Any]] = {
            name: {"active": states[worker["unit"]], "answers": False} for name, worker in self.workers.items()
        }
        for name, worker in self.workers.items():
            if seen[name]["active"] in ("inactive", "failed"):
                self._mark_of(worker).unlink(missing_ok=True)
        # What is being stopped does not answer any more.
        asked = [name for name in self.workers if seen[name]["active"] == "active"]
        cancel = [name for name in asked if told and name in self.given["cancel"]]
        answers, problem = self._ask(asked, cancel) if asked else ({}, "")
        if problem:
            # Of those that were told before, the marks hold on.
            for mark in self.new_marks:
                mark.unlink(missing_ok=True)
        for name, answer in answers.items():
            seen[name] |= {"answers": True, **answer}
        return seen, problem

    def _states(self) -> dict[str, str]:
        return {unit: state for manager, mine in self.managers for unit, state in manager.states(mine).items()}

    def _ask(self, names: list[str], cancel: list[str]) -> tuple[dict[str, Any], str]:
        argument = {"app": self.given["app"], "workers": names, "cancel": cancel}
        try:
            return releases.run_script(self.given, argument), ""
        except releases.ScriptError as error:
            return {}, str(error).replace("\n", " ")

    def _units(self, what: str) -> list[str]:
        return [self.workers[name]["unit"] for name in self.given[what]]

    def _mark(self, worker: Mapping[str, Any]) -> None:
        """Say to the watch until when it is to keep off, in one step."""
        # The watch reads as the application's user, whatever root's umask is.
        for folder in (self.marks.parent, self.marks):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        mark = self._mark_of(worker)
        if not mark.exists():
            self.new_marks.append(mark)
        new = mark.with_name(f".{mark.name}")
        new.write_text(f"{int(time.time()) + worker['mark_seconds']}\n")
        new.chmod(0o644)
        new.replace(mark)

    def _mark_of(self, worker: Mapping[str, Any]) -> Path:
        return self.marks / worker["unit"].rpartition(".")[0]


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    workers = Workers(module.params)
    try:
        result = workers.run(told=any(module.params[name] for name in NAMES) and not module.check_mode)
    except (ServiceError, OSError, Fault, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
