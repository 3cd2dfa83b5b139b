"""A release after the first one, on both servers at once: a build that fails, then one that works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host
from uv import find_uv_bin

SCENARIO = Path(__file__).resolve().parent.parent
ENVIRONMENT = yaml.safe_load((SCENARIO / "converge.yml").read_text())[0]["vars"]["django_app_environment"]
CURRENT = "readlink --canonicalize-existing /srv/library/current"
FREEZE = "/opt/uv/bin/uv pip freeze --python /srv/library/current/venv/bin/python"
PAGE = "curl --silent --show-error --fail --unix-socket /run/library/web.sock http://library.test/"

PYPROJECT = """
[project]
name = "library"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["Django>=5.2,<5.3", "celery[redis]", "django-celery-beat"]

[dependency-groups]
production = ["psycopg[binary]"]

[tool.setuptools]
packages = ["library", "books"]
"""


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a git repository.

    The tag `broken` cannot be installed, `asking` wants one more variable; `second` is another edition, `third` has uv's lock.
    """
    folder = tmp_path_factory.mktemp("repository") / "project"
    shutil.copytree(SCENARIO.parent / "shared/foreign_project", folder, ignore=shutil.ignore_patterns("__pycache__"))
    lock, page = folder / "backend/locked.txt", folder / "backend/books/templates/books/shelf.html"
    locked = lock.read_text()

    def commit(tag: str) -> None:
        for arguments in (["add", "."], ["commit", "--quiet", "--message", tag], ["tag", tag]):
            identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
            subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)

    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], cwd=folder, check=True)
    lock.write_text(
        re.sub(
            r"(?s)(django==.*?)(?=^\S)", lambda found: re.sub("sha256:..", "sha256:00", found[0]), locked, flags=re.M
        )
    )
    page.write_text(page.read_text().replace("first edition", "second edition"))
    commit("broken")
    lock.write_text(locked)
    commit("second")
    settings = folder / "backend/library/configuration.py"
    settled = settings.read_text()
    settings.write_text(settled + 'PERMIT = os.environ["LIBRARY_PERMIT"]\n')
    commit("asking")
    settings.write_text(settled)
    page.write_text(page.read_text().replace("second edition", "third edition"))
    (folder / "backend/pyproject.toml").write_text(PYPROJECT)
    subprocess.run([find_uv_bin(), "lock", "--quiet"], cwd=folder / "backend", check=True)
    commit("third")
    # Neither is what lies in the work tree.
    page.write_text("never committed")
    return folder


def deploy(
    converge_again: Callable, repository: Path, version: str, *arguments: str, **variables: Any
) -> subprocess.CompletedProcess[str]:
    """Deploy a version of the repository to all servers."""
    source = {"django_app_source": f"file://{repository}", "django_app_version": version}
    return converge_again("-e", json.dumps(source | {"django_app_requirements": "locked.txt"} | variables), *arguments)


def test_a_value_that_no_variable_can_hold_is_refused_by_name_and_not_shown(
    hosts: dict[str, Host], converge_again: Callable
) -> None:
    before = {name: host.check_output("cat /etc/library/environment") for name, host in hosts.items()}
    run = converge_again("-e", json.dumps({"django_app_environment": {"LIBRARY_KEY": "-----BEGIN\0hunter2"}}))
    assert run.returncode != 0
    assert "django_app_environment: LIBRARY_KEY: " in run.stdout
    assert "hunter2" not in run.stdout + run.stderr
    assert {name: host.check_output("cat /etc/library/environment") for name, host in hosts.items()} == before


def test_a_build_that_fails_leaves_the_old_release_serving(
    hosts: dict[str, Host], repository: Path, converge_again: Callable
) -> None:
    before = {name: host.check_output(CURRENT) for name, host in hosts.items()}
    run = deploy(converge_again, repository, "broken")
    assert run.returncode != 0
    assert "hash mismatch" in (run.stdout + run.stderr).lower()
    for name, host in hosts.items():
        assert host.check_output(CURRENT) == before[name]
        assert "first edition" in host.check_output(PAGE)


def test_a_release_that_wants_another_variable_says_which_and_the_old_one_goes_on(
    hosts: dict[str, Host], repository: Path, converge_again: Callable
) -> None:
    before = {name: host.check_output(CURRENT) for name, host in hosts.items()}
    run = deploy(converge_again, repository, "asking")
    assert run.returncode != 0
    assert "app_environment: the project needs LIBRARY_PERMIT, which it is not given." in run.stdout
    for name, host in hosts.items():
        assert host.check_output(CURRENT) == before[name]
        assert "first edition" in host.check_output(PAGE)


def test_an_environment_that_the_release_cannot_start_with_is_refused_and_the_old_one_stays(
    hosts: dict[str, Host], converge_again: Callable
) -> None:
    """Nor does gunicorn's configuration take effect."""
    lacking = {name: value for name, value in ENVIRONMENT.items() if name != "LIBRARY_SECRET"}
    files = "cat /etc/library/environment /etc/library/gunicorn.conf.py"
    before = {name: host.check_output(files) for name, host in hosts.items()}
    changed = {"django_app_environment": lacking, "django_app_gunicorn_settings": {"keepalive": 44}}
    run = converge_again("-e", json.dumps(changed))
    assert run.returncode != 0
    assert "app_environment: the project needs LIBRARY_SECRET, which it is not given." in run.stdout
    assert {name: host.check_output(files) for name, host in hosts.items()} == before
    for host in hosts.values():
        # What is started again meanwhile has what it had.
        host.run_expect([0], "systemctl restart library-web.service")
        assert "first edition" in host.check_output(PAGE)


@pytest.mark.long
def test_static_files_that_are_collected_elsewhere_are_told(
    hosts: dict[str, Host], repository: Path, converge_again: Callable
) -> None:
    run = deploy(converge_again, repository, "second", django_app_static_root="public")
    assert run.returncode != 0
    assert "django_app_static_root is public, " in run.stdout
    for host in hosts.values():
        assert "first edition" in host.check_output(PAGE)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"django_app_version": "v9"}, "v9"),
        ({"django_app_settings_module": "library.settings"}, "It has library.configuration."),
        ({"django_app_wsgi": "library.server:application"}, "It has library.server:site."),
    ],
)
def test_what_the_project_does_not_hold_is_refused_before_anything_changes(
    hosts: dict[str, Host], repository: Path, converge_again: Callable, wrong: dict[str, str], said: str
) -> None:
    before = {name: host.check_output("ls /srv/library/releases") for name, host in hosts.items()}
    run = deploy(converge_again, repository, "second", **wrong)
    assert run.returncode != 0
    assert f"{next(iter(wrong))}" in run.stdout
    assert said in run.stdout
    assert {name: host.check_output("ls /srv/library/releases") for name, host in hosts.items()} == before


def test_a_version_from_git_replaces_it_and_the_old_and_the_broken_one_go(
    hosts: dict[str, Host], repository: Path, converge_again: Callable
) -> None:
    run = deploy(converge_again, repository, "second")
    assert run.returncode == 0, run.stdout
    for host in hosts.values():
        page = host.check_output(PAGE)
        assert "second edition" in page
        assert "Migrated 2 times." in page
        assert host.check_output("ls /srv/library/releases") == Path(host.check_output(CURRENT)).name


def test_a_changed_value_restarts_the_processes_and_does_not_migrate_again(
    hosts: dict[str, Host], repository: Path, converge_again: Callable
) -> None:
    changed = ENVIRONMENT | {"LIBRARY_MOTTO": "another motto"}
    run = deploy(converge_again, repository, "second", django_app_environment=changed)
    assert run.returncode == 0, run.stdout
    for host in hosts.values():
        assert host.check_output(f"{PAGE}motto") == "another motto"
        assert (
            host.check_output("curl --silent --header Host:library.test http://127.0.0.1:8001/motto") == "another motto"
        )
        assert "Migrated 2 times." in host.check_output(PAGE)


def test_another_database_is_migrated(hosts: dict[str, Host], repository: Path, converge_again: Callable) -> None:
    run = deploy(converge_again, repository, "second", django_app_database="library@elsewhere")
    assert run.returncode == 0, run.stdout
    for host in hosts.values():
        assert "Migrated 3 times." in host.check_output(PAGE)
        assert "elsewhere" not in host.check_output("ls --almost-all /srv/library/current/")


@pytest.mark.long
def test_another_content_of_a_given_file_restarts_the_processes_without_a_new_release_and_a_file_taken_from_the_list_goes(
    hosts: dict[str, Host], repository: Path, converge_again: Callable
) -> None:
    before = {name: host.check_output(CURRENT) for name, host in hosts.items()}
    settings = {"path": "library/local_settings.py", "content": "EDITION = 'hunter2, revised'\n"}
    licence = {"path": "/etc/library/files/licence.pem", "content": "a licence"}
    run = deploy(converge_again, repository, "second", "--diff", django_app_files=[settings, licence])
    assert run.returncode == 0, run.stdout
    assert "hunter2" not in run.stdout
    for name, host in hosts.items():
        assert host.check_output(CURRENT) == before[name]
        assert host.check_output(f"{PAGE}edition") == "hunter2, revised"
        own = host.check_output("curl --silent --header Host:library.test http://127.0.0.1:8001/edition")
        assert own == "hunter2, revised"
    run = deploy(converge_again, repository, "second", django_app_files=[licence])
    assert run.returncode == 0, run.stdout
    for host in hosts.values():
        assert host.check_output(f"{PAGE}edition") == ""
        assert host.check_output("find /etc/library/files -type f") == licence["path"]


def test_what_a_project_wrote_inside_its_source_and_what_ran_once_outlives_releases(hosts: dict[str, Host]) -> None:
    """Of the releases before."""
    for host in hosts.values():
        assert {"shipped.txt", "web.txt"} <= set(host.check_output(f"{PAGE}exports/later").split())
        # For each of the two databases.
        assert host.file("/var/lib/library/once").content_string == "once\nonce\n"
        assert int(host.check_output("wc --lines </var/lib/library/prepared")) > 1


@pytest.mark.long
def test_a_command_that_failed_is_tried_again_and_one_that_did_not_is_not(
    hosts: dict[str, Host], repository: Path, converge_again: Callable
) -> None:
    first = ["shell", "--command", "open('/var/lib/library/first', 'a').write('first\\n')"]
    second = ["shell", "--command", "open('/var/lib/library/mended').close()"]
    failed = deploy(converge_again, repository, "second", django_app_once_commands=[first, second])
    assert failed.returncode != 0
    assert "/var/lib/library/mended" in failed.stdout
    for host in hosts.values():
        host.check_output("touch /var/lib/library/mended")
    mended = deploy(converge_again, repository, "second", django_app_once_commands=[first, second])
    assert mended.returncode == 0, mended.stdout
    for host in hosts.values():
        assert host.file("/var/lib/library/first").content_string == "first\n"
    again = deploy(converge_again, repository, "second", django_app_once_commands=[first, second])
    assert len(re.findall(r" changed=0 ", again.stdout)) == len(hosts), again.stdout


@pytest.fixture
def pushed_to(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody pushes to the repository's branch main right after every fetch; the file has a line for each."""
    page, pushes, git = "backend/books/templates/books/shelf.html", tmp_path / "pushes", tmp_path / "git"
    push = f"""
cd {repository}
git checkout --quiet --force main
sed --in-place -E "s/library, .*<.h1>/library, edition $(wc -l <{pushes})<\\/h1>/" {page}
echo pushed >>{pushes}
git -c user.name=Test -c user.email=test@example.com -c commit.gpgsign=false commit --quiet --all --message=pushed
"""
    pushes.touch()
    subprocess.run(["sh", "-euc", push], check=True)
    git.write_text(f'#!/bin/sh -eu\nPATH={os.environ["PATH"]}\ngit "$@"\n[ "$1" != fetch ] || ({push})\n')
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return pushes


@pytest.mark.long
def test_a_branch_that_is_pushed_to_meanwhile_gives_all_servers_the_same(
    hosts: dict[str, Host], repository: Path, pushed_to: Path, converge_again: Callable
) -> None:
    run = deploy(converge_again, repository, "main")
    assert run.returncode == 0, run.stdout
    assert pushed_to.read_text().splitlines() == ["pushed", "pushed"]
    for host in hosts.values():
        assert "Lending library, edition 0" in host.check_output(PAGE)


def test_a_python_that_is_not_there_is_refused_before_anything_changes(
    hosts: dict[str, Host], repository: Path, converge_again: Callable
) -> None:
    before = {name: host.check_output(CURRENT) for name, host in hosts.items()}
    run = deploy(converge_again, repository, "second", django_app_python="/opt/python3.99/bin/python3")
    assert run.returncode != 0
    for name in hosts:
        assert f"django_app_python: {name} has no Python at /opt/python3.99/bin/python3." in run.stdout
    assert {name: host.check_output(CURRENT) for name, host in hosts.items()} == before


@pytest.mark.long
def test_a_lock_of_uv_s_is_installed_with_what_it_lacks_by_a_python_of_one_s_choice(
    hosts: dict[str, Host], repository: Path, converge_again: Callable, tmp_path: Path
) -> None:
    given = {
        "django_app_requirements": "uv.lock",
        "django_app_dependency_groups": ["production"],
        "django_app_lock": str(tmp_path / "requirements.txt"),
        "django_app_python": "/usr/bin/python3",
        "django_app_install_project": True,
    }
    run = deploy(converge_again, repository, "third", **given)
    assert run.returncode == 0, run.stdout
    locked = (tmp_path / "requirements.txt").read_text()
    assert "\ngunicorn==" in locked
    for host in hosts.values():
        assert "third edition" in host.check_output(PAGE)
        installed = host.check_output(FREEZE).splitlines()
        assert {"gunicorn", "psycopg"} <= {line.partition("==")[0] for line in installed}
        assert [line.partition(" @ ")[0] for line in installed if f"\n{line} " not in locked] == ["library"]
