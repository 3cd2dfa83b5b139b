"""Action plugin: refuse what a role cannot work with, before it changes anything."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import options
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import role_problems


class ActionModule(ActionBase):
    """Runs on the control node; see plugins/modules/check.py for its documentation."""

    _requires_connection = False

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fails with all problems at once; skipped where the run's preflight has looked at this role already."""
        variables = task_vars or {}
        result = super().run(tmp, variables)
        _, given = self.validate_argument_spec({"role": {"type": "str", "required": True}})
        if given["role"] in variables.get("stockpot_preflight", {}).get("roles", []) and not self._is_given_here(
            given["role"]
        ):
            return {**result, "changed": False, "skipped": True, "skip_reason": "The preflight has checked it."}
        problems = role_problems(given["role"], variables, self._loader)
        if problems:
            return {**result, "failed": True, "msg": "\n".join(problems)}
        return {**result, "changed": False}

    def _is_given_here(self, role: str) -> bool:
        """Whether an argument comes from the play, the role's entry in it or an include, which the preflight cannot know of."""
        given = set(self._task.get_vars())
        if self._task._role:
            given |= set(self._task._role.get_role_params())
        if self._task.play:
            given |= set(self._task.play.get_vars())
        return not given.isdisjoint(options(role))
