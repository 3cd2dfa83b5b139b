"""Where the lab of a scenario is, and how its hosts are reached."""

from __future__ import annotations

import json
import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LAB = os.environ.get("STOCKPOT_LAB", "")
# The hosts that there are of the scenario's, as a pattern.
LAB_HOSTS = f"*{os.environ.get('LAB_SUITE', '')}"
LAB_FOLDER = PROJECT / ".lab" / LAB


def lab_ports() -> dict[str, dict[str, int]]:
    """The ports on 127.0.0.1 by host and by port inside, as the lab published them."""
    return json.loads((LAB_FOLDER / "ports.json").read_text())
