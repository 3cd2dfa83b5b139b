"""Several files in one call: in their order, foretold, and no secret shown."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.stockpot.stack.plugins.modules import written_files

ROOT = Path(__file__).resolve().parent.parent
MINE = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Write files on this machine, as loud as Ansible gets."""

    def run(files: list[dict[str, Any]], *arguments: str) -> subprocess.CompletedProcess[str]:
        task = {"stockpot.stack.written_files": {"files": [MINE | file for file in files]}}
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
        (tmp_path / "play.yml").write_text(json.dumps([play]))
        return subprocess.run(
            ["ansible-playbook", "-vvv", "--diff", "--inventory=localhost,", *arguments, str(tmp_path / "play.yml")],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run


def test_each_file_is_there_when_the_next_is_validated_and_a_second_run_changes_nothing(
    write: Callable, tmp_path: Path
) -> None:
    first, second = tmp_path / "new/first", tmp_path / "new/second"
    files = [
        {"path": str(first), "content": "one\n"},
        {"path": str(second), "content": "one\n", "validate": f"cmp {first} %s", "mode": "0600"},
    ]
    assert "changed=1" in write(files, "--check").stdout
    assert not first.parent.exists()
    assert "changed=1" in write(files).stdout
    assert (first.read_text(), second.read_text(), second.stat().st_mode & 0o777) == ("one\n", "one\n", 0o600)
    assert "changed=0" in write(files).stdout


def test_what_is_refused_ends_it_and_names_the_file(write: Callable, tmp_path: Path) -> None:
    files = [
        {"path": str(tmp_path / "first"), "content": "one\n", "validate": "false %s"},
        {"path": str(tmp_path / "second"), "content": "two\n"},
    ]
    ran = write(files)
    assert ran.returncode != 0
    assert f"{tmp_path}/first is left as it was" in ran.stdout
    assert not (tmp_path / "first").exists()
    assert not (tmp_path / "second").exists()


def test_a_secret_is_written_and_not_shown(write: Callable, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old hunter2\n")
    ran = write([{"path": str(path), "secret_content": "new hunter3\n"}])
    assert ran.returncode == 0, ran.stdout
    assert path.read_text() == "new hunter3\n"
    assert "hunter" not in ran.stdout + ran.stderr


def test_a_file_without_content_is_refused(write: Callable, tmp_path: Path) -> None:
    assert write([{"path": str(tmp_path / "empty")}]).returncode != 0


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = [str(tmp_path / name) for name in ("written", "not")]
    file = MINE | {"path": there[0], "content": "x"}
    with patch_module_args({"files": [file], "look_for": there}), pytest.raises(SystemExit):
        written_files.main()
    assert json.loads(capsys.readouterr().out)["missing"] == there[1:]


@pytest.mark.parametrize("secret", ["one-line-of-secret", 'KEY="a secret of"\nTWO="several lines"\n'])
def test_no_secret_reaches_the_journal(secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(written_files.Module, "log", lambda self, message, log_args=None: logged.append(message))
    path = tmp_path / "environment"
    with (
        patch_module_args({"files": [MINE | {"path": str(path), "secret_content": secret}]}),
        pytest.raises(SystemExit),
    ):
        written_files.main()
    assert path.read_text() == secret
    assert logged == [f"Invoked for {path}"]


def test_a_file_that_is_held_back_is_said_to_differ_and_stays(write: Callable, tmp_path: Path) -> None:
    kept, other = tmp_path / "environment", tmp_path / "other"
    kept.write_text("old\n")
    files = [
        {"path": str(kept), "secret_content": "new\n", "hold": True},
        {"path": str(other), "content": "one\n"},
    ]
    said = write(files).stdout
    assert f"held:\n    - {kept}\n" in said
    assert f"written:\n    - {other}\n" in said
    assert (kept.read_text(), other.read_text()) == ("old\n", "one\n")
    kept.write_text("new\n")
    kept.chmod(0o644)
    assert "held: []" in write(files).stdout
