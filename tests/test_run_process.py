"""The program that becomes one of supervisor's: the variables it reads and what it becomes."""

from __future__ import annotations

import argparse
import getpass
import grp
import importlib.machinery
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import environment_value

PROGRAM = Path(__file__).resolve().parent.parent / "roles/process_manager/files/run-process"
GROUP = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture(scope="module")
def run_process() -> Any:
    """The program as a module."""
    loader = importlib.machinery.SourceFileLoader("run_process", str(PROGRAM))
    spec = importlib.util.spec_from_loader("run_process", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def given(run_process: Any, *options: str) -> argparse.Namespace:
    required = ["--name", "shop-a", "--user", getpass.getuser(), "--group", GROUP, "--stop", "60 TERM 90"]
    return run_process.arguments().parse_args([*required, *options, "--", "/bin/true", "--flag"])


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "a b",
        ' "quoted" ',
        "it's",
        "back\\slash",
        "$HOME `x`",
        "two\nlines\n",
        "",
        "#no comment",
        "ä € 🥘",
        "a\\",
    ],
)
def test_what_the_roles_write_is_read_as_it_was_given(run_process: Any, value: str) -> None:
    text = f"A=before\nVALUE={environment_value(value)}\nZ=after\n"
    assert run_process.parsed(text) == {"A": "before", "VALUE": value, "Z": "after"}


# What systemd 252 and 257 make of each, which the scenario process_manager holds against the real one.
WRITTEN_BY_HAND = {
    "A=1\nA=2\n": {"A": "2"},
    "A=no newline": {"A": "no newline"},
    "  A =  with blanks  \n": {"A": "with blanks"},
    "A='single $x \\n'\n": {"A": "single $x \\n"},
    'A="double \\n \\" \\\\ \\$ \\x"\n': {"A": 'double \\n " \\ $ \\x'},
    "A=one\\\ntwo\n": {"A": "onetwo"},
    'A="one\\\ntwo"\n': {"A": "onetwo"},
    'A="one\ntwo"\n': {"A": "one\ntwo"},
    "A='one'\"two\"three\n": {"A": "onetwothree"},
    'A="a " \n': {"A": "a "},
    "A=a 'b' \"c\"\n": {"A": "a 'b' \"c\""},
    "A=a\\ \nB=\\\\x\n": {"A": "a ", "B": "\\x"},
    "# comment\n; comment\nA=1 # none\n": {"A": "1 # none"},
    "export A=1\n1A=1\nA-B=1\nno assignment\nB=2\n": {"B": "2"},
    "A=\nB=''\n": {"A": "", "B": ""},
    "A=x\r\nB=y\r\n": {"A": "x", "B": "y"},
    "A=a=b\n": {"A": "a=b"},
    'A="unclosed\nB=1\n': {"A": "unclosed\nB=1\n"},
    "A=tab\tin it\t\n": {"A": "tab\tin it"},
    "\n\n   \nA=1\n": {"A": "1"},
}


@pytest.mark.parametrize("text", WRITTEN_BY_HAND)
def test_what_an_operator_writes_is_read_as_systemd_reads_it(run_process: Any, text: str) -> None:
    assert run_process.parsed(text) == WRITTEN_BY_HAND[text]


def test_a_later_file_wins_and_nothing_else_of_supervisors_own_is_passed_on(
    run_process: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, text in enumerate(("A=1\nB=1\n", "B=2\n")):
        (tmp_path / str(number)).write_text(text)
    monkeypatch.setenv("SUPERVISOR_SERVER_URL", "unix:///run/supervisor.sock")
    files = [word for number in "01" for word in ("--environment-file", str(tmp_path / number))]
    found = run_process.environment(given(run_process, *files, "--state-directory", "shop"))
    assert (found["A"], found["B"], found["STATE_DIRECTORY"]) == ("1", "2", "/var/lib/shop")
    assert (found["USER"], found["HOME"]) == (getpass.getuser(), str(Path(f"~{getpass.getuser()}").expanduser()))
    assert "SUPERVISOR_SERVER_URL" not in found


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), (b"A=\xff\n", "no text"), (b"A=x\0y", "no text")]
)
def test_a_file_that_cannot_be_read_is_named_and_nothing_of_it_shown(
    run_process: Any, tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "environment"
    if content is not None:
        path.write_bytes(b"SECRET=hunter2\n" + content)
    with pytest.raises(SystemExit) as error:
        run_process.environment(given(run_process, "--environment-file", str(path)))
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "hunter2" not in str(error.value)


def test_it_becomes_the_command_with_no_rights_in_a_scope_with_the_limits(run_process: Any) -> None:
    words = run_process.command(given(run_process, "--memory-max", "64M", "--cpu-max", "50%"), systemd=252)
    assert words[0] == "/usr/bin/systemd-run"
    assert {"--scope", "--unit=shop-a.scope", "--property=MemoryMax=64M", "--property=CPUQuota=50%"} <= set(words)
    assert {"--no-new-privs", "--bounding-set=-all", "--pdeathsig=TERM", f"--regid={GROUP}"} <= set(words)
    assert words[-3:] == ["--", "/bin/true", "--flag"]


def test_a_child_that_the_kernel_kills_does_not_end_its_scope(run_process: Any) -> None:
    """Older ones leave a scope alone, and refuse the property."""
    [of_252, of_257] = [run_process.command(given(run_process), systemd=version) for version in (252, 257)]
    assert set(of_257) - set(of_252) == {"--property=OOMPolicy=continue"}


def test_without_systemd_there_is_no_scope(run_process: Any) -> None:
    assert run_process.command(given(run_process, "--no-scope"), systemd=0)[0] == "/usr/bin/setpriv"
