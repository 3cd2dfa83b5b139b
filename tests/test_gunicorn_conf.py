"""What gunicorn is configured with beside its command line."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from rendering import ROOT

CONFIGURATION = ROOT / "roles/django_app/files/gunicorn.conf.py"


def test_a_projects_own_configuration_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in manage.py's folder, where gunicorn runs; what the role needs stays."""
    (tmp_path / "gunicorn.conf.py").write_text("access_log_format = 'mine'\ncontrol_socket_disable = False\n")
    monkeypatch.chdir(tmp_path)
    found = runpy.run_path(str(CONFIGURATION))
    assert (found["access_log_format"], found["control_socket_disable"]) == ("mine", True)


def test_a_project_without_one_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most have none."""
    monkeypatch.chdir(tmp_path)
    assert runpy.run_path(str(CONFIGURATION))["control_socket_disable"] is True
