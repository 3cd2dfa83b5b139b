"""Action plugin: takes Celery workers down without losing a task, and up again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.stockpot.stack.plugins.plugin_utils import draining, processes
from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import ROLES, collect

OPTIONS: dict[str, dict[str, Any]] = {
    "names": {"type": "list", "elements": "str", "default": []},
    "start": {"type": "bool", "default": False},
    "only_look": {"type": "bool", "default": False},
    "skip_missing": {"type": "bool", "default": False},
    "poll_seconds": {"type": "float", "default": 3.0},
}


class Unasked(Exception):
    """The host could not be asked; holds the module's result, or a message."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        self.result = result
        super().__init__()


class Host:
    """One host's workers, asked and told by the module celery_workers.

    Args:
        action: runs modules.
        variables: the host's.
        given: the arguments of the role celery.
        environment_files: those with the project's variables.
        workers: what the module takes of each worker, by name.
    """

    def __init__(
        self,
        action: ActionBase,
        variables: dict[str, Any],
        given: Mapping[str, Any],
        environment_files: list[str],
        workers: Mapping[str, dict[str, Any]],
    ) -> None:
        self.action, self.variables, self.workers = action, variables, workers
        self.touched = False
        self.arguments = {
            "app": given["celery_app"],
            "user": given["celery_user"],
            "release_path": given["celery_release_path"],
            "environment_files": environment_files,
            "script": (ROLES / "celery/files/ask_workers.py").read_text(encoding="utf-8"),
        }

    def missing(self) -> set[str]:
        """The names of the workers that are not on the host.

        Raises:
            Unasked: the host did not answer.
        """
        result = self._ask({}, list(self.workers))
        if result.get("failed") or result.get("unreachable"):
            raise Unasked(result)
        return set(result["unknown"])

    def drain(self, workers: list[draining.Worker], poll_seconds: float) -> None:
        """Take workers down, and up again where they are to be.

        Raises:
            Unasked: as `tell`; it says what they were told by then.
        """
        try:
            draining.drain(workers, self.tell, self.show, poll_seconds=poll_seconds)
        except Unasked as unasked:
            if self.touched:
                said = draining.broken_off(workers, self.variables["inventory_hostname"])
                unasked.result = {**unasked.result, "changed": True, "msg": f"{unasked.result.get('msg', '')} {said}"}
            raise

    def tell(self, todo: Mapping[str, list[str]], names: list[str]) -> dict[str, draining.Seen]:
        """How workers are, once each was told what it was to be.

        Raises:
            Unasked: the host did not answer, has not got one of them, or nobody could be asked to take no more.
        """
        result = self._ask(todo, names)
        if result.get("failed") or result.get("unreachable"):
            # It may have come so far.
            self.touched |= bool(todo)
            raise Unasked(result)
        if unknown := result["unknown"]:
            said = (
                f"{', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} not on this host yet: run site.yml first."
            )
            raise Unasked({"failed": True, "msg": said if self.touched else f"{said} Nothing was touched."})
        if result["problem"] and "cancel" in todo and not self.touched:
            said = f"Nothing was touched: the workers cannot be asked. {result['problem']}"
            raise Unasked({"failed": True, "msg": said})
        self.touched |= bool(todo)
        return {
            name: draining.Seen(
                **{
                    **found,
                    "tasks": tuple(draining.Task(**task) for task in found.get("tasks", ())),
                    "queues": frozenset(found.get("queues", ())),
                }
            )
            for name, found in result["seen"].items()
        }

    def _ask(self, todo: Mapping[str, list[str]], names: list[str]) -> Mapping[str, Any]:
        try:
            return self.action._execute_module(
                module_name="stockpot.stack.celery_workers",
                module_args={**self.arguments, **todo, "workers": [self.workers[name] for name in names]},
                task_vars=self.variables,
            )
        except AnsibleConnectionFailure as error:
            return {"unreachable": True, "msg": str(error)}

    def show(self, line: str) -> None:
        """A line for the operator."""
        self.action._display.display(f"{self.variables['inventory_hostname']}: {line}")


class ActionModule(ActionBase):
    """Asks and tells the host by the module celery_workers; see plugins/modules/celery_drain.py for its documentation."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fails, before anybody is told anything, when a name is wrong, a worker is not deployed yet, or nobody can be asked."""
        variables = task_vars or {}
        result = super().run(tmp, variables)
        _, options = self.validate_argument_spec(OPTIONS)
        given, problems = collect("celery", variables, self._loader)
        if problems:
            return {**result, "failed": True, "msg": "\n".join(problems)}
        names, problem = draining.chosen(options["names"], processes.complete_workers(given))
        if problem:
            return {**result, "failed": True, "msg": f"{problem} Nothing was touched."}
        definitions = {definition["name"]: definition for definition in processes.celery(given)}
        canary = processes.celery_canary(
            definitions.values(),
            given["celery_workers"],
            given["celery_worker_defaults"],
            given["celery_application"],
            backend=given["celery_process_manager"],
        )
        here = [worker for worker in canary["workers"] if worker["name"] in names]
        result |= {"changed": False, "chosen": [worker["name"] for worker in here], "workers": [], "problems": []}
        if options["only_look"] or not here:
            return result
        began = time.monotonic()
        workers, described = [], {}
        for worker in here:
            definition = definitions[f"worker-{worker['name']}"]
            stop = definition["stop_timeout"]
            workers.append(draining.Worker(worker["name"], frozenset(worker["queues"]), stop, options["start"], began))
            described[worker["name"]] = {
                "name": worker["name"],
                "unit": worker["unit"],
                "mark_seconds": stop + draining.MARK_MARGIN,
            }
        host = Host(self, variables, given, canary["environment_files"], described)
        try:
            if options["skip_missing"] and (missing := host.missing()):
                workers = [worker for worker in workers if worker.name not in missing]
                result["chosen"] = [worker.name for worker in workers]
                if not workers:
                    return result
            if self._task.check_mode:
                seen = host.tell({}, result["chosen"])
                for one in workers:
                    one.next(seen[one.name], began)
                    host.show(one.line(began))
                return result
            host.drain(workers, options["poll_seconds"])
        except Unasked as unasked:
            return {**result, **unasked.result}
        name = variables["inventory_hostname"]
        return {
            **result,
            "changed": True,
            "workers": [worker.row() | {"worker": f"{worker.name}@{name}"} for worker in workers],
            "problems": [f"{worker.name}@{name}: {worker.outcome}" for worker in workers if worker.failed],
        }
