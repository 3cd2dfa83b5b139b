"""What all fast tests share."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.loader import init_plugin_loader

# As in a run, and before any test imports from it: templates find the collection's filters.
init_plugin_loader([str(Path(__file__).resolve().parent.parent / "collections")])
