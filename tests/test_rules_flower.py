"""What Flower cannot work with is refused, and no secret is shown."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import role_problems

GOOD = {
    "flower_application": "shop",
    "flower_user": "shop",
    "flower_broker_url": "redis://celery:broker-secret@127.0.0.1:6379/1",
    "flower_basic_auth_password": 'long "enough\\" $for this',
}


@pytest.mark.parametrize(
    "changes", [{}, {"flower_url_prefix": ""}, {"flower_url_prefix": "/tools/flower/"}, {"flower_port": "5600"}]
)
def test_what_it_can_work_with_passes(changes: dict[str, Any]) -> None:
    assert role_problems("flower", {**GOOD, **changes}, DataLoader()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flower_basic_auth_password": "secret7"}, "at least 8 characters"),
        ({"flower_basic_auth_password": "secret,secret"}, "without commas"),
        ({"flower_basic_auth_password": "secret\nsecret"}, "line breaks"),
        ({"flower_basic_auth_user": "a:b"}, "letters, digits"),
        ({"flower_broker_url": "secret@127.0.0.1"}, "no URL"),
        ({"flower_port": 80}, "between 1024 and 65535"),
        ({"flower_port": 70000}, "between 1024 and 65535"),
        ({"flower_url_prefix": "a b"}, "letters, digits"),
        ({"flower_url_prefix": "a//b"}, "letters, digits"),
        ({"flower_max_tasks": 0}, "above 0"),
        ({"flower_cpu_max": "1"}, "Write it as 50%"),
        ({"flower_loglevel": "LOUD"}, "value of flower_loglevel"),
        ({"flower_environment": {"A-B": "1"}}, "this is no name"),
        ({"flower_read_only": "perhaps"}, "boolean"),
    ],
)
def test_a_mistake_is_named_with_its_variable_and_fix(changes: dict[str, Any], said: str) -> None:
    (problem,) = role_problems("flower", {**GOOD, **changes}, DataLoader())
    (name,) = changes
    assert problem.startswith(name)
    assert said in problem
    assert "secret" not in problem
