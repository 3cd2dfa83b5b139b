#!/usr/bin/python3
"""The documentation of the action project_archive, which runs on the control node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_archive
short_description: Pack a Django project into an archive whose name is its content, with a lock of what it needs
description:
  - Runs on the control node, in Ansible's own process. Servers get the archive and need neither git nor deploy keys.
  - From a folder, packs what git tracks and what it neither tracks nor ignores. Ignored files never leave the machine.
    A folder outside git is treated alike, its own C(.gitignore) files included; virtualenvs and caches stay out.
  - From a git address, or a folder and a O(version), packs that version. Fetching uses the caller's own ssh keys
    and git settings.
  - Requirements files that hold hashes and everything that is needed are installed as they are. Anything else becomes one file with
    hashes, O(lock), which is resolved once and used until the project's files or these options change. What the project itself has
    locked keeps its versions and hashes. A new lock is a change, with a difference; in check mode it is not written.
  - Beside the lock it writes nothing but its cache, in check mode too.
  - With O(build_commands), packs what these leave of a copy of the source, with ignored files that they make. The same source and
    commands are built once, and then taken from the cache; in check mode as well, as the release's id is what is in it.
  - Packs once a run. Whoever asks later with the same options, for another host for example, gets the same archive, whatever was
    pushed or edited since.
options:
  source:
    description: Absolute path of a folder on the control node, or a git address.
    type: str
    required: true
  version:
    description: Tag, branch or commit. Needed with a git address; empty packs a folder as it lies there.
    type: str
    default: ""
  subdirectory:
    description: Folder inside the source that holds manage.py, when that is not its top.
    type: str
    default: ""
  requirements:
    description: >-
      Files that say which packages the project needs, relative to manage.py's folder: C(requirements*.txt), C(pyproject.toml),
      C(uv.lock), C(poetry.lock), C(pdm.lock), C(Pipfile.lock), C(pylock.toml).
    type: list
    elements: str
    default: [requirements.txt]
  extras:
    description: Optional dependencies of the project to install, by name.
    type: list
    elements: str
    default: []
  dependency_groups:
    description: Groups of dependencies to install, by name.
    type: list
    elements: str
    default: []
  overlay:
    description: Requirements of the deployment's own. What the project brings is not added, nor a second driver for PostgreSQL.
    type: list
    elements: str
    default: []
  manage:
    description: The words before a manage command. A script among them has to be in the project.
    type: list
    elements: str
    default: [python, manage.py]
  asgi:
    description: The ASGI application that gunicorn serves, for which C(uvicorn-worker) and C(websockets) join O(overlay). Empty for none.
    type: str
    default: ""
  gunicorn_config:
    description: The project's own configuration of gunicorn, relative to manage.py's folder. Empty for none.
    type: str
    default: ""
  lock:
    description: Path of the lock on the control node. Commit it.
    type: path
    default: ""
  index_url:
    description: Package index in place of PyPI, credentials inside.
    type: str
    default: ""
  extra_index_urls:
    description: Package indexes that are asked first, credentials inside. A package that one of them has is taken from there.
    type: list
    elements: str
    default: []
  python:
    description: What builds the project where a host has no C(django_app_python) of its own. Empty for the host's python3.
    type: str
    default: ""
  hosts:
    description: The hosts that build it; empty for those of the play. Their Pythons are held against what the project requires.
    type: list
    elements: str
    default: []
  build_commands:
    description: >-
      Programs that build the project's front end before it is packed, each a list of words, or a dict with C(command) and C(directory),
      relative to manage.py's folder and inside the source. They run one after the other in a copy of the source, without a shell,
      with PATH, HOME, proxies, authorities and the settings of npm and Node.js in their environment, and nothing else.
    type: list
    elements: raw
    default: []
  build_excludes:
    description: Names of folders and files that these make and servers do not need.
    type: list
    elements: str
    default: []
  settings_module:
    description: The settings module; refused where the project plainly holds another one. Empty is not looked at, as below.
    type: str
    default: ""
  wsgi:
    description: Its WSGI callable, C(module:callable).
    type: str
    default: ""
  celery_app:
    description: What C(celery -A) is given.
    type: str
    default: ""
  static_root:
    description: Folder that visitors may read, relative to manage.py's; refused where the project keeps source in it.
    type: str
    default: ""
  shared_paths:
    description: Folders that are to outlive a release, relative to manage.py's; refused where the project keeps code in one.
    type: list
    elements: str
    default: []
  files:
    description: Paths of files that the project is given, relative to manage.py's folder; refused where a folder stands.
    type: list
    elements: str
    default: []
  cache:
    description: Folder for archives and fetched repositories.
    type: path
    default: ~/.cache/stockpot
  report:
    description: Whether an operator's mistake is only returned, in RV(problems), for the caller to refuse.
    type: bool
    default: false
author: Stockpot
"""

EXAMPLES = r"""
- name: Pack the project, once for all hosts
  stockpot.stack.project_archive:
    source: git@example.com:library/site.git
    version: main
    subdirectory: backend
    requirements: [uv.lock]
    build_commands:
      - {command: [npm, ci], directory: ../frontend}
      - {command: [npm, run, build], directory: ../frontend}
    build_excludes: [node_modules]
    overlay: [gunicorn]
    lock: "{{ inventory_dir }}/requirements.txt"
  register: packed

- name: Build that very archive everywhere
  ansible.builtin.include_role:
    name: stockpot.stack.django_app
  vars:
    django_app_archive: "{{ packed }}"
"""

RETURN = r"""
archive:
  description: Path of the gzipped tar on the control node.
  type: str
  returned: success
digest:
  description: SHA-256 over names, modes and contents, and the lock. The same files give the same digest on any machine.
  type: str
  returned: success
commit:
  description: The commit the version stands for, empty without a version. As a version it needs no fetching.
  type: str
  returned: success
requirements:
  description: Path of what is installed, on the control node; empty where the project's own files are.
  type: str
  returned: success
sources:
  description: What is installed without hashes, as a commit of a repository or a folder of the project.
  type: list
  elements: str
  returned: success
versions:
  description: Of each package the lowest version that is locked, by name.
  type: dict
  returned: success
pythons:
  description: The version of Python of each host.
  type: dict
  returned: success
problems:
  description: What the operator has to change, in sentences that begin with a variable of the role django_app.
  type: list
  elements: str
  returned: always
"""
