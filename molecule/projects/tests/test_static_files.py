"""Static files of each project that is deployed."""

from __future__ import annotations

import pytest
from visitor import PROJECTS, Visit

STATIC_FILES = {
    "ledger": "/static/entries/ledger.css",
    "chat": "/static/rooms/room.js",
    "parcel": "/static/parcel/van.svg",
    "library": "/static/themes/oak.css",
    "meters": "/static/readings/meters.css",
}


@pytest.mark.parametrize("project", [name for name in STATIC_FILES if name in PROJECTS])
def test_static_files_are_served(visit: Visit, project: str) -> None:
    """By nginx or, where the project does it itself, by the project."""
    assert visit(project).text(STATIC_FILES[project])
