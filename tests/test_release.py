"""What makes a release another one, and what is to be done for it on a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).resolve().parent.parent / "roles/django_app"
GIVEN = {
    "django_app_name": "library",
    "django_app_settings_module": "library.configuration",
    "django_app_archive": {"digest": "a1"},
    "ansible_facts": {"python": {"version": {"major": 3, "minor": 13}}},
}


def value_of(name: str, **changes: Any) -> Any:
    """One of the role's variables, computed."""
    loader = DataLoader()
    variables = {
        key: value
        for folder in ("defaults", "vars")
        for key, value in loader.load_from_file(str(ROLE / folder / "main.yml"), trusted_as_template=True).items()
    }
    templar = Templar(loader=loader, variables={**variables, **GIVEN, **changes})
    return templar.template(trust_as_template(f"{{{{ {name} }}}}"))


@pytest.mark.parametrize(
    "changes",
    [
        {"django_app_archive": {"digest": "a2"}},
        {"ansible_facts": {"python": {"version": {"major": 3, "minor": 11}}}},
        {"django_app_python": "3.12"},
        {"django_app_settings_module": "library.production"},
        {"django_app_requirements": "uv.lock"},
        {"django_app_install_project": True},
        {"django_app_static_root": ""},
        {"django_app_host_build_commands": [["make"]]},
        {"django_app_shared_paths": ["exports"]},
        {"django_app_files": [{"path": "library/local_settings.py", "content": ""}]},
    ],
    ids=str,
)
def test_whatever_changes_how_a_release_is_built_makes_another_one(changes: dict[str, Any]) -> None:
    assert value_of("django_app_release", **changes) != value_of("django_app_release")


def test_the_content_of_a_given_file_makes_no_other_release() -> None:
    ids = {
        value_of("django_app_release", django_app_files=[{"path": "a.py", "content": content}])
        for content in ("a", "b")
    }
    assert len(ids) == 1


def test_a_host_has_marks_for_what_is_its_to_do() -> None:
    commands = {
        "django_app_once_commands": [["loaddata", "a"], ["loaddata", "b"]],
        "django_app_host_release_commands": [["warm"]],
    }

    def marks(**changes: Any) -> list[str]:
        return [
            Path(mark).parent.name + "/" + Path(mark).name[:8] for mark in value_of("__django_app_marks", **changes)
        ]

    release = value_of("django_app_release")
    assert marks() == [f"{release}/.migrate"]
    assert [mark.split("/")[0] for mark in marks(**commands)] == [release, "once", "once", release]
    others = [mark.split("/")[0] for mark in marks(**commands, django_app_migrate=False)]
    assert others == ["once", "once", release]
    # Where none that migrates is there nobody has run them.
    alone = marks(**commands, django_app_migrate=False, django_app_remember_once=False)
    assert alone == [f"{release}/.prepare"]
    assert marks(**commands, django_app_migrate=False, django_app_run=False) == []


@pytest.mark.parametrize(
    ("mark", "changes"),
    [
        ("__django_app_migrated", {"django_app_database": "library@db"}),
        ("__django_app_migrated", {"django_app_release_commands": [["ensure_schedules"]]}),
        ("__django_app_prepared", {"django_app_host_release_commands": [["warm"]]}),
    ],
)
def test_other_commands_are_run_without_another_release(mark: str, changes: dict[str, Any]) -> None:
    assert value_of(mark, **changes) != value_of(mark)
    assert value_of("django_app_release", **changes) == value_of("django_app_release")
