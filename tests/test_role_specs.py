"""A role's interface is written down once in each of two places, and they agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROOT = Path(__file__).resolve().parent.parent
ROLES = sorted(path.parents[1].name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))


def options(role: str) -> dict[str, Any]:
    """The options of a role's main entry point."""
    specs = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())
    return specs["argument_specs"]["main"].get("options", {})


def defaults(role: str) -> dict[str, Any]:
    """The role's defaults as written, not templated."""
    path = ROOT / "roles" / role / "defaults/main.yml"
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def test_every_role_has_a_spec_and_a_readme() -> None:
    """No role goes without a contract or a page for the operator."""
    for folder in (ROOT / "roles").iterdir():
        assert (folder / "meta/argument_specs.yml").is_file(), folder.name
        assert (folder / "README.md").is_file(), folder.name


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_spec_agree(role: str) -> None:
    """Each default stands in the spec with the same value; a required option has none."""
    spec = options(role)
    given = defaults(role)
    assert set(given) <= set(spec), "a default without a line in the spec"
    for name, option in spec.items():
        if option.get("required"):
            assert name not in given, f"{name} is required and has a default"
        elif name in given:
            assert option.get("default") == given[name], name
        else:
            assert "default" not in option, f"{name} has a default in the spec alone"


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_explained_and_belongs_to_its_role(role: str) -> None:
    """One line an operator understands, and a name with the role's prefix."""
    for name, option in options(role).items():
        assert name.startswith(f"{role}_"), name
        text = option.get("description")
        assert text, f"{name} has no description"
        assert len(text if isinstance(text, str) else " ".join(text)) >= 8, name


@pytest.mark.parametrize("role", ROLES)
def test_the_readmes_example_is_valid_yaml_and_uses_options_that_exist(role: str) -> None:
    """What an operator copies from there is understood by the role."""
    readme = (ROOT / "roles" / role / "README.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert blocks
    used = {name for block in blocks for name in names(yaml.safe_load(block)) if name.startswith(f"{role}_")}
    assert used <= set(options(role))
    given = [
        entry
        for block in blocks
        for play in yaml.safe_load(block)
        if isinstance(play, dict)
        for entry in play.get("roles", [])
    ]
    for entry in given:
        assert (entry["role"] if isinstance(entry, dict) else entry) in {f"stockpot.stack.{name}" for name in ROLES}


def is_template(value: Any) -> bool:
    """Whether only a run knows what it is."""
    return isinstance(value, str) and "{{" in value


def given_in(node: Any) -> dict[str, Any]:
    """The roles' variables of an example."""
    if isinstance(node, list):
        return {name: value for entry in node for name, value in given_in(entry).items()}
    if not isinstance(node, dict):
        return {}
    own = {name: value for name, value in node.items() if name.startswith(tuple(f"{role}_" for role in ROLES))}
    return {**own, **given_in([value for name, value in node.items() if name not in own])}


def without_required(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec that takes a part of what it needs."""
    return {
        name: {**option, "required": False, "options": without_required(option["options"])}
        if "options" in option
        else {**option, "required": False}
        for name, option in spec.items()
    }


@pytest.mark.parametrize("role", ROLES)
def test_the_readmes_example_holds_what_the_roles_take_nested_keys_included(role: str) -> None:
    """Types, keys and choices as the roles' specs have them; a play of the example holds all that its roles need."""
    spec = {name: option for other in ROLES for name, option in options(other).items()}
    readme = (ROOT / "roles" / role / "README.md").read_text()
    for block in map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)):
        given = given_in(block)
        used = {name: spec[name] for name in given if not is_template(given[name])}
        # What is no play shows a part of a value.
        used = used if isinstance(block, list) else without_required(used)
        result = ArgumentSpecValidator(used).validate({name: given[name] for name in used})
        assert result.error_messages == []
        for entry in [entry for play in block if isinstance(play, dict) for entry in play.get("roles", [])]:
            name = (entry["role"] if isinstance(entry, dict) else entry).removeprefix("stockpot.stack.")
            assert {key for key, option in options(name).items() if option.get("required")} <= set(given), name


def test_the_project_s_own_processes_take_what_process_manager_takes() -> None:
    """The keys of a definition stand in both specs."""
    own = options("django_app")["django_app_processes_extra"]["options"]
    theirs = options("process_manager")["process_manager_definitions"]["options"]
    assert [name for name in own if name != "hosts"] == list(theirs)
    for key in ("type", "elements", "choices"):
        assert {name: option.get(key) for name, option in own.items() if name != "hosts"} == {
            name: option.get(key) for name, option in theirs.items()
        }
    assert {name for name, option in own.items() if option.get("required")} == {"name", "command"}
    assert not any("default" in option for option in own.values())


def names(node: Any) -> Iterator[str]:
    """Every key of nested mappings."""
    if isinstance(node, dict):
        yield from node
        for value in node.values():
            yield from names(value)
    elif isinstance(node, list):
        for value in node:
            yield from names(value)
