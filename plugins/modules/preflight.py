#!/usr/bin/python
"""Documentation of the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Find every mistake of a deployment before the first change
description:
  - Looks at what all roles that a host gets are given, types and rules, and at what no role can know alone (groups, secrets,
    roles beside each other). Fails with all mistakes at once, each with its variable, the file to edit and the fix.
  - Adds up what may be taken of the host's memory, and shows it.
  - Refuses what another application on the host has already (M(stockpot.stack.neighbours)).
  - Runs on the control node but for that look at the host, and changes nothing. Its result, registered as C(stockpot_preflight), spares the roles their own check.
options: {}
author: Stockpot
"""

EXAMPLES = r"""
- name: Check what the run was given
  stockpot.stack.preflight:
  register: stockpot_preflight
"""

RETURN = r"""
roles:
  description: The roles that were looked at.
  type: list
  elements: str
  returned: success
redis_cache_moves:
  description: Whether the cache moves to a Redis of its own in this run.
  type: bool
  returned: success
redis_left:
  description: The instances of Redis that were the cache's own and are wanted no more.
  type: list
  elements: str
  returned: success
certificates_left:
  description: Whether the host renews certificates of the application that are wanted no more.
  type: bool
  returned: success
rabbitmq_left:
  description: Whether the host's RabbitMQ was the application's broker and is no more.
  type: bool
  returned: success
redis_goes_over:
  description: Whether the host's Redis, one of several, goes over to another agreement with the others, as to TLS or back.
  type: bool
  returned: then
left:
  description: Whether the host is one of C(topology_leaving) on which nothing of the application is any more.
  type: bool
  returned: then
problems:
  description: A sentence for each mistake, for a reader that shows no line breaks.
  type: list
  elements: str
  returned: failure
"""
