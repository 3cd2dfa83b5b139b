"""Action plugin: what a project's Celery app expects, held against its workers before anything runs it."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.stockpot.stack.plugins.plugin_utils import processes
from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import ROLES, collect
from ansible_collections.stockpot.stack.plugins.plugin_utils.contracts import contracts
from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import environment_value

OPTIONS: dict[str, dict[str, Any]] = {
    "environment_file": {"type": "path", "default": ""},
    "release_path": {"type": "path", "default": ""},
}


class ActionModule(ActionBase):
    """Asks the host by the module celery_app; see plugins/modules/celery_contracts.py for its documentation."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fails with all that cannot work at once."""
        variables = task_vars or {}
        result = super().run(tmp, variables)
        _, options = self.validate_argument_spec(OPTIONS)
        given, problems = collect("celery", variables, self._loader)
        if problems:
            return {**result, "failed": True, "msg": "\n".join(problems)}
        workers = processes.complete_workers(given)
        # As the first worker has it.
        environment = {**given["celery_environment"], **(workers[0].get("environment", {}) if workers else {})}
        asked = self._execute_module(
            module_name="stockpot.stack.celery_app",
            module_args={
                "app": given["celery_app"],
                "user": given["celery_user"],
                "release_path": options["release_path"] or given["celery_release_path"],
                "environment_files": [options["environment_file"] or given["celery_environment_file"]],
                "environment": "".join(
                    f"{name}={environment_value(value)}\n" for name, value in sorted(environment.items())
                ),
                "read_paths": given["celery_read_paths"],
                "script": (ROLES / "celery/files/stockpot_app.py").read_text(encoding="utf-8"),
            },
            task_vars=variables,
        )
        if asked.get("failed") or asked.get("unreachable"):
            return {**result, **asked}
        if not asked["facts"]:
            return {**result, "changed": False, "warnings_of_tasks": []}
        problems, warnings = contracts(
            asked["facts"], workers, given["celery_foreign_queues"], given["celery_consumer_timeout"]
        )
        if problems:
            lines = ["Nothing was restarted. To be mended first:", *(f"- {problem}" for problem in problems)]
            return {**result, "failed": True, "msg": "\n".join(lines), "problems": problems}
        return {**result, "changed": False, "warnings_of_tasks": warnings}
