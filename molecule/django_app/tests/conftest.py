"""What the tests of this scenario share."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

LAB = Path(__file__).resolve().parents[3] / ".lab" / os.environ["STOCKPOT_LAB"]


@pytest.fixture(scope="session")
def hosts() -> dict[str, Host]:
    """The servers by name, for what is done to all of them at once."""
    names = re.findall(r"^Host ([^*\s]+)$", (LAB / "ssh_config").read_text(), re.M)
    return {name: testinfra.get_host(f"ssh://{name}", ssh_config=str(LAB / "ssh_config")) for name in names}
