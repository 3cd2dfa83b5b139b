#!/usr/bin/python3
"""A virtualenv with what a lock holds, made by uv."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils.addresses import without_credentials
from ansible_collections.stockpot.stack.plugins.module_utils.wheels import advice

DOCUMENTATION = r"""
module: virtualenv
short_description: Make a virtualenv and install what a lock holds
description:
  - Makes the virtualenv with the Python that is asked for, which uv installs below C(/opt/python) where the host has no such version.
  - Installs requirements with their hashes checked, then what has none, a commit of a repository or a folder of the project, without
    its dependencies. Modules are compiled.
  - It always begins afresh, so it always changes something.
  - Addresses of indexes are given to uv in its environment, never on a command line, and no output shows their logins.
  - When a package cannot be built, the message names the Debian packages that it lacks.
options:
  path:
    description: Folder of the virtualenv. What is there is removed.
    type: path
    required: true
  python:
    description: Path of an interpreter, or a version such as C(3.12), which is the host's own python3 where that has it.
    type: str
    default: /usr/bin/python3
  requirements:
    description: Paths of requirements files with hashes, relative to O(directory).
    type: list
    elements: path
    required: true
  sources:
    description: What is installed without hashes and without dependencies.
    type: list
    elements: str
    default: []
  directory:
    description: Where uv runs, the folder of the project.
    type: path
    required: true
  index_url:
    description: Package index in place of PyPI, credentials inside.
    type: str
    default: ""
  extra_index_urls:
    description: Package indexes that are asked first, credentials inside.
    type: list
    elements: str
    default: []
  python_mirror:
    description: Where uv gets Pythons from, in place of its own source.
    type: str
    default: ""
  uv:
    description: Path of uv.
    type: path
    default: /opt/uv/bin/uv
  cache:
    description: Folder of uv's cache.
    type: path
    default: /var/cache/uv
  pythons:
    description: Folder of the Pythons that uv installs.
    type: path
    default: /opt/python
author: Stockpot
"""

EXAMPLES = r"""
- name: Make the release's virtualenv
  stockpot.stack.virtualenv:
    path: /srv/library/releases/1f3a9c2b7d60/venv
    directory: /srv/library/releases/1f3a9c2b7d60/source
    requirements: [requirements.txt]
    index_url: "{{ library_index_url }}"
"""

RETURN = r"""
python:
  description: Path of the interpreter it was made with.
  type: str
  returned: success
"""

HOST_PYTHON = "/usr/bin/python3"
VERSION = "import platform; print(platform.python_version())"


class UvError(Exception):
    """uv failed; the text says why and what to do, without a login."""


class Uv:
    """uv with a cache and indexes of its own."""

    def __init__(self, given: dict[str, Any]) -> None:
        """Takes the module's arguments."""
        self.addresses = [given["index_url"], *given["extra_index_urls"]]
        self.program, self.directory = given["uv"], given["directory"]
        self.environment = {
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "UV_CACHE_DIR": given["cache"],
            "UV_LINK_MODE": "copy",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_PYTHON_INSTALL_DIR": given["pythons"],
            "UV_SYSTEM_CERTS": "true",
        }
        chosen = {
            "UV_DEFAULT_INDEX": given["index_url"],
            "UV_INDEX": " ".join(given["extra_index_urls"]),
            "UV_PYTHON_INSTALL_MIRROR": given["python_mirror"],
        }
        self.environment |= {name: value for name, value in chosen.items() if value}

    def __call__(self, *words: str, **environment: str) -> str:
        """What uv prints.

        Raises:
            UvError: it failed.
        """
        ran = subprocess.run(
            [self.program, *words],
            cwd=self.directory,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            umask=0o022,
        )
        if ran.returncode:
            said = without_credentials(ran.stderr.strip() or ran.stdout.strip(), self.addresses)
            raise UvError("\n".join(filter(None, (f"uv {words[0]} failed: {said}", advice(said)))))
        return ran.stdout.strip()


def interpreter(python: str, uv: Uv) -> str:
    """The path of the Python that is asked for, installed where it has to be.

    Raises:
        UvError: there is none of this version.
    """
    if python.startswith("/"):
        return python
    if Path(HOST_PYTHON).exists():
        has = subprocess.run([HOST_PYTHON, "-c", VERSION], capture_output=True, text=True, check=True).stdout.strip()
        if f"{has}.".startswith(f"{python}."):
            return HOST_PYTHON
    try:
        uv("python", "install", "--no-bin", python, UV_PYTHON_DOWNLOADS="manual")
    except UvError as error:
        raise UvError(
            f"{error}\ndjango_app_python_mirror: this host could not get Python {python}. Name a place it can reach that holds "
            "uv's Pythons, or the path of an interpreter in django_app_python."
        ) from None
    return uv("python", "find", "--managed-python", python)


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "python": {"type": "str", "default": HOST_PYTHON},
            "requirements": {"type": "list", "elements": "path", "required": True},
            "sources": {"type": "list", "elements": "str", "default": []},
            "directory": {"type": "path", "required": True},
            "index_url": {"type": "str", "default": "", "no_log": True},
            "extra_index_urls": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "python_mirror": {"type": "str", "default": ""},
            "uv": {"type": "path", "default": "/opt/uv/bin/uv"},
            "cache": {"type": "path", "default": "/var/cache/uv"},
            "pythons": {"type": "path", "default": "/opt/python"},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True, python=module.params["python"])
    uv = Uv(module.params)
    path = module.params["path"]
    try:
        python = interpreter(module.params["python"], uv)
        uv("venv", "--quiet", "--clear", f"--python={python}", path)
        install = ("pip", "install", "--quiet", "--compile-bytecode", f"--python={path}/bin/python")
        uv(*install, "--require-hashes", *(f"--requirements={name}" for name in module.params["requirements"]))
        if module.params["sources"]:
            uv(*install, "--no-deps", "--", *module.params["sources"])
    except UvError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, python=python)


if __name__ == "__main__":
    main()
