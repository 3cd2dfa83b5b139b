"""What all fast tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.plugins.loader import init_plugin_loader
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# As in a run, and before any test imports from it: templates find the collection's filters.
init_plugin_loader([str(Path(__file__).resolve().parent.parent / "collections")])

# Their tests wait most of the time, each with servers of its own.
WAITING = ("test_watch.py", "test_redis_failover.py")


class ByFile(LoadScopeScheduling):
    """In several processes the tests of a file run in one of them, one after the other; those that wait, anywhere."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file.endswith(WAITING) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """For `pytest -n 3`."""
    return ByFile(config, log)
