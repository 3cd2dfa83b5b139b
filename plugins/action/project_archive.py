"""Pack a Django project on the control node; documented in plugins/modules/project_archive.py."""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from ansible import constants as C
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
        packed = packed_once(given)
        if packed["problems"] and not report:
            return {**result, "failed": True, "msg": "\n".join(packed["problems"]), "problems": packed["problems"]}
        return {**result, **packed, "changed": False}


def packed_once(given: dict[str, Any]) -> dict[str, Any]:
    """The archive that the first host's process of this run has packed from the same options, whatever was pushed since.

    Raises:
        AnsibleActionFail: git failed.
    """
    # Ansible's own folder for one run, which all its processes share.
    kept = Path(
        C.DEFAULT_LOCAL_TMP, f"project-{hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()}"
    )
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kept.exists():
            return json.loads(kept.read_text())
        packed: dict[str, Any] = {"archive": "", "digest": "", "commit": "", "problems": []}
        try:
            packed |= pack(**{**given, "cache": Path(given["cache"])})
        except ProjectError as error:
            packed["problems"] = error.problems
        except subprocess.CalledProcessError as error:
            raise AnsibleActionFail(without_login(f"{' '.join(error.cmd)}: {said(error)}")) from None
        kept.write_text(json.dumps(packed))
        return packed
