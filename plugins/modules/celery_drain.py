#!/usr/bin/python
"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: celery_drain
short_description: Take Celery workers down without losing a task, and up again
description:
  - Tells a host's workers to take no more, and tells those again that still do; shows every few seconds which tasks still run and how many seconds
    they have left; and stops each worker when nothing runs in it, or when its C(stop_timeout) is over. What still runs C(stop_timeout) after that
    goes back to the broker, as far as its message is not acknowledged, with all that the worker had taken ahead or kept for a time.
  - The workers are those of the role C(celery), by its variables on this host.
options:
  names:
    description: Names of workers, or of instances of one; none for all. A name that no worker of the fleet has is refused.
    type: list
    elements: str
    default: []
  start:
    description: Start each worker again when it is down, and wait until it consumes its queues.
    type: bool
    default: false
  only_look:
    description: Tell nobody anything; only see whether the names are right.
    type: bool
    default: false
  skip_missing:
    description: Leave out workers that are not on the host, as on one that the application leaves, or has left. Else they are refused.
    type: bool
    default: false
  poll_seconds:
    description: Seconds between two looks.
    type: float
    default: 3
attributes:
  check_mode:
    support: full
    description: Shows what runs.
author: Stockpot
"""

EXAMPLES = r"""
- name: Take a worker down
  stockpot.stack.celery_drain:
    names: [mail]
"""

RETURN = r"""
workers:
  description: >-
    For each worker of this host its C(worker) (the node's name), how many tasks were C(running), how many C(ended), how many went back to the broker
    (C(given back), at most: a worker that is being stopped answers no more), after how many C(seconds) it was down, and the C(outcome).
  returned: always
  type: list
  elements: dict
chosen:
  description: The names of this host's workers that are meant.
  returned: always
  type: list
  elements: str
problems:
  description: Workers that are not as they were to be.
  returned: always
  type: list
  elements: str
"""
