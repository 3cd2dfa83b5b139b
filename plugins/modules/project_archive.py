#!/usr/bin/python3
"""The documentation of the action project_archive, which runs on the control node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: project_archive
short_description: Pack a Django project into an archive whose name is its content
description:
  - Runs on the control node, in Ansible's own process. Servers get the archive and need neither git nor deploy keys.
  - From a folder, packs what git tracks and what it neither tracks nor ignores. Ignored files never leave the machine.
    A folder outside git is treated alike, its own C(.gitignore) files included; virtualenvs and caches stay out.
  - From a git address, or a folder and a O(version), packs that version. Fetching uses the caller's own ssh keys
    and git settings.
  - Writes nothing but its cache, in check mode too, so it never reports a change.
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
    description: Requirements file with hashes, relative to manage.py's folder.
    type: str
    default: requirements.txt
  packages:
    description: Packages the requirements file has to hold.
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
    packages: [gunicorn]
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
  description: SHA-256 over names, modes and contents. The same files give the same digest on any machine.
  type: str
  returned: success
commit:
  description: The commit the version stands for, empty without a version. As a version it needs no fetching.
  type: str
  returned: success
problems:
  description: What the operator has to change, in sentences that begin with a variable of the role django_app.
  type: list
  elements: str
  returned: always
"""
