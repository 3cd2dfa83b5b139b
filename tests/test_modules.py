"""What the documentation of a module or filter says is what it takes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.plugins.action import ActionBase
from ansible_collections.stockpot.stack.plugins.filter.stack import FilterModule

PLUGINS = Path(__file__).resolve().parent.parent / "plugins"
PACKAGE = "ansible_collections.stockpot.stack.plugins"
ACTIONS = sorted(path.stem for path in (PLUGINS / "action").glob("*.py"))
MODULES = sorted({path.stem for path in (PLUGINS / "modules").glob("*.py")} - set(ACTIONS))


class Captured(Exception):
    """Ends a module or action where it says what it takes."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = spec
        super().__init__()


def documentation(name: str) -> dict[str, Any]:
    """A module's DOCUMENTATION."""
    return yaml.safe_load(importlib.import_module(f"{PACKAGE}.modules.{name}").DOCUMENTATION)


def taken(name: str, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    """The argument spec of a module, or of the action of its name."""

    def module(self: AnsibleModule, argument_spec: Mapping[str, Any], **_: Any) -> None:
        raise Captured(argument_spec)

    def action(self: ActionBase, argument_spec: Mapping[str, Any], **_: Any) -> None:
        raise Captured(argument_spec)

    monkeypatch.setattr(AnsibleModule, "__init__", module)
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    monkeypatch.setattr(ActionBase, "validate_argument_spec", action)
    if name in ACTIONS:
        plugin = importlib.import_module(f"{PACKAGE}.action.{name}").ActionModule
        start = plugin.__new__(plugin).run
    else:
        start = importlib.import_module(f"{PACKAGE}.modules.{name}").main
    with pytest.raises(Captured) as captured:
        start()
    return captured.value.spec


def compared(options: Mapping[str, Any], nested: str) -> dict[str, Any]:
    """What has to be alike of options, whose own options stand under `nested`."""
    return {
        name: {
            **{key: option.get(key) for key in ("type", "elements", "default", "choices")},
            "required": option.get("required", False),
            "options": compared(option.get(nested, {}), nested),
        }
        for name, option in options.items()
    }


# The preflight takes nothing.
@pytest.mark.parametrize("name", sorted({*MODULES, *ACTIONS} - {"preflight"}))
def test_the_documentation_says_what_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documented = compared(documentation(name)["options"], "suboptions")
    assert documented == compared(taken(name, monkeypatch), "options")


@pytest.mark.parametrize("name", sorted({*MODULES, *ACTIONS}))
def test_a_module_is_documented(name: str) -> None:
    """`ansible-doc` shows what each option is for."""

    def descriptions(options: Mapping[str, Any]) -> list[Any]:
        return [
            text
            for option in options.values()
            for text in (option.get("description"), *descriptions(option.get("suboptions", {})))
        ]

    page = documentation(name)
    assert page["module"] == name
    assert all(descriptions(page["options"]))


@pytest.mark.parametrize("name", sorted(FilterModule().filters()))
def test_a_filters_documentation_names_its_arguments(name: str) -> None:
    """In order, with the defaults of those that may be left out."""
    page = yaml.safe_load((PLUGINS / "filter" / f"{name}.yml").read_text())["DOCUMENTATION"]
    _, *taken = inspect.signature(FilterModule().filters()[name]).parameters.values()
    assert [word.strip() for word in page.get("positional", "").split(",") if word] == [each.name for each in taken]
    for each in taken:
        option = page["options"][each.name]
        if each.default is inspect.Parameter.empty:
            assert option["required"]
        else:
            assert option["default"] == each.default
