#!/usr/bin/python
"""Ansible module: what a project's Celery app says of itself, asked once for a release and its variables."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils import releases

DOCUMENTATION = """
---
module: celery_app
short_description: Ask a project's Celery app for its queues and limits
description:
  - Loads the app as its user, with its variables, and says which queues it sends to and how long its tasks may take. Nothing of it is run.
  - A complete release (C(.complete) in its folder) does not change, so it is asked once for the same variables.
options:
  app:
    description: What C(celery -A) is given.
    type: str
    required: true
  user:
    description: Who loads it.
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
  environment:
    description: Lines of a file with further variables, which win over those.
    type: str
    default: ""
  read_paths:
    description: Files beside the release that its settings may read.
    type: list
    elements: path
    default: []
  script:
    description: The program that loads it.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: A release that is not there yet says nothing.
"""

EXAMPLES = """
- name: Ask the app for its queues
  stockpot.stack.celery_app:
    app: config
    user: shop
    release_path: /srv/shop/current
    environment_files: [/etc/shop/environment]
    script: "{{ lookup('ansible.builtin.file', 'stockpot_app.py') }}"
  register: asked
"""

RETURN = """
facts:
  description: What the program says; empty where there is no release.
  returned: success
  type: dict
"""

ARGUMENTS: dict[str, dict[str, Any]] = {
    **releases.ARGUMENTS,
    # Its values are in no output: the module returns none of them.
    "environment": {"type": "str", "default": "", "no_log": True},
    "read_paths": {"type": "list", "elements": "path", "default": []},
}


def key(given: Mapping[str, Any]) -> str:
    """Names what an app was asked with."""
    texts = [given["app"], given["script"], given["environment"]]
    paths = [*given["environment_files"], *(path for path in given["read_paths"] if Path(path).is_file())]
    texts += [Path(path).read_bytes().hex() for path in paths]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def facts(given: Mapping[str, Any], scratch: str, *, keep: bool = True) -> dict[str, Any]:
    """What the app says, or has said.

    Args:
        given: the module's parameters.
        scratch: a folder of root's.
        keep: note it in the release, for the next time.

    Raises:
        ScriptError: it cannot be loaded.
    """
    release = Path(os.path.realpath(given["release_path"]))
    if not (release / "venv/bin/python").exists():
        return {}
    kept = release / f".celery-{key(given)}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    with tempfile.NamedTemporaryFile("w", dir=scratch, suffix=".environment") as file:
        file.write(given["environment"])
        file.flush()
        said = releases.run_script(given, {"app": given["app"]}, [file.name])
    if keep and (release / ".complete").exists():
        new = kept.with_suffix(".new")
        new.write_text(json.dumps(said))
        new.replace(kept)
    return said


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        said = facts(module.params, module.tmpdir, keep=not module.check_mode)
    except releases.ScriptError as error:
        module.fail_json(
            msg=f"celery_app: the app {module.params['app']} cannot be loaded: {error} Nothing was restarted."
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, facts=said)


if __name__ == "__main__":
    main()
