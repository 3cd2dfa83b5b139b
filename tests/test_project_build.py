"""What a project's own build makes on the control node is packed with it."""

from __future__ import annotations

import os
import select
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.project import Project, build
from ansible_collections.stockpot.stack.plugins.plugin_utils.project import pack as pack_project
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.build import Command, command_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.source import ProjectError

LOCKED = "django==5.2.19 --hash=sha256:aa\n"
BUNDLE = "mkdir -p dist && tr a-z A-Z <theme.css >dist/site.css && date +%s%N >dist/stamp.txt"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository whose .gitignore names what its front end is built into."""
    folder = tmp_path / "source"
    for name, text in {
        "manage.py": "",
        "requirements.txt": LOCKED,
        ".gitignore": "dist/\nnode_modules/\n.env\n",
        ".env": "SECRET=hunter2",
        "frontend/theme.css": "body {}\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=first"], ["tag", "v1"]):
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)
    return folder


@pytest.fixture
def pack(tmp_path: Path, source: Path) -> Callable[..., dict[str, Any]]:
    """Pack the source after these commands of a shell, in the folder frontend."""

    def run(*scripts: str, directory: str = "frontend", **options: Any) -> dict[str, Any]:
        commands = [Command(("sh", "-euc", script), directory) for script in scripts]
        project = Project(
            source=str(options.pop("source", source)),
            build_commands=commands,
            build_excludes=options.pop("build_excludes", ["node_modules"]),
            **options,
        )
        return pack_project(project, pythons={}, cache=tmp_path / "cache")

    return run


def contents(packed: dict[str, Any]) -> dict[str, str]:
    """An archive's files, links as arrows."""
    with tarfile.open(packed["archive"]) as archive:
        return {
            member.name: f"-> {member.linkname}" if member.issym() else archive.extractfile(member).read().decode()
            for member in archive
            if not member.isdir()
        }


@pytest.mark.parametrize("version", ["", "v1"])
def test_what_is_built_is_packed_although_git_ignores_it_and_the_operators_folder_stays_as_it_was(
    source: Path, pack: Callable, version: str
) -> None:
    packed = contents(pack("mkdir node_modules; touch node_modules/left-pad.js", BUNDLE, version=version))
    assert packed["frontend/dist/site.css"] == "BODY {}\n"
    assert {".env", "frontend/node_modules/left-pad.js"} & set(packed) == set()
    assert sorted(path.name for path in (source / "frontend").iterdir()) == ["theme.css"]


def test_the_same_source_is_built_once_and_gives_the_same_archive_even_of_a_build_that_never_repeats_itself(
    pack: Callable, tmp_path: Path
) -> None:
    count = f"echo built >>{tmp_path}/count"
    first = pack(count, BUNDLE)
    assert pack(count, BUNDLE)["digest"] == first["digest"]
    assert pack(count, BUNDLE, version="v1")["digest"] == first["digest"]
    assert (tmp_path / "count").read_text() == "built\n"


@pytest.mark.parametrize("change", ["source", "commands", "excludes"])
def test_another_source_or_another_build_is_built_again(
    source: Path, pack: Callable, tmp_path: Path, change: str
) -> None:
    scripts, excludes = [f"echo built >>{tmp_path}/count", "touch made.js"], ["node_modules"]
    before = pack(*scripts)["digest"]
    if change == "source":
        (source / "frontend/theme.css").write_text("main {}\n")
    elif change == "commands":
        scripts[1] = "touch made.css"
    else:
        excludes = ["made.js"]
    assert pack(*scripts, build_excludes=excludes)["digest"] != before
    assert (tmp_path / "count").read_text() == "built\nbuilt\n"


def test_a_front_end_beside_the_folder_of_manage_py_is_built_from_the_whole_source(
    source: Path, pack: Callable, tmp_path: Path
) -> None:
    (source / "backend").mkdir()
    for name in ("manage.py", "requirements.txt"):
        (source / name).rename(source / "backend" / name)
    script = "mkdir -p ../backend/static && cp theme.css ../backend/static/site.css"
    packed = contents(pack(script, directory="../frontend", subdirectory="backend"))
    assert packed["static/site.css"] == "body {}\n"
    assert "frontend/theme.css" not in packed


def test_a_build_that_fails_shows_the_end_of_what_it_said_and_is_tried_again(pack: Callable, tmp_path: Path) -> None:
    said = f"seq 100; echo no such theme >&2; test -e {tmp_path}/mended"
    with pytest.raises(ProjectError) as caught:
        pack(said)
    (message,) = caught.value.problems
    assert message.startswith("django_app_build_commands: `sh -euc ")
    assert message.endswith("100\nno such theme\nMend the project or the command.")
    assert "\n50\n" not in message
    assert str(tmp_path / "cache") not in message
    (tmp_path / "mended").touch()
    pack(said)


def test_a_build_that_succeeds_says_nothing(pack: Callable, capfd: pytest.CaptureFixture[str]) -> None:
    pack("echo chatter; echo more >&2")
    assert "".join(capfd.readouterr()) == ""


def test_a_program_that_is_missing_is_named_with_the_fix(source: Path, tmp_path: Path) -> None:
    project = Project(source=str(source), build_commands=[Command(("no-such-npm", "ci"), "frontend")])
    with pytest.raises(ProjectError, match=r"`no-such-npm ci` cannot be run on the control node.* Install no-such-npm"):
        pack_project(project, pythons={}, cache=tmp_path)


@pytest.mark.parametrize("directory", ["theme", "..", "frontend/theme.css"])
def test_a_folder_that_is_not_in_the_project_is_named(pack: Callable, directory: str) -> None:
    with pytest.raises(
        ProjectError, match=rf"django_app_build_commands: there is no folder {directory} in the project"
    ):
        pack("true", directory=directory)


def test_a_build_learns_no_token_of_the_shell_it_is_started_from_and_gets_what_reaches_registries(
    pack: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is other people's code."""
    hidden = (
        "ANSIBLE_VAULT_PASSWORD_FILE",
        "AWS_SECRET_ACCESS_KEY",
        "SECRET_KEY",
        "npm_config__authToken",
        "NODE_AUTH_TOKEN",
    )
    passed = ("https_proxy", "NODE_EXTRA_CA_CERTS", "npm_config_registry", "HOME", "SSL_CERT_FILE")
    for name in (*hidden, *passed):
        monkeypatch.setenv(name, f"value of {name}")
    seen = contents(pack("env >environment.txt"))["frontend/environment.txt"].splitlines()
    assert {f"{name}=value of {name}" for name in passed} <= set(seen)
    assert not [line for line in seen if line.partition("=")[0] in hidden]


def test_a_build_that_never_ends_is_ended_with_all_that_it_started(
    pack: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "TIMEOUT", 3)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(ProjectError, match="did not end within"):
        pack(f"sleep infinity >{tmp_path}/pipe & wait")
    # Nobody holds the other end any more.
    poll = select.poll()
    poll.register(reader, 0)
    assert poll.poll(30_000) == [(reader, select.POLLHUP)]
    os.close(reader)


def test_what_a_build_makes_is_judged_like_the_source(pack: Callable) -> None:
    with pytest.raises(ProjectError, match="the link frontend/out leaves the project"):
        pack("ln -s /etc out")
    with pytest.raises(ProjectError, match="django_app_static_root is frontend, where the project keeps source"):
        pack("touch made.py", static_root="frontend")


def test_virtualenvs_and_caches_that_a_build_makes_stay_behind_and_its_modes_and_links_are_kept(pack: Callable) -> None:
    script = "mkdir -p v/bin __pycache__; touch v/pyvenv.cfg v/bin/python __pycache__/a.pyc; ln -s theme.css link; touch run; chmod +x run"
    packed = pack(script)
    assert {name for name in contents(packed) if name.startswith("frontend/")} == {
        f"frontend/{name}" for name in ("theme.css", "link", "run")
    }
    with tarfile.open(packed["archive"]) as archive:
        assert archive.getmember("frontend/run").mode == 0o755
        assert archive.getmember("frontend/link").linkname == "theme.css"


def test_folders_that_a_project_serves_from_are_packed_when_nothing_is_excluded(pack: Callable) -> None:
    packed = contents(pack("mkdir node_modules; touch node_modules/left-pad.js", build_excludes=[]))
    assert "frontend/node_modules/left-pad.js" in packed


@pytest.mark.parametrize(
    "entry", [["npm", "ci"], {"command": ["npm", "ci"], "directory": "frontend"}, {"command": ["make"]}, ["seq", 3]]
)
def test_a_command_is_a_list_of_words_with_or_without_a_folder(entry: Any) -> None:
    assert command_problems("django_app_build_commands", [entry]) == []


@pytest.mark.parametrize(
    "entry",
    ["npm ci", ["npm ci"], [], {}, {"command": "npm ci"}, {"command": ["npm"], "folder": "x"}, ["npm", None], [True]],
)
def test_anything_else_is_refused_with_an_example(entry: Any) -> None:
    (sentence,) = command_problems("django_app_build_commands", [entry])
    assert sentence.startswith("django_app_build_commands holds ")
    assert "{command: [npm, ci], directory: frontend}" in sentence


def test_an_absolute_folder_is_refused() -> None:
    (sentence,) = command_problems("django_app_build_commands", [{"command": ["npm"], "directory": "/srv"}])
    assert "relative to manage.py's folder" in sentence
