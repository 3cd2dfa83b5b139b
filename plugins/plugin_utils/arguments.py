"""What a role is given: its arguments as its tasks see them, and what their types say about them."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

# Ansible's own, which are no templates and large.
NOT_COMPUTED = ("hostvars", "vars", "groups", "ansible_facts", "stockpot_archive")
WORD = re.compile(r"[a-z_][a-z0-9_]*")
ROLES = Path(__file__).resolve().parents[2] / "roles"


@cache
def options(role: str) -> dict[str, dict[str, Any]]:
    """The options of a role's main entry point, as its argument spec has them."""
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return specs["argument_specs"]["main"].get("options", {})


def defaults(role: str, loader: DataLoader) -> dict[str, Any]:
    """The role's defaults, not templated yet."""
    path = ROLES / role / "defaults" / "main.yml"
    return (loader.load_from_file(str(path), trusted_as_template=True) or {}) if path.exists() else {}


@cache
def role_variables(role: str) -> frozenset[str]:
    """The names that a role works out itself: what an inventory says of them has no effect."""
    path = ROLES / role / "vars" / "main.yml"
    return frozenset(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else frozenset()


def settled(variables: Mapping[str, Any], loader: DataLoader, names: Iterable[str] | None = None) -> dict[str, Any]:
    """The variables with each template computed once, after those that it names.

    Ansible computes a variable anew for each that names it: the address of Redis, forty times for one host. One that cannot be computed
    stays as it is, for whoever asks for it.

    Args:
        variables: the host's, templates and all.
        loader: the plugin's own.
        names: those that are asked for; all by default.
    """
    found = dict(variables)
    seen = set(NOT_COMPUTED)

    def settle(name: str) -> None:
        seen.add(name)
        text = str(variables[name])
        if "{{" not in text:
            return
        for word in dict.fromkeys(WORD.findall(text)):
            if word in variables and word not in seen:
                settle(word)
        with contextlib.suppress(AnsibleError):
            found[name] = Templar(loader=loader, variables=found).template(variables[name])

    for name in variables if names is None else names:
        if name in variables and name not in seen:
            settle(name)
    return found


def collect(role: str, variables: Mapping[str, Any], loader: DataLoader) -> tuple[dict[str, Any], list[str]]:
    """The values of all of a role's options for one host, and what is wrong with their types.

    Args:
        role: the role's name without the collection's.
        variables: the host's variables as an action or lookup gets them, templates and all; they win over the role's defaults.
        loader: the plugin's own, for the defaults.

    Returns:
        The values by option, of the types the spec says when nothing is wrong with them, with `inventory_hostname` and
        `ansible_facts` beside them; and a sentence, beginning with the variable's name, for each that is missing, cannot be
        computed or is of another type than its spec says.
    """
    own = options(role)
    given, found = typed(own, settled({**defaults(role, loader), **variables}, loader, own), loader)
    return {
        **given,
        "inventory_hostname": variables.get("inventory_hostname"),
        "ansible_facts": variables.get("ansible_facts", {}),
    }, found


def typed(
    spec: Mapping[str, Mapping[str, Any]], variables: Mapping[str, Any], loader: DataLoader
) -> tuple[dict[str, Any], list[str]]:
    """Computes variables and looks at their types.

    Args:
        spec: options as in an argument spec; a required one has a description.
        variables: all of the host, templates and all.
        loader: the plugin's own.

    Returns:
        The values of those that nothing is wrong with, of the types the spec says; and a sentence, beginning with the
        variable's name, for each other.
    """
    templar = Templar(loader=loader, variables=variables)
    given: dict[str, Any] = {}
    found: list[str] = []
    for name, option in spec.items():
        if name not in variables:
            if option.get("required"):
                found.append(f"{name} is not set. {option['description']}")
            continue
        try:
            value = templar.template(variables[name])
        except AnsibleError as error:
            # Its further lines may hold values, secrets among them.
            found.append(f"{name} cannot be computed: {str(error).strip().partition(chr(10))[0].rstrip('.:')}.")
            continue
        wrong = _untyped(name, value, option)
        result = ArgumentSpecValidator({name: _typed(option)}).validate({} if wrong else {name: value})
        wrong += [_unknown(path, spec) for path in sorted(result.unsupported_parameters)]
        messages = [error.msg for error in result.errors.errors if not isinstance(error, UnsupportedError)]
        # Some say what another one says, without a name.
        wrong += [f"{name}: {message}." for message in [text for text in messages if name in text] or messages]
        found += wrong
        if not wrong:
            given[name] = _present(result.validated_parameters[name], option)
    return given, found


def _untyped(name: str, value: Any, option: Mapping[str, Any]) -> list[str]:
    """What the validation lets pass or cannot bear: nothing at all, and something else for a list or a dictionary.

    It would make a list of a text, which templates take as it is.
    """
    kind, elements = option.get("type"), option.get("elements")
    if value is None:
        return [f"{name} has no value: give it one, or take the line out."]
    if kind == "dict" and not isinstance(value, Mapping):
        return [f"{name}: this is no dict: write it as {{name: value}}."]
    if kind == "list" and (isinstance(value, str) or not isinstance(value, Sequence)):
        return [f"{name}: this is no list: write it as [one, another]."]
    if elements == "dict" and not all(isinstance(entry, Mapping) for entry in value):
        return [f"{name}: an entry is no dict: write it as {{name: value}}."]
    return []


def _typed(option: Mapping[str, Any]) -> dict[str, Any]:
    """An option without what only documents it; a value that is there need not be required."""
    return {key: value for key, value in option.items() if key not in ("required", "description", "default")}


def _unknown(path: Sequence[str], spec: Mapping[str, Any]) -> str:
    """What is said about a nested option that is not in the spec; `path` holds its parents too."""
    *parents, key = path
    for parent in parents:
        spec = spec[parent]["options"]
    near = difflib.get_close_matches(key, spec, n=1)
    return f"{parents[0]}: {key!r} is unknown; " + (
        f"did you mean {near[0]!r}?" if near else f"known are {', '.join(spec)}."
    )


def _present(value: Any, option: Mapping[str, Any]) -> Any:
    """A value without the nested options that were not given, for which the validation puts None."""
    if "options" not in option or value is None:
        return value
    if isinstance(value, list):
        return [_present(entry, option) for entry in value]
    return {key: _present(entry, option["options"][key]) for key, entry in value.items() if entry is not None}
