"""What a role is given: its arguments as its tasks see them, and what their types say about them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLES = Path(__file__).resolve().parents[2] / "roles"
SCALARS = ("str", "int", "float", "bool")


@cache
def options(role: str) -> dict[str, dict[str, Any]]:
    """The options of a role's main entry point, as its argument spec has them."""
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return specs["argument_specs"]["main"].get("options", {})


def defaults(role: str, loader: DataLoader) -> dict[str, Any]:
    """The role's defaults, not templated yet."""
    path = ROLES / role / "defaults" / "main.yml"
    return (loader.load_from_file(str(path), trusted_as_template=True) or {}) if path.exists() else {}


def collect(role: str, variables: Mapping[str, Any], loader: DataLoader) -> tuple[dict[str, Any], list[str]]:
    """The values of all of a role's options for one host, and what is wrong with their types.

    Args:
        role: the role's name without the collection's.
        variables: the host's variables as an action or lookup gets them, templates and all; they win over the role's defaults.
        loader: the plugin's own, for the defaults.

    Returns:
        The values by option, with `inventory_hostname` and `ansible_facts` beside them; and a sentence, beginning with the
        variable's name, for each that is missing, cannot be computed or is of another type than its spec says.
    """
    spec = options(role)
    scope = {**defaults(role, loader), **variables}
    templar = Templar(loader=loader, variables=scope)
    given: dict[str, Any] = {}
    found: list[str] = []
    for name, option in spec.items():
        if name in scope:
            try:
                given[name] = templar.template(scope[name])
            except AnsibleError as error:
                found.append(f"{name} cannot be computed: {str(error).strip().rstrip('.')}.")
        elif option.get("required"):
            found.append(f"{name} is not set. {option['description']}")
    result = ArgumentSpecValidator({name: _typed(spec[name]) for name in given}).validate(given)
    for message in result.error_messages:
        name = next((name for name in sorted(given, key=len, reverse=True) if name in message), "")
        found.append(f"{name}: {message}." if name else f"{message}.")
    given |= {name: result.validated_parameters[name] for name in given if spec[name]["type"] in SCALARS}
    return {
        **given,
        "inventory_hostname": variables.get("inventory_hostname"),
        "ansible_facts": variables.get("ansible_facts", {}),
    }, found


def _typed(option: Mapping[str, Any]) -> dict[str, Any]:
    """An option without what only documents it; a value that is there need not be required."""
    return {key: value for key, value in option.items() if key not in ("required", "description", "default")}
