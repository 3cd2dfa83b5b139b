"""What types cannot say about a role's arguments: one function `problems(given)` a role, which changes nothing and asks no host.

`given` holds every option of the role by its full name, `inventory_hostname` and `ansible_facts`. A sentence begins with the
variable's name and ends with the fix; which file it stands in, the caller adds. What a whole deployment has to be is in `stack`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.plugin_utils import arguments
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import (
    celery,
    django_app,
    firewall,
    flower,
    nginx,
    postgresql,
    process_manager,
    redis,
)

RULES: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "celery": celery.problems,
    "django_app": django_app.problems,
    "firewall": firewall.problems,
    "flower": flower.problems,
    "nginx": nginx.problems,
    "postgresql": postgresql.problems,
    "process_manager": process_manager.problems,
    "redis": redis.problems,
}


def role_problems(role: str, variables: Mapping[str, Any], loader: DataLoader) -> list[str]:
    """What is wrong with what a role is given on one host; see `examined`."""
    return examined(role, variables, loader)[1]


def examined(role: str, variables: Mapping[str, Any], loader: DataLoader) -> tuple[dict[str, Any], list[str]]:
    """What a role is given on one host, and what is wrong with it: types first, and the role's own rules when these are right.

    Args:
        role: the role's name without the collection's.
        variables: the host's variables, as in `arguments.collect`.
        loader: the plugin's own.
    """
    given, found = arguments.collect(role, variables, loader)
    return given, found or (RULES[role](given) if role in RULES else [])
