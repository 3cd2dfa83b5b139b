"""Every mistake of a host's deployment that can be known before the first change, with the file that it stands in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import role_problems, stack

GROUP_VARS = Path(__file__).resolve().parents[2] / "group_vars"


def problems(variables: Mapping[str, Any], loader: DataLoader) -> list[str]:
    """What is wrong with what a host's roles are given, and with the deployment as a whole.

    Args:
        variables: the host's variables as an action gets them, `hostvars` among them.
        loader: the plugin's own.

    Returns:
        A sentence for each mistake, with the variable, the fix and the file to edit; empty when nothing is wrong.
    """
    found = stack.problems(variables["hostvars"][variables["inventory_hostname"]])
    told = " ".join(found)
    for role in stack.roles_of(variables["group_names"]):
        for problem in role_problems(role, variables, loader):
            # A secret that is missing is missed once, by its name in the vault.
            if stack.SECRETS.get(subject(problem), ("-",))[0] not in told:
                found.append(problem)
    where = Places(variables)
    return [where.added_to(problem) for problem in dict.fromkeys(found) if not is_echo(problem, found)]


def is_echo(problem: str, found: list[str]) -> bool:
    """Whether a value cannot be computed only because of a mistake that is told by its own name."""
    return " cannot be computed: " in problem and any(
        other.rstrip(".") in problem for other in found if other != problem
    )


def subject(problem: str) -> str:
    """The variable that a sentence is about: its first word."""
    found = re.match(r"[a-z][a-z0-9_]*", problem)
    return found[0] if found else ""


class Places:
    """Knows in which file an operator mends a variable."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        """Takes the host's variables, for its environment: the group that has a folder of group_vars."""
        folder = Path(variables.get("inventory_dir") or ".") / "group_vars"
        groups = [group for group in variables["group_names"] if (folder / group).is_dir()]
        self._environment = groups[0] if groups else "all"
        self._topics = {
            name: path.stem
            for path in sorted((GROUP_VARS / "all").glob("*.yml"))
            for name in yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        }

    def added_to(self, problem: str) -> str:
        """The sentence, with the file to edit."""
        name = subject(problem)
        if problem.startswith("The group "):
            return f"{problem} (inventories/{self._environment}/hosts.yml)"
        if name.startswith("vault_"):
            return f"{problem} (group_vars/{self._environment}/vault.yml)".replace("<environment>", self._environment)
        topic = self._topics.get(name)
        default = f"; default: group_vars/all/{topic}.yml" if topic else ""
        return f"{problem} (group_vars/{self._environment}/main.yml{default})"
