"""Action plugin: Debian packages, asked for cheaply and installed by ansible.builtin.apt."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.action import ActionBase

# A fresh image's folder of lists can be new and empty, which apt's own age check takes for fresh.
LISTS_ARE_FRESH = "find /var/lib/apt/lists -maxdepth 0 -mmin -1440 | grep -q . && ls /var/lib/apt/lists | grep -q _Packages && echo fresh"


class ActionModule(ActionBase):
    """See plugins/modules/packages.py for its documentation."""

    _supports_check_mode = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Installs what is missing."""
        result = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            {
                "names": {"type": "list", "elements": "str", "required": True},
                "install_recommends": {"type": "bool", "default": True},
            }
        )
        query = shlex.join(
            ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n", *given["names"]]
        )
        seen = self._low_level_execute_command(f"{query} 2>/dev/null; {LISTS_ARE_FRESH}", executable="/bin/sh")
        lines = seen.get("stdout_lines", [])
        missing = [name for name in given["names"] if f"installed {name}" not in lines]
        if not missing:
            return {**result, "changed": False}
        if "fresh" not in lines:
            refreshed = self._refresh(task_vars)
            if refreshed.get("failed"):
                return {**result, **refreshed}
        arguments = {"name": missing, "install_recommends": given["install_recommends"]}
        return {**result, **self._execute_module("ansible.builtin.apt", arguments, task_vars=task_vars)}

    def _refresh(self, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Fetches the package lists, in check mode too: without them nothing can be foretold, and nothing that runs changes."""
        check_mode, self._task.check_mode = self._task.check_mode, False
        try:
            return self._execute_module("ansible.builtin.apt", {"update_cache": True}, task_vars=task_vars)
        finally:
            self._task.check_mode = check_mode
