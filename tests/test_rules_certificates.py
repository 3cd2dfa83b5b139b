"""What the role certificates refuses."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.certificates import problems

GIVEN: dict[str, Any] = {
    "certificates_days": 30,
    "certificates_renewed_days": 20,
    "certificates_names": ["data-1", "10.0.0.3"],
    "certificates_folder": "/etc/ssl/services/shop",
}


def test_what_is_right_is_not_refused() -> None:
    assert problems(GIVEN) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"certificates_renewed_days": 30}, "certificates_days is 30 and certificates_renewed_days 30"),
        ({"certificates_renewed_days": 0}, "certificates_renewed_days 0"),
        ({"certificates_days": 4000}, "certificates_days is 4000"),
        ({"certificates_names": ["data-1"]}, "one IP address"),
        ({"certificates_names": ["10.0.0.3"]}, "one host name"),
        ({"certificates_folder": "ssl"}, "certificates_folder is 'ssl'"),
    ],
)
def test_each_mistake_is_said_once(changes: dict[str, Any], said: str) -> None:
    [problem] = problems({**GIVEN, **changes})
    assert said in problem
