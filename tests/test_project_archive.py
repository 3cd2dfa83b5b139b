"""What is packed on the control node, and what is refused there."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.project import Project, archive
from ansible_collections.stockpot.stack.plugins.plugin_utils.project import pack as pack_project
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.source import ProjectError

ROOT = Path(__file__).resolve().parent.parent
LOCKED = "django==5.2.19 \\\n    --hash=sha256:aa\nGunicorn==27.0.1 \\\n    --hash=sha256:bb\n"


def git(folder: Path, *arguments: str) -> str:
    """Run git as a committer of no account."""
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def write(folder: Path, **files: str) -> None:
    """Write files; `__` in a keyword is a slash and `_dot_` a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A plain folder with a small project."""
    folder = tmp_path / "project"
    write(folder, manage_dot_py="run()\n", requirements_dot_txt=LOCKED, shop__urls_dot_py="urls = []\n")
    return folder


@pytest.fixture
def repository(project: Path) -> Path:
    """The same under git, committed and tagged v1."""
    write(project, _dot_gitignore=".env\n*.sqlite3\n")
    git(project, "init", "--quiet", "--initial-branch=main")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=first")
    git(project, "tag", "v1")
    return project


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Pack a source with the module's defaults."""

    def run(source: Path | str, **options: Any) -> dict[str, str]:
        return pack_project(Project(source=str(source), **options), pythons={}, cache=tmp_path / "cache")

    return run


@pytest.fixture
def refused(pack: Callable[..., dict[str, str]]) -> Callable[..., str]:
    """Pack a source that cannot be packed; returns the one sentence."""

    def run(source: Path | str, **options: Any) -> str:
        with pytest.raises(ProjectError) as caught:
            pack(source, **options)
        assert len(caught.value.problems) == 1, caught.value.problems
        return caught.value.problems[0]

    return run


def names(packed: dict[str, str]) -> set[str]:
    """The files in an archive."""
    with tarfile.open(packed["archive"]) as archive:
        return {member.name for member in archive if not member.isdir()}


def test_same_files_give_the_same_archive_whenever_and_wherever_they_lie(
    project: Path, pack: Callable, tmp_path: Path
) -> None:
    first = pack(project)
    content = Path(first["archive"]).read_bytes()
    Path(first["archive"]).unlink()
    elsewhere = tmp_path / "elsewhere"
    project.rename(elsewhere)
    for path in elsewhere.rglob("*.py"):
        os.utime(path, (1, 1))
    second = pack(elsewhere)
    assert second["digest"] == first["digest"]
    assert Path(second["archive"]).read_bytes() == content


@pytest.mark.parametrize("change", ["content", "name", "mode"])
def test_a_changed_file_gives_another_digest(project: Path, pack: Callable, change: str) -> None:
    before = pack(project)["digest"]
    changed = project / "shop/urls.py"
    if change == "content":
        changed.write_text("urls = [1]\n")
    elif change == "name":
        changed.rename(project / "shop/addresses.py")
    else:
        changed.chmod(0o755)
    assert pack(project)["digest"] != before


def test_a_work_tree_ships_new_files_but_no_ignored_nor_deleted_ones(repository: Path, pack: Callable) -> None:
    write(repository, _dot_env="SECRET=x", db_dot_sqlite3="rows", shop__new_dot_py="new = 1\n")
    (repository / "shop/urls.py").unlink()
    assert names(pack(repository)) == {".gitignore", "manage.py", "requirements.txt", "shop/new.py"}


def test_a_folder_outside_git_obeys_its_gitignore_and_leaves_virtualenvs_out(project: Path, pack: Callable) -> None:
    write(
        project,
        _dot_gitignore=".env\n",
        _dot_env="SECRET=x",
        myenv__pyvenv_dot_cfg="home = /usr/bin\n",
        myenv__bin__python="",
        node_modules__left__pad_dot_js="",
    )
    (project / "shop/__pycache__").mkdir()
    (project / "shop/__pycache__/urls.pyc").write_text("")
    assert {name for name in names(pack(project)) if "/" in name} == {"shop/urls.py"}
    assert ".env" not in names(pack(project))


def test_a_version_is_packed_whatever_lies_in_the_work_tree(repository: Path, pack: Callable) -> None:
    expected = pack(repository)
    write(repository, manage_dot_py="other()\n", untracked_dot_py="")
    packed = pack(repository, version="v1")
    assert packed["digest"] == expected["digest"]
    assert packed["commit"] == git(repository, "rev-parse", "v1")


def test_a_version_of_a_subdirectory_of_a_remote_repository(tmp_path: Path, project: Path, pack: Callable) -> None:
    write(tmp_path / "mono", README_dot_md="all of it\n")
    project.rename(tmp_path / "mono/backend")
    git(tmp_path / "mono", "init", "--quiet")
    git(tmp_path / "mono", "add", ".")
    git(tmp_path / "mono", "commit", "--quiet", "--message=first")
    git(tmp_path / "mono", "tag", "--annotate", "--message=one", "v1")
    packed = pack(f"file://{tmp_path}/mono", version="v1", subdirectory="backend")
    assert names(packed) == {"manage.py", "requirements.txt", "shop/urls.py"}
    by_folder = pack(tmp_path / "mono/backend", version="v1")
    assert by_folder["digest"] == packed["digest"]


def test_a_branch_is_fetched_anew_and_a_known_commit_is_not(repository: Path, pack: Callable, tmp_path: Path) -> None:
    address = f"file://{repository}"
    first = pack(address, version="main")
    write(repository, manage_dot_py="newer()\n")
    git(repository, "commit", "--quiet", "--all", "--message=second")
    second = pack(address, version="main")
    assert second["digest"] != first["digest"]
    repository.rename(tmp_path / "unreachable")
    assert pack(address, version=first["commit"])["digest"] == first["digest"]


def test_what_the_control_node_ignores_cannot_be_asked_for(repository: Path, refused: Callable) -> None:
    write(repository, _dot_gitignore="requirements.txt\n")
    git(repository, "rm", "--quiet", "--cached", "requirements.txt")
    assert "git ignores it" in refused(repository)


def test_a_missing_source_is_named(tmp_path: Path, refused: Callable) -> None:
    message = refused(tmp_path / "nowhere")
    assert message.startswith(f"django_app_source: there is no folder {tmp_path}/nowhere on the control node.")


def test_a_relative_source_is_refused(refused: Callable) -> None:
    assert "neither an absolute path" in refused("app")


def test_an_unreachable_repository_shows_what_git_says(tmp_path: Path, refused: Callable) -> None:
    message = refused(f"file://{tmp_path}/nowhere", version="v1")
    assert message.startswith("django_app_source: git cannot fetch")
    assert "nowhere" in message


@pytest.mark.parametrize(
    "address", ["https://me:hunter2@example.com/shop.git", "HTTPS://:hunter2@h/s", "me:hunter2@h:s"]
)
def test_a_password_in_the_address_is_refused_and_not_repeated(refused: Callable, address: str) -> None:
    message = refused(address, version="v1")
    assert message.startswith("django_app_source holds a password")
    assert "hunter2" not in message


def test_a_token_in_the_address_is_not_repeated_by_git(refused: Callable) -> None:
    message = refused("https://t0ken-hunter2@127.0.0.1:9/shop.git", version="v1")
    assert message.startswith("django_app_source: git cannot fetch https://***@127.0.0.1:9/shop.git")
    assert "hunter2" not in message


def test_a_control_node_without_git_is_told_so(
    project: Path, refused: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Install git" in refused(project)


def test_mistakes_are_told_together(pack: Callable, project: Path) -> None:
    with pytest.raises(ProjectError) as in_what_is_written:
        pack("shop", version="-v", subdirectory="..")
    write(project, requirements_dot_txt="django==5.2.19\n-r more.txt\n-c limits.txt\n")
    (project / "shop/link").symlink_to("/etc/passwd")
    with pytest.raises(ProjectError) as in_the_files:
        pack(project)
    assert [problem.partition(":")[0] for problem in in_what_is_written.value.problems] == [
        "django_app_source",
        "django_app_version",
        "django_app_subdirectory",
    ]
    assert [problem.partition(":")[0] for problem in in_the_files.value.problems] == [
        "django_app_source",
        "django_app_requirements",
        "django_app_requirements",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shared_paths": ["shop/"]}, "django_app_shared_paths: 'shop' holds code (shop/urls.py)"),
        ({"shared_paths": ["manage.py"]}, "django_app_shared_paths: 'manage.py', but manage.py is a link or a file"),
        ({"shared_paths": ["link/out"]}, "django_app_shared_paths: 'link/out', but link is a link or a file"),
        ({"files": ["shop"]}, "django_app_files: 'shop' is a folder of the project"),
        ({"files": ["link/key"]}, "django_app_files: 'link/key', but link is a link or a file"),
    ],
)
def test_a_path_that_the_project_has_another_use_for_is_refused(
    project: Path, refused: Callable, options: dict[str, list[str]], said: str
) -> None:
    (project / "link").symlink_to("shop")
    assert refused(project, **options).startswith(said)


def test_what_a_project_ships_in_a_shared_folder_is_packed_and_a_file_may_take_the_place_of_its_own(
    project: Path, pack: Callable
) -> None:
    write(project, exports__first_dot_csv="1\n", local_dot_py="")
    packed = pack(project, shared_paths=["exports", "data/in"], files=["local.py", "keys/jwt.pem", "/etc/shop/files/a"])
    assert {"exports/first.csv", "local.py"} <= names(packed)


@pytest.mark.parametrize("version", ["v9", "--upload-pack=touch"])
def test_a_version_that_does_not_exist_is_named(repository: Path, refused: Callable, version: str) -> None:
    message = refused(repository, version=version)
    assert message.startswith("django_app_version: ")
    assert version in message


def test_a_git_address_needs_a_version(repository: Path, refused: Callable) -> None:
    assert refused(f"file://{repository}").startswith("django_app_version is empty")


def test_a_version_of_a_folder_outside_git_is_refused(project: Path, refused: Callable) -> None:
    assert "is no git repository" in refused(project, version="v1")


@pytest.mark.parametrize("version", ["", "v1"])
def test_a_missing_subdirectory_is_named(repository: Path, refused: Callable, version: str) -> None:
    message = refused(repository, subdirectory="backend", version=version)
    assert message.startswith("django_app_subdirectory: ")
    assert "no folder backend" in message


def test_a_subdirectory_outside_the_source_is_refused(project: Path, refused: Callable) -> None:
    assert "inside the source" in refused(project / "shop", subdirectory="../")


def test_a_folder_without_manage_py_is_refused(project: Path, refused: Callable) -> None:
    said = refused(project, subdirectory="shop")
    assert said.startswith("django_app_subdirectory: there is no manage.py")
    assert "django_app_manage" in said


def test_the_folder_that_has_it_is_named(project: Path, refused: Callable) -> None:
    write(project, **{"backend__manage_dot_py": "run()\n"})
    (project / "manage.py").unlink()
    assert refused(project).endswith("The project has one in backend.")


@pytest.mark.parametrize(
    "manage", [["python", "-m", "django"], ["shop"], ["/opt/shop/bin/shop"], ["python", "shop/urls.py"]]
)
def test_a_project_that_is_managed_otherwise_needs_none(project: Path, pack: Callable, manage: list[str]) -> None:
    (project / "manage.py").unlink()
    assert pack(project, manage=manage)["archive"]


def test_another_script_that_is_not_there_is_named(project: Path, refused: Callable) -> None:
    assert "there is no bin/manage.py in" in refused(project, manage=["python", "bin/manage.py"])


def test_a_configuration_of_gunicorn_is_in_the_project_where_it_is_named(
    project: Path, pack: Callable, refused: Callable
) -> None:
    said = refused(project, gunicorn_config="deploy/gunicorn.py")
    assert said.startswith("django_app_gunicorn_config: there is no deploy/gunicorn.py")
    write(project, deploy__gunicorn_dot_py="keepalive = 5\n")
    assert pack(project, gunicorn_config="deploy/gunicorn.py")["archive"]


def test_the_versions_of_a_lock_that_is_used_as_it_is_are_known(project: Path, pack: Callable) -> None:
    assert pack(project)["versions"] == {"django": "5.2.19", "gunicorn": "27.0.1"}
    two = (
        LOCKED
        + "six==1.17.0 ; python_version >= '3.12' \\\n    --hash=sha256:cc\nsix==1.9.0 ; python_version < '3.12' \\\n    --hash=sha256:dd\n"
    )
    write(project, requirements_dot_txt=two)
    assert pack(project)["versions"]["six"] == "1.9.0"


def test_a_missing_requirements_file_is_named(project: Path, refused: Callable) -> None:
    assert refused(project, requirements=["locked.txt"]).startswith("django_app_requirements: there is no locked.txt")


def test_a_lock_that_includes_itself_or_is_a_link_is_read(project: Path, pack: Callable) -> None:
    write(project, locks__main_dot_txt=LOCKED + "-r requirements.txt\n")
    (project / "requirements.txt").unlink()
    (project / "requirements.txt").symlink_to("locks/main.txt")
    assert pack(project, overlay=["gunicorn"])["requirements"] == ""


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret"])
def test_a_link_that_leaves_the_project_is_refused(project: Path, refused: Callable, target: str) -> None:
    (project / "shop/link").symlink_to(target)
    assert "the link shop/link leaves the project" in refused(project)


def test_a_link_inside_the_project_stays_a_link(project: Path, pack: Callable) -> None:
    (project / "shop/link.py").symlink_to("../manage.py")
    with tarfile.open(pack(project)["archive"]) as archive:
        assert archive.getmember("shop/link.py").linkname == "../manage.py"


@pytest.mark.parametrize("folder", ["shop", "shop/", "./shop", "shop/../shop"])
def test_a_static_root_that_holds_source_is_refused(project: Path, refused: Callable, folder: str) -> None:
    sentence = refused(project, static_root=folder)
    assert sentence.startswith(f"django_app_static_root is {folder}")
    assert "shop/urls.py" in sentence


def test_a_static_root_that_is_a_link_to_source_is_refused(project: Path, refused: Callable) -> None:
    (project / "assets").symlink_to("shop")
    for folder in ("assets", "assets/collected"):
        sentence = refused(project, static_root=folder)
        assert "assets is a link" in sentence


def test_a_static_root_with_files_for_visitors_is_packed(project: Path, pack: Callable) -> None:
    write(project, assets__site_dot_css="body {}\n")
    assert pack(project, static_root="assets")["archive"]


def test_a_version_with_a_submodule_is_refused_and_a_checked_out_one_is_packed(
    repository: Path, tmp_path: Path, pack: Callable, refused: Callable
) -> None:
    other = tmp_path / "other"
    write(other, lib_dot_py="lib = 1\n")
    git(other, "init", "--quiet")
    git(other, "add", ".")
    git(other, "commit", "--quiet", "--message=first")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "vendor")
    git(repository, "commit", "--quiet", "--message=submodule")
    assert "submodule vendor" in refused(repository, version="main")
    assert "vendor/lib.py" in names(pack(repository))


def test_only_the_archives_used_last_are_kept(project: Path, pack: Callable) -> None:
    first = pack(project)
    for number in range(archive.ARCHIVES_KEPT):
        write(project, manage_dot_py=f"run({number})\n")
        last = pack(project)
        os.utime(last["archive"], (time.time() + number, time.time() + number))
    assert not Path(first["archive"]).exists()
    assert len(list(Path(last["archive"]).parent.glob("*.tar.gz"))) == archive.ARCHIVES_KEPT


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the action in a play for a host that nothing can reach, as loud as Ansible gets about a task's arguments."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        action = {"cache": str(tmp_path / "cache"), "overlay": ["gunicorn"], **options}
        tasks = [
            {"stockpot.stack.project_archive": action, "register": "packed"},
            {"ansible.builtin.debug": {"msg": "archive={{ packed.archive }} problems={{ packed.problems | length }}"}},
        ]
        playbook = tmp_path / "play.yml"
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "become": True, "tasks": tasks}]))
        return subprocess.run(
            ["ansible-playbook", "-vvv", "--inventory=host.invalid,", *arguments, str(playbook)],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run


def test_the_action_packs_on_the_control_node_in_a_dry_run_too_and_reports_no_change(
    project: Path, play: Callable, tmp_path: Path
) -> None:
    ran = play("--check", source=str(project))
    assert ran.returncode == 0, ran.stdout
    assert f"archive={tmp_path}/cache/" in ran.stdout
    assert "changed=0" in ran.stdout
    assert len(list((tmp_path / "cache").glob("*.tar.gz"))) == 1


def test_the_action_fails_with_the_sentences(tmp_path: Path, play: Callable) -> None:
    ran = play(source=f"{tmp_path}/nowhere", subdirectory="..")
    assert ran.returncode != 0
    assert "django_app_source: there is no folder" in ran.stdout
    assert "django_app_subdirectory: .. has to be" in ran.stdout
    assert "Traceback" not in ran.stdout


def test_a_report_leaves_the_refusal_to_its_caller(play: Callable) -> None:
    ran = play(source="https://me:hunter2@example.com/shop.git", subdirectory="..", report=True)
    assert ran.returncode == 0, ran.stdout
    assert "archive= problems=2" in ran.stdout.replace('"', "")
    assert "hunter2" not in ran.stdout + ran.stderr
