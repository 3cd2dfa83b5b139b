#!/usr/bin/python
"""Ansible module: proof that an application's Celery workers work."""

from __future__ import annotations

import json
import os
import re

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
---
module: celery_canary
short_description: Send a task through every queue of this host's Celery workers
description:
  - Checks that each worker answers, consumes exactly its queues and is its unit's process, that a task comes back through each queue,
    that some worker consumes every queue the app routes to, and that Beat ticks and is the only one.
  - Runs the script as the application's user, in its virtualenv, with its environment file read the way systemd reads it for the units.
options:
  script:
    description: The text of files/canary.py.
    type: str
    required: true
  app:
    description: What C(celery -A) is given.
    type: str
    required: true
  python:
    description: The virtualenv's Python.
    type: path
    required: true
  directory:
    description: The project's folder.
    type: path
    required: true
  user:
    description: The application's system user.
    type: str
    required: true
  environment_file:
    description: The file with the project's environment variables.
    type: path
    required: true
  workers:
    description: This host's workers with name, unit, node and queues.
    type: list
    elements: dict
    required: true
  beat_unit:
    description: Beat's unit, if it runs here.
    type: str
    default: ""
  beat_remote_control:
    description: Whether Beat answers pings.
    type: bool
    default: true
  routed_queues:
    description: Queues that need a worker, beside those that the app's routes tell.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait for workers that were just restarted.
    type: int
    default: 60
"""

EXAMPLES = """
- name: Send a task through every queue
  celery_canary:
    script: "{{ lookup('ansible.builtin.file', 'canary.py') }}"
    app: shop
    python: /srv/shop/current/venv/bin/python
    directory: /srv/shop/current/source
    user: shop
    environment_file: /etc/shop/environment
    workers: [{name: mail, unit: shop-worker-mail.service, node: mail@%h, queues: [mail]}]
"""

RETURN = """
queues:
  description: Seconds that the round trip through each queue took.
  returned: success
  type: dict
notes:
  description: What could not be tried, and why.
  returned: success
  type: list
"""

ARGUMENTS = {
    "script": {"type": "str", "required": True},
    "app": {"type": "str", "required": True},
    "python": {"type": "path", "required": True},
    "directory": {"type": "path", "required": True},
    "user": {"type": "str", "required": True},
    "environment_file": {"type": "path", "required": True},
    "workers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "unit": {"type": "str", "required": True},
            "node": {"type": "str", "required": True},
            "queues": {"type": "list", "elements": "str", "required": True},
        },
    },
    "beat_unit": {"type": "str", "default": ""},
    "beat_remote_control": {"type": "bool", "default": True},
    "routed_queues": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 60},
}


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    if not given["workers"] and not given["beat_unit"]:
        module.exit_json(changed=False, queues={}, notes=["No worker and no Beat runs here."])
    if module.check_mode and not os.path.exists(given["python"]):
        module.exit_json(changed=False, queues={}, notes=["Nothing is deployed here yet."])
    keys = ("app", "workers", "beat_unit", "beat_remote_control", "routed_queues", "timeout")
    command = [
        "systemd-run",
        *("--quiet", "--pipe", "--wait", "--collect", "--service-type=exec"),
        f"--uid={given['user']}",
        f"--property=EnvironmentFile={given['environment_file']}",
        f"--property=WorkingDirectory={given['directory']}",
        given["python"],
        "-",
        # systemd-run takes the text after the program for itself: neither $ nor % may be expanded.
        json.dumps({key: given[key] for key in keys}).replace("$", "$$"),
    ]
    code, output, errors = module.run_command(command, data=given["script"])
    try:
        report = json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        ending = re.sub(
            r"(://[^:/@\s]*:)[^@\s]*@", r"\1********@", "\n".join((output + errors).strip().splitlines()[-20:])
        )
        module.fail_json(msg=f"The canary itself failed (exit status {code}):\n{ending}")
    if report["problems"]:
        module.fail_json(msg="\n".join(report["problems"]), notes=report["notes"], queues=report["queues"])
    module.exit_json(changed=False, notes=report["notes"], queues=report["queues"])


if __name__ == "__main__":
    main()
