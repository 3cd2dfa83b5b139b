"""Action plugin: signs, on the control node, the authority of a server."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.stockpot.stack.plugins.plugin_utils import arguments, authority


class ActionModule(ActionBase):
    """The module makes the server's key; see plugins/modules/intermediate_authority.py for its documentation."""

    _supports_check_mode = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Signs what the server does not have, and changes nothing on one that has it."""
        variables = task_vars or {}
        result = super().run(tmp, variables)
        _, task = self.validate_argument_spec(
            {
                "path": {"type": "path", "required": True},
                "names": {"type": "list", "elements": "str", "required": True},
            }
        )
        # Not an argument of the task: those are shown.
        given, problems = arguments.collect("certificates", variables, self._loader)
        if problems:
            return {**result, "failed": True, "msg": "\n".join(problems)}
        own = authority.Pair(given["certificates_authority_key"], given["certificates_authority"])
        name = "stockpot.stack.intermediate_authority"
        seen = self._execute_module(module_name=name, module_args=task, task_vars=variables)
        if seen.get("failed") or seen.get("unreachable"):
            return {**result, **seen}
        public_key, certificate = seen["public_key"], seen["certificate"]
        # A check only foretells a key that is not there.
        if not public_key:
            return {**result, **seen, "changed": True}
        try:
            if authority.is_good(certificate, own.certificate, public_key, task["names"]):
                return {**result, **seen}
            if self._task.check_mode:
                return {**result, **seen, "changed": True}
            signed = authority.intermediate(own, public_key, task["names"])
        except authority.AuthorityError as error:
            return {**result, "failed": True, "msg": f"certificates_authority: {error}."}
        arguments_ = {**task, "certificate": signed}
        written = self._execute_module(module_name=name, module_args=arguments_, task_vars=variables)
        return {**result, **written}
