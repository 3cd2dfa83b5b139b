"""Which release is the current one, and which old ones go."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.stockpot.stack.plugins.modules.release_current import (
    removable_files,
    removable_releases,
    remove_file,
    switch,
)


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[Path]:
    """Four complete releases, a the oldest, and a broken build."""
    folder = tmp_path / "releases"
    for age, name in enumerate("dcba"):
        (folder / name).mkdir(parents=True)
        (folder / name / ".complete").touch()
        os.utime(folder / name / ".complete", (1000 - age, 1000 - age))
    (folder / "broken").mkdir()
    return folder


def test_pruning_keeps_the_newest_and_the_current_release(releases: Path) -> None:
    found = removable_releases(releases, keep=2, current="a")
    assert {release.name for release in found} == {"broken", "b", "c"}


def test_pruning_spares_a_release_that_a_process_runs_from(releases: Path) -> None:
    with subprocess.Popen(["/bin/cat"], cwd=releases / "b", stdin=subprocess.PIPE):
        found = removable_releases(releases, keep=1, current="d")
        assert {release.name for release in found} == {"broken", "a", "c"}


def test_the_link_is_moved_to_a_release_and_what_an_interrupted_move_left_is_no_hindrance(releases: Path) -> None:
    link = releases.parent / "current"
    switch(link, releases / "a")
    (releases.parent / ".current.new").symlink_to("nowhere")
    switch(link, releases / "b")
    assert link.resolve() == releases / "b"
    assert sorted(path.name for path in releases.parent.iterdir()) == ["current", "releases"]


def test_files_that_no_release_is_given_go_with_the_folders_that_they_leave_empty(tmp_path: Path) -> None:
    for name in ("kept/a", "kept/old", "old/deep/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for file in removable_files(tmp_path, [str(tmp_path / "kept/a")]):
        remove_file(file, tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["kept", "kept/a"]
    assert removable_files(tmp_path / "missing", []) == []
    remove_file(tmp_path / "kept/a", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["broken", "missing"])
def test_a_release_that_is_not_complete_does_not_become_current(releases: Path, name: str) -> None:
    link = releases.parent / "current"
    switch(link, releases / "a")
    with pytest.raises(FileNotFoundError, match="stays as it is"):
        switch(link, releases / name)
    assert link.resolve() == releases / "a"


def test_a_folder_in_the_links_place_is_left_alone(releases: Path) -> None:
    (releases.parent / "current").mkdir()
    with pytest.raises(FileExistsError, match="Move it away"):
        switch(releases.parent / "current", releases / "a")
