"""What the tests of nginx share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def short_lived_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared SSH connection inherits the play's output and would hold it open for minutes after the play has ended."""
    monkeypatch.setenv("ANSIBLE_SSH_ARGS", "-o ControlMaster=auto -o ControlPersist=2s")
