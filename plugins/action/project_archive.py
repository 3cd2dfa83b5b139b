"""Pack a Django project on the control node; documented in plugins/modules/project_archive.py."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.stockpot.stack.plugins.plugin_utils.project import Project, pack
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.build import Command, command_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.parts import Parts
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.resolve import Index, summary
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.source import ProjectError, said, without_login

ARGUMENTS: dict[str, dict[str, Any]] = {
    "source": {"type": "str", "required": True},
    "version": {"type": "str", "default": ""},
    "subdirectory": {"type": "str", "default": ""},
    "requirements": {"type": "list", "elements": "str", "default": ["requirements.txt"]},
    "build_commands": {"type": "list", "elements": "raw", "default": []},
    "build_excludes": {"type": "list", "elements": "str", "default": []},
    "static_root": {"type": "str", "default": ""},
    "shared_paths": {"type": "list", "elements": "str", "default": []},
    "files": {"type": "list", "elements": "str", "default": []},
    "settings_module": {"type": "str", "default": ""},
    "wsgi": {"type": "str", "default": ""},
    "celery_app": {"type": "str", "default": ""},
    "extras": {"type": "list", "elements": "str", "default": []},
    "dependency_groups": {"type": "list", "elements": "str", "default": []},
    "overlay": {"type": "list", "elements": "str", "default": []},
    "manage": {"type": "list", "elements": "str", "default": ["python", "manage.py"]},
    "asgi": {"type": "str", "default": ""},
    "gunicorn_config": {"type": "str", "default": ""},
    "lock": {"type": "path", "default": ""},
    "index_url": {"type": "str", "default": "", "no_log": True},
    "extra_index_urls": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "python": {"type": "str", "default": ""},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "cache": {"type": "path", "default": "~/.cache/stockpot"},
    "report": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Ansible's entry point. It runs in Ansible's own process, whatever host the task is for."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The archive, its digest, the commit, what is installed, and the operator's mistakes."""
        result = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(ARGUMENTS)
        report = given.pop("report")
        given["pythons"], missing = pythons_of(given.pop("hosts"), given.pop("python"), task_vars or {})
        packed = packed_once(given, write=not self._task.check_mode)
        packed["problems"] += missing
        if packed["problems"] and not report:
            return {**result, "failed": True, "msg": "\n".join(packed["problems"]), "problems": packed["problems"]}
        return {**result, **packed}


def pythons_of(hosts: Iterable[str], python: str, variables: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The version of Python that each of these hosts builds with, and a sentence for each that has none.

    What a run with --limit has not asked is not known.

    Args:
        hosts: their names; empty for those of the play.
        python: `django_app_python` where a host has none of its own.
        variables: the task's, `hostvars` among them.
    """
    found, missing = {}, []
    for host in list(hosts) or variables.get("ansible_play_hosts_all", []):
        its = variables["hostvars"][host]
        asked = its.get("django_app_python", python)
        own = its.get("ansible_facts", {}).get("python", {}).get("version", {})
        if str(asked).startswith("/"):
            answer = its.get("django_app_interpreter", {})
            version = answer.get("version", "")
            if "version" in answer and not version:
                missing.append(
                    f"django_app_python: {host} has no Python at {asked}. Install it there, or name another."
                )
        else:
            version = str(asked) or ".".join(str(own[key]) for key in ("major", "minor", "micro") if key in own)
        if version:
            found[str(host)] = version
    return found, missing


def packed_once(given: dict[str, Any], *, write: bool) -> dict[str, Any]:
    """What the first host's process of this run has packed from the same options, whatever was pushed since.

    Args:
        given: the options.
        write: whether a lock that changed is written.

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
        packed = packed_now(given)
        difference = lock_difference(packed, given["lock"], write=write)
        kept.write_text(json.dumps({**packed, "changed": False}))
        return {**packed, **difference}


def packed_now(given: dict[str, Any]) -> dict[str, Any]:
    """What `pack` returns of these options, and the operator's mistakes."""
    packed: dict[str, Any] = {
        "archive": "",
        "digest": "",
        "commit": "",
        "requirements": "",
        "sources": [],
        "versions": {},
    }
    packed |= {"lock_before": "", "lock_after": "", "pythons": given["pythons"], "problems": []}
    if problems := command_problems("django_app_build_commands", given["build_commands"]):
        return packed | {"problems": problems}
    options = {**given, "lock": Path(given["lock"]) if given["lock"] else None}
    options["build_commands"] = [Command.given(entry) for entry in options["build_commands"]]
    options["index"] = Index(options.pop("index_url"), options.pop("extra_index_urls"))
    options["parts"] = Parts(
        settings=options.pop("settings_module"),
        wsgi=options.pop("wsgi"),
        asgi=options["asgi"],
        celery=options.pop("celery_app"),
        static_root=options["static_root"],
    )
    pythons, cache = options.pop("pythons"), Path(options.pop("cache"))
    try:
        packed |= pack(Project(**options), pythons=pythons, cache=cache)
    except ProjectError as error:
        packed["problems"] = error.problems
    except subprocess.CalledProcessError as error:
        raise AnsibleActionFail(without_login(f"{' '.join(error.cmd)}: {said(error)}")) from None
    return packed


def lock_difference(packed: dict[str, Any], path: str, *, write: bool) -> dict[str, Any]:
    """Write the lock if it is another one, and say what is new; takes both texts out of what was packed."""
    before, after = packed.pop("lock_before"), packed.pop("lock_after")
    if before == after or not path:
        return {"changed": False}
    changes = summary(before, after)
    what = "would be written" if not write else "is written"
    Display().display(f"{path} {what}: {', '.join(changes) or 'the same versions'}")
    if write:
        write_lock(Path(path), after)
    return {"changed": True, "diff": {"before": before, "after": after, "before_header": path, "after_header": path}}


def write_lock(path: Path, text: str) -> None:
    """Write a file that others may read, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
