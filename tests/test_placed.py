"""Folders and files that stand outside of a release and are linked into it."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.modules.release_links import LinkError, link
from ansible_collections.stockpot.stack.plugins.plugin_utils.commands import once_commands
from ansible_collections.stockpot.stack.plugins.plugin_utils.placed import (
    file_paths,
    placed_files,
    placed_problems,
    release_links,
    shared_folders,
)

PEM = "-----BEGIN PRIVATE KEY-----\r\nMIIE+/$(x)`\\\"'#%ü=\n\n-----END PRIVATE KEY-----\n"
SETTINGS = {"path": "library/local_settings.py", "content": "DEBUG = False\n"}
KEY = {"path": "/etc/library/files/jwt.pem", "content": PEM, "mode": "0440"}


def problems(**changes: Any) -> list[str]:
    """What is refused of a project called library."""
    return placed_problems(
        {
            "django_app_name": "library",
            "django_app_static_root": "collected",
            "django_app_shared_paths": [],
            "django_app_files": [],
            **changes,
        }
    )


def test_files_are_the_applications_alone_with_every_character_as_it_is() -> None:
    written = placed_files([SETTINGS, KEY], "library")
    assert written[0] == {
        "path": "/etc/library/files/library/local_settings.py",
        "secret_content": "DEBUG = False\n",
        "group": "library",
        "mode": "0640",
    }
    assert (written[1]["path"], written[1]["secret_content"], written[1]["mode"]) == (KEY["path"], PEM, "0440")
    assert file_paths([SETTINGS, KEY], "library") == [file["path"] for file in written]


def test_a_host_that_runs_nothing_gets_files_without_the_vaults_secrets() -> None:
    files = [
        {"path": "jwt.pem", "content": PEM},
        {"path": "a.py", "content": "KEY = 'hunter2'\nDB = 'x://u:pass@h/d'\n"},
    ]
    texts = [file["secret_content"] for file in placed_files(files, "library", [PEM, "hunter2"])]
    assert "BEGIN" not in texts[0]
    assert not {"hunter2", "pass@"} & set(texts[1].replace("'", " ").split())
    assert texts[1].startswith("KEY = 'not-a-secret")
    assert "pass@" not in texts[1]


def test_folders_and_files_of_the_project_are_linked_and_absolute_ones_are_not() -> None:
    assert release_links(["exports/", "data/out"], [SETTINGS, KEY], "library") == [
        {"path": "exports", "target": "/srv/library/shared/exports", "folder": True},
        {"path": "data/out", "target": "/srv/library/shared/data/out", "folder": True},
        {"path": "library/local_settings.py", "target": "/etc/library/files/library/local_settings.py"},
    ]
    assert shared_folders(["exports/"], "library") == ["/srv/library/shared/exports"]


@pytest.mark.parametrize(
    "changes",
    [
        {"django_app_shared_paths": ["exports", "data/out/", "data/in", "export"]},
        {"django_app_files": [SETTINGS, KEY, {"path": ".env", "content": ""}]},
        {"django_app_shared_paths": ["static"], "django_app_static_root": "static_collected"},
        {"django_app_shared_paths": ["collected"], "django_app_static_root": ""},
    ],
)
def test_what_works_passes(changes: dict[str, Any]) -> None:
    assert problems(**changes) == []


@pytest.mark.parametrize(
    "path",
    ["/srv/exports", "..", "../exports", "a/../../b", ".", "", "./", "a/./b", "a b", "a//b", 'a"b', "a%b", "a\nb"],
)
def test_a_shared_path_that_is_no_folder_inside_the_project_is_refused(path: str) -> None:
    (sentence,) = problems(django_app_shared_paths=[path])
    assert sentence.startswith(f"django_app_shared_paths: {path!r} has to be a folder inside the project")


@pytest.mark.parametrize(
    ("changes", "variable", "words"),
    [
        ({"django_app_shared_paths": ["data", "data/out"]}, "django_app_shared_paths", "inside each other"),
        ({"django_app_shared_paths": ["data", "data/"]}, "django_app_shared_paths", "inside each other"),
        ({"django_app_shared_paths": ["collected"]}, "django_app_shared_paths", "visitors would read it"),
        ({"django_app_shared_paths": ["collected/out"]}, "django_app_shared_paths", "visitors would read it"),
        (
            {"django_app_shared_paths": ["web"], "django_app_static_root": "web/static/"},
            "django_app_shared_paths",
            "visitors would read it",
        ),
        (
            {"django_app_files": [{**SETTINGS, "path": "collected/key.pem"}]},
            "django_app_files",
            "visitors would read it",
        ),
        (
            {"django_app_files": [{**SETTINGS, "path": "/etc/library/environment"}]},
            "django_app_files",
            "/etc/library/files/",
        ),
        (
            {"django_app_files": [{**SETTINGS, "path": "/etc/library/files/../environment"}]},
            "django_app_files",
            "inside",
        ),
        (
            {"django_app_files": [{**SETTINGS, "path": "/etc/other/files/key"}]},
            "django_app_files",
            "/etc/library/files/",
        ),
        ({"django_app_files": [{**SETTINGS, "path": "../key.pem"}]}, "django_app_files", "relative to manage.py's"),
        ({"django_app_files": [{**SETTINGS, "path": "keys/"}]}, "django_app_files", "a file's path"),
        ({"django_app_files": [{**SETTINGS, "mode": "0644"}]}, "django_app_files", "others cannot"),
        ({"django_app_files": [{**SETTINGS, "mode": "0600"}]}, "django_app_files", "application can read"),
        ({"django_app_files": [{**SETTINGS, "content": "hunter2\0"}]}, "django_app_files", "zero byte"),
        ({"django_app_files": [SETTINGS, SETTINGS]}, "django_app_files", "twice"),
        ({"django_app_files": [{**KEY, "path": "jwt.pem"}, KEY]}, "django_app_files", "twice"),
        (
            {"django_app_files": [{**SETTINGS, "path": "data/key"}], "django_app_shared_paths": ["data"]},
            "django_app_files",
            "shared path",
        ),
    ],
)
def test_what_would_expose_or_clash_is_refused_by_name(changes: dict[str, Any], variable: str, words: str) -> None:
    (sentence,) = problems(**changes)
    assert sentence.startswith(variable)
    assert words in sentence
    assert "hunter2" not in sentence


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A release that ships a folder of exports."""
    folder = tmp_path / "release/source"
    (folder / "exports/old").mkdir(parents=True)
    (folder / "exports/old/first.csv").write_text("shipped\n")
    (folder / "exports/run").touch(mode=0o755)
    (folder / "exports/latest").symlink_to("old/first.csv")
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """An empty folder that the application writes to."""
    folder = tmp_path / "shared/exports"
    folder.mkdir(parents=True)
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    folder.chmod(0o750)
    return folder


def test_what_a_release_ships_moves_into_an_empty_folder_and_is_its_owners(source: Path, shared: Path) -> None:
    assert link(source, "exports", shared, folder=True)
    assert (source / "exports/latest").read_text() == "shipped\n"
    nobody = pwd.getpwnam("nobody").pw_uid
    assert {path.lstat().st_uid for path in [shared, *shared.rglob("*")]} == {nobody}
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in [shared, *shared.rglob("*")] if not path.is_symlink()
    }
    assert modes == {"exports": 0o750, "old": 0o750, "first.csv": 0o640, "run": 0o750}


def test_what_was_written_since_stays_and_what_the_next_release_ships_goes(source: Path, shared: Path) -> None:
    (shared / "written.csv").write_text("written\n")
    assert link(source, "exports", shared, folder=True)
    assert [path.name for path in (source / "exports").iterdir()] == ["written.csv"]


def test_a_folder_on_a_disk_of_its_own_is_filled_as_its_owner(source: Path, shared: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        Path(elsewhere).chmod(0o755)
        shipped = shutil.copytree(source, Path(elsewhere, "source"), symlinks=True)
        shared = shared.rename(Path(tempfile.mkdtemp()) / "exports")
        shared.parent.chmod(0o755)
        assert shared.stat().st_dev != shipped.stat().st_dev
        assert link(shipped, "exports", shared, folder=True)
        assert (shipped / "exports/latest").read_text() == "shipped\n"
    assert {path.lstat().st_uid for path in shared.rglob("*")} == {pwd.getpwnam("nobody").pw_uid}
    shutil.rmtree(shared.parent)


def test_a_path_that_the_project_does_not_ship_is_linked_and_a_second_time_nothing_changes(
    source: Path, shared: Path
) -> None:
    assert link(source, "data/exports", shared, folder=True)
    assert (source / "data/exports").readlink() == shared
    assert not link(source, "data/exports", shared, folder=True)


def test_a_file_takes_the_place_of_one_that_the_project_ships(source: Path, tmp_path: Path) -> None:
    (source / "local_settings.py").write_text("shipped")
    target = tmp_path / "local_settings.py"
    target.write_text("given")
    assert link(source, "local_settings.py", target, folder=False)
    assert (source / "local_settings.py").read_text() == "given"


def test_nothing_is_written_through_a_link_nor_over_a_folder(source: Path, shared: Path, tmp_path: Path) -> None:
    (source / "away").symlink_to(tmp_path)
    with pytest.raises(LinkError, match="leaves the release"):
        link(source, "away/exports", shared, folder=True)
    with pytest.raises(LinkError, match="is a folder of the project"):
        link(source, "exports", tmp_path / "file", folder=False)
    with pytest.raises(LinkError, match="is no folder"):
        link(source, "exports", tmp_path / "missing", folder=True)
    with pytest.raises(LinkError, match="is no folder"):
        link(source, "nothing", tmp_path / "missing", folder=True)


def test_a_command_is_remembered_by_its_words_and_the_database() -> None:
    marks = [
        once_commands([["loaddata", "a b", 1]], "library", "one")[0],
        once_commands([["loaddata", "a b", "1"]], "library", "one")[0],
        once_commands([["loaddata", "a", "b", "1"]], "library", "one")[0],
        once_commands([["loaddata", "a b", 1]], "library", "other")[0],
    ]
    assert marks[0] == marks[1]
    assert marks[0]["command"] == ["loaddata", "a b", "1"]
    assert marks[0]["marker"].startswith("/srv/library/once/")
    assert len({mark["marker"] for mark in marks}) == 3
