#!/usr/bin/python
"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: celery_contracts
short_description: Hold what a project's Celery app expects against its workers
description:
  - Asks the app of a release, before anything runs it, for its queues, its tasks' limits and its broker's options, and fails where they do not go
    with the role celery's workers. Changes nothing.
options:
  environment_file:
    description: The file with the project's variables, where it is not C(celery_environment_file) yet.
    type: path
    default: ""
  release_path:
    description: The release's folder, where it is not C(celery_release_path).
    type: path
    default: ""
author: Stockpot
"""

EXAMPLES = r"""
- name: Hold the app's tasks against the workers
  stockpot.stack.celery_contracts:
"""

RETURN = r"""
warnings_of_tasks:
  description: What may lose or repeat work; a sentence each.
  returned: success
  type: list
  elements: str
msg:
  description: What cannot work, a line each.
  returned: failure
  type: str
"""
