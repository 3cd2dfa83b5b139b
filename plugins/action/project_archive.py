"""Pack a Django project on the control node; documented in plugins/modules/project_archive.py."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.stockpot.stack.plugins.plugin_utils.project import pack
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.source import ProjectError, said, without_login

ARGUMENTS: dict[str, dict[str, Any]] = {
    "source": {"type": "str", "required": True},
    "version": {"type": "str", "default": ""},
    "subdirectory": {"type": "str", "default": ""},
    "requirements": {"type": "str", "default": "requirements.txt"},
    "packages": {"type": "list", "elements": "str", "default": []},
    "cache": {"type": "path", "default": "~/.cache/stockpot"},
    "report": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Ansible's entry point. It runs in Ansible's own process, whatever host the task is for."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The archive, its digest, the commit and the operator's mistakes."""
        result = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(ARGUMENTS)
        report = given.pop("report")
        packed = {"archive": "", "digest": "", "commit": ""}
        problems: list[str] = []
        try:
            packed = pack(**{**given, "cache": Path(given["cache"])})
        except ProjectError as error:
            problems = error.problems
        except subprocess.CalledProcessError as error:
            raise AnsibleActionFail(without_login(f"{' '.join(error.cmd)}: {said(error)}")) from None
        if problems and not report:
            return {**result, "failed": True, "msg": "\n".join(problems), "problems": problems}
        return {**result, **packed, "changed": False, "problems": problems}
