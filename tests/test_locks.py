"""Whatever a project's lock looks like, the servers get one with hashes; uv and the package index are real."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.project import Project
from ansible_collections.stockpot.stack.plugins.plugin_utils.project import pack as pack_project
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.requirements import lines_in, pin_of
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.resolve import Index, absent, summary
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.source import ProjectError
from uv import find_uv_bin

LOCKS = Path(__file__).resolve().parent / "locks"
BOTH = {"bookworm": "3.11.2", "trixie": "3.13.5"}
# Nothing answers there: who resolves with it needs no network.
NOWHERE = Index("http://127.0.0.1:9/simple")
PYPROJECT = """
[project]
name = "shop"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["sqlparse>=0.5", "colorama>=0.4 ; sys_platform == 'win32'"]

[project.optional-dependencies]
text = ["six>=1.16"]

[dependency-groups]
dev = ["iniconfig"]
"""
HASHED = "six==1.17.0 \\\n    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with manage.py alone."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "manage.py").write_text("run()\n")
    return folder


@pytest.fixture
def pack(project: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Pack the project; the lock is kept as the action does it."""
    path = tmp_path / "requirements.lock.txt"

    def run(pythons: dict[str, str] = BOTH, **options: Any) -> dict[str, Any]:
        given = {"source": str(project), "lock": path} | options
        packed = pack_project(Project(**given), pythons=pythons, cache=tmp_path / "cache")
        if packed["lock_after"] != packed["lock_before"]:
            path.write_text(packed["lock_after"])
        return packed

    return run


@pytest.fixture
def refused(pack: Callable[..., dict[str, Any]]) -> Callable[..., str]:
    """Pack what cannot be packed; returns the one sentence."""

    def run(**options: Any) -> str:
        with pytest.raises(ProjectError) as caught:
            pack(**options)
        assert len(caught.value.problems) == 1, caught.value.problems
        return caught.value.problems[0]

    return run


def versions(packed: dict[str, Any]) -> dict[str, str]:
    """What servers install, by name; every package has hashes."""
    pins = [pin_of(line) for line in lines_in(Path(packed["requirements"]).read_text())]
    assert all(pin and pin.hashes for pin in pins)
    return {pin.name: pin.version + (f" ; {pin.marker}" if pin.marker else "") for pin in pins if pin}


def uv(folder: Path, *arguments: str) -> None:
    """Run uv in a project."""
    subprocess.run([find_uv_bin(), *arguments], cwd=folder, check=True, capture_output=True)


def copy(kind: str, project: Path) -> None:
    """The lock of a tool, with its pyproject.toml."""
    shutil.copytree(LOCKS / kind, project, dirs_exist_ok=True)


ONLY_WINDOWS = '0.4.6 ; sys_platform == "win32"'


@pytest.mark.parametrize(
    ("kind", "lock", "sqlparse"),
    [
        ("poetry", "poetry.lock", "0.6.1"),
        ("pdm", "pdm.lock", "0.6.1"),
    ],
)
def test_a_lock_is_taken_over_without_asking_anybody(
    project: Path, pack: Callable, kind: str, lock: str, sqlparse: str
) -> None:
    copy(kind, project)
    packed = pack(requirements=[lock], index=NOWHERE)
    assert versions(packed) == {"colorama": ONLY_WINDOWS, "sqlparse": sqlparse}
    more = pack(requirements=[lock, "pyproject.toml"], index=NOWHERE, extras=["text"], dependency_groups=["dev"])
    assert versions(more) == {
        "colorama": ONLY_WINDOWS,
        "iniconfig": "2.3.1",
        "six": "1.17.0",
        "sqlparse": sqlparse,
    }
    text = (project / lock).read_text()
    assert all(value in text for value in re.findall(r"sha256:\w{64}", Path(more["requirements"]).read_text()))


def test_an_older_lock_of_poetry_gives_the_versions_of_what_pyproject_asks_for(project: Path, pack: Callable) -> None:
    copy("poetry-1", project)
    packed = pack(requirements=["poetry.lock"], extras=["text"])
    # Newer ones are there, and iniconfig is for developers.
    assert versions(packed) == {"colorama": ONLY_WINDOWS, "six": "1.17.0", "sqlparse": "0.5.5"}


def test_pipenv_s_groups_and_what_it_left_open(project: Path, pack: Callable) -> None:
    copy("pipenv", project)
    packed = pack(requirements=["Pipfile.lock"], dependency_groups=["text"], pythons={"bookworm": "3.11.2"})
    found = versions(packed)
    assert found["colorama"].endswith('; sys_platform == "win32"')
    assert found["sqlparse"] == '0.6.1 ; python_version >= "3.10"'
    assert found["six"].startswith("1.17.0 ;")
    assert "iniconfig" not in found


def test_uv_s_lock_and_the_one_that_all_tools_share(project: Path, pack: Callable) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT)
    uv(project, "lock", "--quiet")
    uv(project, "export", "--quiet", "--frozen", "--format=pylock.toml", "--output-file=pylock.toml")
    by_uv = versions(pack(requirements=["uv.lock"], extras=["text"], dependency_groups=["dev"], index=NOWHERE))
    assert {"sqlparse", "colorama", "six", "iniconfig"} == set(by_uv)
    # uv's own default group is in there.
    shared = versions(pack(requirements=["pylock.toml"], index=NOWHERE))
    assert shared == {name: version for name, version in by_uv.items() if name != "six"}


def test_pyproject_alone_is_locked_once_with_what_the_deployment_needs(project: Path, pack: Callable) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT)
    given = {"requirements": ["pyproject.toml"], "extras": ["text"], "overlay": ["toml"]}
    first = pack(**given)
    assert set(versions(first)) == {"sqlparse", "colorama", "six", "toml"}
    assert first["lock_before"] == ""
    again = pack(**given, index=NOWHERE)
    assert again["lock_after"] == again["lock_before"] == first["lock_after"]
    assert again["digest"] == first["digest"]
    (project / "pyproject.toml").write_text(PYPROJECT + "\n[tool.ruff]\nline-length = 99\n")
    assert pack(**given, index=NOWHERE)["lock_after"] == first["lock_after"]
    (project / "pyproject.toml").write_text(PYPROJECT.replace("sqlparse>=0.5", "sqlparse>=0.5,<0.6"))
    changed = pack(**given)
    # What need not change does not.
    [line] = summary(changed["lock_before"], changed["lock_after"])
    assert re.fullmatch(r"sqlparse 0\.6\S* -> 0\.5\S*", line)


def test_several_files_with_and_without_hashes_make_one_lock(project: Path, pack: Callable) -> None:
    (project / "requirements").mkdir()
    (project / "requirements/base.txt").write_text(HASHED)
    (project / "requirements/production.txt").write_text("-r base.txt\n-c limits.txt\nsqlparse\n")
    (project / "requirements/limits.txt").write_text("sqlparse<0.6\n")
    (project / "more.txt").write_text("toml==0.10.2\n")
    packed = pack(requirements=["requirements/production.txt", "more.txt"])
    found = versions(packed)
    assert (found["six"], found["toml"]) == ("1.17.0", "0.10.2")
    assert found["sqlparse"].startswith("0.5.")
    # One hash was locked, though the index has two.
    assert Path(packed["requirements"]).read_text().count("six==1.17.0 \\\n    --hash=sha256:4721f3") == 1
    assert "ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81" not in packed["lock_after"]


def test_a_lock_that_was_made_on_a_newer_python_gets_what_an_older_server_needs_too(
    project: Path, pack: Callable
) -> None:
    # As pip-compile wrote it on 3.13: before 3.11.3 redis needs async-timeout.
    (project / "requirements.txt").write_text(
        "redis==5.2.1 \\\n    --hash=sha256:ee7e1056b9aea0f04c6c2ed59452947f34c4940ee025f5dd83e6a6418b6989e4\n"
    )
    found = versions(pack(overlay=["toml"], pythons=BOTH))
    assert found["redis"] == "5.2.1"
    assert found["async-timeout"].endswith('; python_full_version < "3.11.3"')


def test_what_is_hashed_and_whole_is_installed_as_it_is(project: Path, pack: Callable) -> None:
    (project / "requirements.txt").write_text(HASHED)
    packed = pack(overlay=["six>=1"], index=NOWHERE)
    assert (packed["requirements"], packed["lock_after"]) == ("", "")


def test_what_serves_asgi_joins_the_overlay_in_versions_that_fit(project: Path, pack: Callable) -> None:
    """The project's own uvicorn stays as it is."""
    (project / "requirements.txt").write_text("uvicorn==0.30.6\n")
    packed = pack(overlay=["gunicorn"], asgi="shop.asgi:application")
    found = versions(packed)
    assert {"gunicorn", "uvicorn-worker", "websockets"} <= set(found)
    assert found["uvicorn"] == "0.30.6"
    assert packed["versions"]["uvicorn"] == "0.30.6"


def test_the_overlay_is_added_in_versions_that_fit_and_the_project_s_pins_stay(project: Path, pack: Callable) -> None:
    # gunicorn 23 needs packaging; this one of the project's own is old, and said to be for another system.
    old = "packaging==21.0 ; sys_platform == 'win32' \\\n    --hash=sha256:c86254f9220d55e31cc94d69bade760f0847da8000def4dfe1c6b872fd14ff14\n"
    (project / "requirements.txt").write_text(HASHED + old)
    packed = pack(overlay=["gunicorn<24"])
    found = versions(packed)
    assert found["six"] == "1.17.0"
    assert found["packaging"] == "21.0"
    assert found["gunicorn"].startswith("23.")
    assert "c86254f9220d55e31cc94d69bade760f0847da8000def4dfe1c6b872fd14ff14" in packed["lock_after"]


def test_one_driver_for_postgresql_is_enough_and_an_old_django_gets_the_one_it_knows(
    project: Path, pack: Callable
) -> None:
    assert absent(["psycopg[binary]", "gunicorn"], {"psycopg2-binary"}) == ["gunicorn"]
    (project / "requirements.txt").write_text("Django<4.2\n")
    found = versions(pack(overlay=["psycopg[binary]"], pythons={"bookworm": "3.11.2"}))
    assert "psycopg2-binary" in found
    assert "psycopg" not in found


@pytest.mark.parametrize("version", ["", "v1"])
@pytest.mark.parametrize("above", ["requirements.txt", "locks/pylock.toml"])
def test_a_lock_above_manage_py_s_folder_counts(project: Path, pack: Callable, above: str, version: str) -> None:
    (project / "backend").mkdir()
    (project / "manage.py").rename(project / "backend/manage.py")
    (project / above).parent.mkdir(exist_ok=True)
    pylock = (
        'lock-version = "1.0"\n[[packages]]\nname = "six"\nversion = "1.17.0"\nwheels = [{hashes = {sha256 = "00"}}]\n'
    )
    (project / above).write_text(HASHED if above.endswith(".txt") else pylock)
    if version:
        for arguments in (
            ["init", "--quiet"],
            ["add", "."],
            ["commit", "--quiet", "--message=first"],
            ["tag", version],
        ):
            identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
            subprocess.run(["git", *identity, *arguments], cwd=project, check=True)
    packed = pack(subdirectory="backend", version=version, requirements=[f"../{above}"], index=NOWHERE)
    assert versions(packed) == {"six": "1.17.0"}


@pytest.mark.parametrize(
    ("files", "options", "words"),
    [
        ({"Pipfile": ""}, {"requirements": ["Pipfile"]}, ["django_app_requirements: Pipfile is of no kind", "uv.lock"]),
        ({"uv.lock": ""}, {"requirements": ["poetry.lock"]}, ["there is no poetry.lock beside manage.py", "uv.lock."]),
        ({"poetry.lock": ""}, {}, ["there is no requirements.txt beside manage.py", "Name one it has: poetry.lock."]),
        ({"uv.lock": ""}, {"requirements": ["uv.lock"]}, ["uv.lock needs the pyproject.toml"]),
        ({"poetry.lock": "a = "}, {"requirements": ["poetry.lock"]}, ["poetry.lock cannot be read"]),
        ({"requirements.txt": HASHED}, {"extras": ["x"]}, ["django_app_extras: there is no extra x", "It has none."]),
        (
            {"pyproject.toml": PYPROJECT},
            {"requirements": ["pyproject.toml"], "extras": ["text", "docs"]},
            ["django_app_extras: there is no extra docs in pyproject.toml. It has text."],
        ),
        (
            {"pyproject.toml": PYPROJECT},
            {"requirements": ["pyproject.toml"], "dependency_groups": ["test"]},
            ["django_app_dependency_groups: there is no dependency group test", "It has dev."],
        ),
        (
            {"pyproject.toml": "[tool.poetry]\n"},
            {"requirements": ["pyproject.toml"]},
            ["no table [project]", "poetry.lock"],
        ),
        (
            {"requirements.txt": "--extra-index-url https://packages.example.com/simple\nshelf\n"},
            {},
            ["django_app_extra_index_urls is empty, but requirements.txt wants packages from an index of its own"],
        ),
        (
            {
                "pylock.toml": 'packages = [{name = "a", vcs = {type = "git", url = "https://e.com/a", commit-id = "main"}}]'
            },
            {"requirements": ["pylock.toml"]},
            ["names no commit", "Lock it"],
        ),
        (
            {
                "pylock.toml": f'packages = [{{name = "a", vcs = {{url = "ssh://git@e.com/a", commit-id = "{"a" * 40}"}}}}]'
            },
            {"requirements": ["pylock.toml"]},
            ["servers have no keys", "https"],
        ),
        (
            {"pylock.toml": 'packages = [{name = "a", directory = {path = "../a"}}]'},
            {"requirements": ["pylock.toml"]},
            ["../a is outside manage.py's folder", "Move it inside"],
        ),
        (
            {"pylock.toml": 'packages = [{name = "a", version = "1"}]'},
            {"requirements": ["pylock.toml"]},
            ["no hash for a", "Lock it again"],
        ),
    ],
)
def test_what_cannot_be_locked_is_named_with_the_fix(
    project: Path, refused: Callable, files: dict[str, str], options: dict[str, Any], words: list[str]
) -> None:
    for name, text in files.items():
        (project / name).write_text(text)
    message = refused(**options)
    assert message.startswith("django_app_")
    for word in words:
        assert word in message


def test_a_lock_that_is_older_than_its_pyproject_is_named(project: Path, refused: Callable) -> None:
    copy("poetry", project)
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace('"sqlparse>=0.5"', '"sqlparse>=9", "markdown"'))
    message = refused(requirements=["poetry.lock"])
    assert "poetry.lock does not fit pyproject.toml" in message
    assert "sqlparse>=9 (locked is 0.6.1), markdown. Lock it again." in message


def test_a_package_that_an_older_lock_of_poetry_does_not_hold_is_named(project: Path, refused: Callable) -> None:
    copy("poetry-1", project)
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace('sqlparse = "^0.5"', 'sqlparse = "^0.5"\nmarkdown = "*"'))
    assert "poetry.lock does not fit pyproject.toml, which asks for markdown." in refused(requirements=["poetry.lock"])


@pytest.mark.parametrize("kind", ["poetry", "pipenv"])
def test_a_lock_from_an_index_of_its_own_needs_that_index_s_address(
    project: Path, pack: Callable, refused: Callable, kind: str
) -> None:
    copy(kind, project)
    name = {"poetry": "poetry.lock", "pipenv": "Pipfile.lock"}[kind]
    text = (project / name).read_text()
    source = '[package.source]\ntype = "legacy"\nurl = "https://packages.example.com/simple"\nreference = "own"\n\n'
    text = text.replace("[extras]", source + "[extras]")
    text = text.replace('"sources": []', '"sources": [{"name": "own", "url": "https://packages.example.com/simple"}]')
    (project / name).write_text(text)
    given = {"requirements": [name], "pythons": {"bookworm": "3.11.2"}}
    assert refused(**given).startswith(f"django_app_extra_index_urls is empty, but {name} wants packages from an index")
    if kind == "poetry":
        pack(**given, index=Index(extra=["http://127.0.0.1:9/simple"]))


def test_versions_that_do_not_fit_together_are_told_in_uv_s_words(project: Path, refused: Callable) -> None:
    (project / "requirements.txt").write_text("six<1.16\n")
    message = refused(overlay=["six>=1.17"])
    assert message.startswith("django_app_requirements: uv cannot lock requirements.txt: ")
    assert "six" in message
    assert "unsatisfiable" in message


def test_a_repository_at_a_commit_and_a_folder_of_the_project_are_installed_beside_the_hashes(
    project: Path, pack: Callable
) -> None:
    (project / "pylock.toml").write_text(
        'packages = [{name = "six", version = "1.17.0", wheels = [{hashes = {sha256 = "00"}}]}, '
        f'{{name = "a", vcs = {{type = "git", url = "https://e.com/a", commit-id = "{"a" * 40}"}}}}, '
        '{name = "b", directory = {path = "./libs/b", editable = true}}]'
    )
    packed = pack(requirements=["pylock.toml"], index=NOWHERE)
    assert packed["sources"] == ["./libs/b", f"a @ git+https://e.com/a@{'a' * 40}"]
    assert versions(packed) == {"six": "1.17.0"}
    assert pack(requirements=["pylock.toml"], index=NOWHERE)["sources"] == packed["sources"]


def test_uv_s_lock_of_a_project_with_a_package_of_its_own_and_one_in_a_folder_fits(
    project: Path, pack: Callable
) -> None:
    for name in ("own", "other"):
        (project / "libs" / name).mkdir(parents=True)
        (project / "libs" / name / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1"\n')
    (project / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["six", "own", "other"]\n'
        '[tool.uv.sources]\nown = {path = "libs/own", editable = true}\nother = {path = "libs/other"}\n'
    )
    uv(project, "lock", "--quiet")
    packed = pack(requirements=["uv.lock"], index=NOWHERE)
    assert packed["sources"] == ["./libs/other", "./libs/own"]
    assert set(versions(packed)) == {"six"}


def test_a_login_in_a_repository_s_address_is_refused_and_not_repeated(project: Path, refused: Callable) -> None:
    address = "https://oauth2:hunter2@e.com/a"
    (project / "pylock.toml").write_text(
        f'packages = [{{name = "a", vcs = {{type = "git", url = "{address}", commit-id = "{"a" * 40}"}}}}]'
    )
    message = refused(requirements=["pylock.toml"])
    assert "has a login in its address" in message
    assert "hunter2" not in message


def test_a_requirement_that_is_none_is_told_as_one(project: Path, refused: Callable) -> None:
    (project / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\ndependencies = ["six >> 1"]\n')
    (project / "pylock.toml").write_text(
        'packages = [{name = "six", version = "1.17.0", wheels = [{hashes = {sha256 = "00"}}]}]'
    )
    assert "pyproject.toml asks for 'six >> 1', which is no requirement" in refused(requirements=["pylock.toml"])


def test_an_exact_python_may_be_asked_of_uv(project: Path, refused: Callable) -> None:
    (project / "requirements.txt").write_text(HASHED)
    (project / "pyproject.toml").write_text('[project]\nrequires-python = "==3.12.4"')
    assert 'set django_app_python to "3.12.4"' in refused()


def test_a_lock_into_which_somebody_wrote_a_package_without_hashes_is_made_anew(
    project: Path, pack: Callable, tmp_path: Path
) -> None:
    (project / "requirements.txt").write_text("six==1.17.0\n")
    first = pack()
    (tmp_path / "requirements.lock.txt").write_text(first["lock_after"] + "evil==1.0\n")
    assert pack()["lock_after"] == first["lock_after"]


def test_a_lock_for_an_older_python_stays_and_one_for_a_newer_does_not(project: Path, pack: Callable) -> None:
    (project / "requirements.txt").write_text("six==1.17.0\n")
    first = pack(pythons=BOTH)
    assert "# Python: 3.11\n" in first["lock_after"]
    assert pack(pythons={"trixie": "3.13.5"}, index=NOWHERE)["lock_after"] == first["lock_after"]
    assert "# Python: 3.10\n" in pack(pythons={"older": "3.10.1"})["lock_after"]


@pytest.mark.parametrize(
    ("files", "locks", "where"),
    [
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.12"'}, [], "pyproject.toml: requires-python"),
        (
            {"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.12"'},
            [],
            "pyproject.toml: tool.poetry.dependencies.python",
        ),
        ({"setup.cfg": "[options]\npython_requires = >=3.12\n"}, [], "setup.cfg: python_requires"),
        ({"pylock.toml": 'requires-python = ">=3.12"'}, ["pylock.toml"], "pylock.toml: requires-python"),
        ({"poetry.lock": '[metadata]\npython-versions = ">=3.12"'}, ["poetry.lock"], "poetry.lock: python-versions"),
        (
            {"pdm.lock": '[metadata]\n[[metadata.targets]]\nrequires_python = "~=3.12"'},
            ["pdm.lock"],
            "pdm.lock: requires_python",
        ),
        (
            {"Pipfile.lock": '{"_meta": {"requires": {"python_version": "3.13"}}}'},
            ["Pipfile.lock"],
            "Pipfile.lock: requires",
        ),
    ],
)
def test_a_python_that_the_project_does_not_take_is_refused_with_those_that_would_do(
    project: Path, refused: Callable, files: dict[str, str], locks: list[str], where: str
) -> None:
    (project / "requirements.txt").write_text(HASHED)
    (project / ".python-version").write_text("3.13.1\n")
    for name, text in files.items():
        (project / name).write_text(text)
    message = refused(requirements=locks or ["requirements.txt"])
    assert message.startswith("django_app_python: the project requires Python ")
    assert f"({where}), but bookworm has 3.11.2: set django_app_python to " in message
    assert '"3.13"' in message
    assert '"3.11"' not in message
    assert message.endswith("The project's .python-version says 3.13.1.")


@pytest.mark.parametrize(
    ("words", "yes", "no"),
    [
        (">=3.10,<4", "3.11.2", "3.9.2"),
        ("^3.10", "3.13.5", "3.9.1"),
        ("^3.10.4", "3.10", "3.10.1"),
        ("~3.11", "3.11.9", "3.12.0"),
        ("~=3.11", "3.13.0", "3.10.9"),
        ("3.11.*", "3.11.2", "3.12"),
        ("~2.7 || >=3.10 <3.13", "3.12.1", "3.13.0"),
        ("*", "3.8", ""),
    ],
)
def test_versions_are_understood_as_python_s_and_poetry_s_files_write_them(
    project: Path, pack: Callable, refused: Callable, words: str, yes: str, no: str
) -> None:
    (project / "requirements.txt").write_text(HASHED)
    (project / "pyproject.toml").write_text(f'[tool.poetry.dependencies]\npython = "{words}"\n')
    pack(pythons={"server": yes})
    if no:
        assert f"server has {no}" in refused(pythons={"server": no})
