"""Variables that are computed once, however many name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template


def lookup(variables: dict[str, str], name: str) -> Any:
    templates: dict[str, Any] = {key: trust_as_template(text) for key, text in variables.items()}
    templar = Templar(loader=DataLoader(), variables=templates)
    return templar.template(trust_as_template(f"{{{{ lookup('stockpot.stack.settled', '{name}') }}}}"))


def test_what_several_are_made_of_is_computed_once(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    found = lookup(
        {
            "address": f"{{{{ lookup('pipe', 'echo once >> {asked}; echo 10.0.0.1') }}}}",
            "broker": "redis://{{ address }}/1",
            "results": "redis://{{ address }}/2",
            "both": "{{ {'broker': broker, 'results': results, 'at': address} }}",
        },
        "both",
    )
    assert found == {"broker": "redis://10.0.0.1/1", "results": "redis://10.0.0.1/2", "at": "10.0.0.1"}
    assert asked.read_text().split() == ["once"]


def test_what_cannot_be_computed_says_why() -> None:
    with pytest.raises(AnsibleError, match="address"):
        lookup({"broker": "redis://{{ address }}/1"}, "broker")
    with pytest.raises(AnsibleError, match="broker is not defined"):
        lookup({}, "broker")
