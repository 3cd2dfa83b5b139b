#!/usr/bin/python
"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check
short_description: Refuse what a role of this collection cannot work with
description:
  - Looks at the values of all of a role's arguments on this host, first at their types and then at the role's own rules,
    and fails with every mistake at once, each with its variable and the fix.
  - Runs on the control node and changes nothing. Is skipped where the preflight of the same run has looked at the role.
options:
  role:
    description: The role's name, such as V(redis).
    type: str
    required: true
author: Stockpot
"""

EXAMPLES = r"""
- name: Check what Redis is given
  stockpot.stack.check:
    role: redis
"""

RETURN = r"""
msg:
  description: The mistakes, a line each.
  type: str
  returned: failure
"""
