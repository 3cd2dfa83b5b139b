"""What all fast tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.plugins.loader import init_plugin_loader

# As in a run, and before any test imports from it: templates find the collection's filters.
init_plugin_loader([str(Path(__file__).resolve().parent.parent / "collections")])

# Their tests wait most of the time, each with servers of its own.
WAITING = ("test_watch.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In several processes (`-n 3 --dist loadgroup`) the tests of a file run in one of them, one after the other; those that wait, anywhere."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.nodeid if item.path.name in WAITING else item.path.name))
