"""Action plugin: every mistake that can be known before the first change."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.stockpot.stack.plugins.plugin_utils import preflight
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import stack


class ActionModule(ActionBase):
    """Runs on the control node, but for one look at the host; see plugins/modules/preflight.py for its documentation."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fails with all problems of all roles at once; else gives the roles that it has looked at."""
        variables = task_vars or {}
        result = super().run(tmp, variables)
        seen = self._execute_module(module_name="stockpot.stack.neighbours", module_args={}, task_vars=variables)
        if seen.get("failed") or seen.get("unreachable"):
            return {**result, **seen}
        found = preflight.look(variables, self._loader, seen)
        if found.problems:
            lines = ["Nothing was changed. To be mended first:", *(f"- {problem}" for problem in found.problems)]
            return {**result, "failed": True, "msg": "\n".join(lines), "problems": found.problems}
        roles = stack.roles_of(variables, self._loader)
        if roles:
            self._display.display(str(found.memory))
        return {
            **result,
            "changed": False,
            "roles": roles,
            "redis_cache_moves": found.redis_cache_moves,
            "redis_left": list(found.redis_left),
            "certificates_left": found.certificates_left,
            "rabbitmq_left": found.rabbitmq_left,
            **({"redis_goes_over": True} if found.redis_goes_over else {}),
            **({"left": True} if found.has_left else {}),
        }
