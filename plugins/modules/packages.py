#!/usr/bin/python
"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Have Debian packages installed, on a bare server too
description:
  - Asks dpkg, which takes a tenth of the time that apt takes, and only when something is missing calls M(ansible.builtin.apt).
  - Refreshes the package lists first where they are missing or older than a day; in check mode too, because nothing can be
    foretold without them.
options:
  names:
    description: The packages; of a form that dpkg does not know, such as V(curl=8.*), apt is asked.
    type: list
    elements: str
    required: true
  install_recommends:
    description: Whether what they recommend is installed too.
    type: bool
    default: true
author: Stockpot
"""

EXAMPLES = r"""
- name: Install Redis
  stockpot.stack.packages:
    names: [redis-server]
"""

RETURN = r"""
changed:
  description: Whether something was, or in check mode would be, installed.
  type: bool
  returned: always
"""
