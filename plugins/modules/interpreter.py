#!/usr/bin/python3
"""The version of a Python on the host."""

from __future__ import annotations

import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: interpreter
short_description: Ask a Python on the host for its version
description:
  - Changes nothing. A path that is no interpreter is no failure, for its caller to refuse with all other mistakes.
options:
  path:
    description: Path of the interpreter.
    type: path
    required: true
author: Stockpot
"""

EXAMPLES = r"""
- name: Ask the Python that the project is built with
  stockpot.stack.interpreter:
    path: /opt/python3.13/bin/python3
  register: django_app_interpreter
"""

RETURN = r"""
version:
  description: Its version, such as 3.13.1; empty when there is no CPython.
  type: str
  returned: success
"""

ASK = "import platform, sys; print(platform.python_version() if sys.implementation.name == 'cpython' else '')"


def version_of(path: str) -> str:
    """The version that an interpreter says; empty when it is none."""
    try:
        ran = subprocess.run(
            [path, "-I", "-c", ASK], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    module.exit_json(changed=False, version=version_of(module.params["path"]))


if __name__ == "__main__":
    main()
