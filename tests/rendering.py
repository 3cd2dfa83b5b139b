"""Renders a role's templates as Ansible does, strict about what is undefined, without a play or a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parent.parent


def render(role: str, template: str, **given: Any) -> str:
    """A template's text.

    Args:
        role: whose template it is; its defaults and vars are there as in a play.
        template: the file's name in the role's folder of templates.
        given: variables as a play would give them, and `ansible_facts`.

    Raises:
        AnsibleError: something in it is undefined, or is no template.
    """
    loader = DataLoader()
    variables: dict[str, Any] = {"ansible_search_path": [str(ROOT / "roles" / role)]}
    for folder in ("defaults", "vars"):
        path = ROOT / "roles" / role / folder / "main.yml"
        if path.exists():
            variables |= loader.load_from_file(str(path), trusted_as_template=True) or {}
    path = ROOT / "roles" / role / "templates" / template
    templar = Templar(loader=loader, variables=variables | given)
    return templar.template(trust_as_template(f"{{{{ lookup('ansible.builtin.template', '{path}') }}}}"))
