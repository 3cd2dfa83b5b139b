"""What is said of a PostgreSQL that does not run with what was written."""

from __future__ import annotations

import pytest
from ansible_collections.stockpot.stack.plugins.modules.postgresql_live import complaint

RIGHT: dict[str, list[str]] = {"overruled": [], "waiting": [], "refused": []}


def test_nothing_is_said_of_what_is_right() -> None:
    assert complaint(RIGHT) == ""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("overruled", "Settings overruled elsewhere: a, b."),
        ("waiting", "Waiting for a restart: a, b."),
        ("refused", "Lines of pg_hba.conf refused: a, b."),
    ],
)
def test_each_difference_is_named(kind: str, said: str) -> None:
    assert said in complaint({**RIGHT, kind: ["a", "b"]})
