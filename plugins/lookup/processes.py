"""Lookup plugin: what a role's arguments make an application run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.template import Templar
from ansible_collections.stockpot.stack.plugins.plugin_utils import processes
from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import collect, defaults

DOCUMENTATION = """
name: processes
short_description: A role's process definitions
description:
  - The processes of one host that a role's arguments ask for, as C(process_manager_definitions) takes them.
  - The arguments are the role's variables on this host and, where there are none, its defaults.
options:
  _terms:
    description: The role.
    choices: [django_app, celery, flower]
    required: true
author: Stockpot
"""

EXAMPLES = """
- name: Run the workers
  ansible.builtin.import_role:
    name: stockpot.stack.process_manager
  vars:
    process_manager_application: shop
    process_manager_definitions: "{{ lookup('stockpot.stack.processes', 'celery') }}"
"""

RETURN = """
_list:
  description: The definitions, one list.
  type: list
  elements: list
"""

ROLES: dict[str, Callable[[Mapping[str, Any]], list[dict[str, Any]]]] = {
    "django_app": processes.django_app,
    "celery": processes.celery,
    "flower": processes.flower,
}
# Variables of a role that are no arguments, but that its processes depend on.
NEEDED_BESIDE_ARGUMENTS = {"django_app": ("django_app_release_path",)}


class LookupModule(LookupBase):
    """Ansible's entry point."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """The definitions of each role.

        Raises:
            AnsibleLookupError: an argument is missing or of a wrong type; names them all.
        """
        found = []
        for role in terms:
            given, problems = collect(role, variables or {}, self._loader)
            if problems:
                raise AnsibleLookupError("\n".join(problems))
            scope = {**defaults(role, self._loader), **(variables or {})}
            templar = Templar(loader=self._loader, variables=scope)
            given |= {name: templar.template(scope[name]) for name in NEEDED_BESIDE_ARGUMENTS.get(role, ())}
            found.append(ROLES[role](given))
        return found
