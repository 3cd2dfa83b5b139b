"""Programs under a real supervisord: only what changed restarts, what is gone is stopped, others' programs go on."""

from __future__ import annotations

import getpass
import grp
import json
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.stockpot.stack.plugins.module_utils.files import written_at
from ansible_collections.stockpot.stack.plugins.module_utils.supervisor import started_at
from ansible_collections.stockpot.stack.plugins.module_utils.systemctl import ServiceError
from ansible_collections.stockpot.stack.plugins.modules import services
from ansible_collections.stockpot.stack.plugins.plugin_utils import units
from supervisord import Running, supervisord
from test_services import Fake

ROLE = Path(__file__).resolve().parent.parent / "roles/process_manager"
OWNER = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
PROGRAM = """; X-Application={application}
[program:{name}]
command={command}
startsecs=1
stopwaitsecs=30
redirect_stderr=true
stdout_logfile=%(here)s/../{name}.log
"""
IDLE = "/usr/bin/sleep 3600"


@pytest.fixture(scope="module")
def foreign() -> str:
    """Somebody else's program."""
    return "[program:theirs]\ncommand=/usr/bin/sleep 3600\nstartsecs=0\n"


@pytest.fixture
def running(foreign: str) -> Iterator[Running]:
    """A supervisord that runs somebody else's program."""
    with supervisord(theirs=foreign) as running:
        yield running


@pytest.fixture
def systemctl() -> Fake:
    """The systemd beside supervisor, for `call`."""
    return Fake()


@pytest.fixture
def call(running: Running, systemctl: Fake, tmp_path: Path) -> Callable[..., services.Services]:
    """Runs the module's work on programs: `call({"a": IDLE}, application="shop")`; a value may be a whole service."""
    (tmp_path / "units").mkdir()

    def run(
        given: dict[str, Any], *, application: str = "shop", check_mode: bool = False, **parameters: Any
    ) -> services.Services:
        entries = []
        for name, found in given.items():
            service = found if isinstance(found, dict) else {"command": found}
            text = PROGRAM.format(application=application, name=name, command=service.pop("command", IDLE))
            path = str(running.programs / f"{name}.conf")
            entries.append(
                {
                    "name": name,
                    "manager": "supervisor",
                    **service,
                    "files": [{**OWNER, "path": path, "content": text}, *service.get("files", [])],
                }
            )
        result = ArgumentSpecValidator(services.ARGUMENTS).validate(
            {
                "services": entries,
                "application": application,
                "unit_directory": str(tmp_path / "units"),
                "program_directory": str(running.programs),
                "marked_directories": [str(tmp_path)],
                **parameters,
            }
        )
        assert not result.error_messages
        work = services.Services(
            result.validated_parameters, systemctl, running.supervisor, scratch=str(tmp_path), check_mode=check_mode
        )
        work.write()
        if parameters.get("state") == "written":
            work.files += work.pending()
        else:
            work.run()
        return work

    return run


def test_programs_start_and_a_repeated_call_does_nothing(
    running: Running, call: Callable[..., services.Services]
) -> None:
    first = call({"shop-a": IDLE, "shop-b": IDLE})
    assert first.units == {"shop-a": "started", "shop-b": "started"}
    pids = [running.pid(name) for name in ("shop-a", "shop-b", "theirs")]
    assert 0 not in pids
    second = call({"shop-a": IDLE, "shop-b": IDLE})
    assert (second.units, second.files, second.diff) == ({}, [], [])
    assert [running.pid(name) for name in ("shop-a", "shop-b", "theirs")] == pids


def test_only_what_changed_restarts_and_with_what_is_written(
    running: Running, call: Callable[..., services.Services], tmp_path: Path
) -> None:
    variables = tmp_path / "environment"
    variables.write_text("A=1\n")
    os.utime(variables, (0, 0))
    given: dict[str, Any] = {
        "shop-a": IDLE,
        "shop-b": {"files": [{**OWNER, "path": str(variables)}]},
        "shop-c": IDLE,
    }
    call({name: dict(found) if isinstance(found, dict) else found for name, found in given.items()})
    before = {name: running.pid(name) for name in (*given, "theirs")}
    os.utime(variables)
    work = call({**given, "shop-a": "/usr/bin/sleep 3601"})
    after = {name: running.pid(name) for name in (*given, "theirs")}
    assert {name for name in before if before[name] != after[name]} == {"shop-a", "shop-b"}
    assert work.units == {"shop-a": "restarted", "shop-b": "restarted"}
    assert Path(f"/proc/{after['shop-a']}/cmdline").read_text().split("\0")[1] == "3601"


def test_a_file_that_somebody_wrote_without_loading_it_is_loaded(
    running: Running, call: Callable[..., services.Services]
) -> None:
    """As a run leaves it that was cut off after the files."""
    call({"shop-a": IDLE})
    assert call({"shop-a": "/usr/bin/sleep 3601"}, state="written", settle_seconds=0).files[-1] == ""
    assert Path(f"/proc/{running.pid('shop-a')}/cmdline").read_text().split("\0")[1] == "3600"
    assert call({"shop-a": "/usr/bin/sleep 3601"}).units == {"shop-a": "restarted"}
    assert Path(f"/proc/{running.pid('shop-a')}/cmdline").read_text().split("\0")[1] == "3601"


def test_what_somebody_stopped_is_started(running: Running, call: Callable[..., services.Services]) -> None:
    call({"shop-a": IDLE})
    running.supervisor.call("stopProcess", "shop-a")
    assert call({"shop-a": IDLE}).units == {"shop-a": "started"}
    assert running.pid("shop-a")


def test_what_is_no_longer_given_is_stopped_gracefully_and_removed_with_its_own_files(
    running: Running, call: Callable[..., services.Services], tmp_path: Path
) -> None:
    own = tmp_path / "own.environment"
    own.write_text("A=1\n")
    done = tmp_path / "done"
    graceful = f"/bin/sh -c \"trap 'echo ended >{done}; exit' TERM; echo up >{done}; while :; do sleep 0.1; done\""
    call({"shop-a": graceful, "shop-b": IDLE})
    wait_for(lambda: done.exists())
    path = running.programs / "shop-a.conf"
    path.write_text(f"; X-OwnFile={own}\n{path.read_text()}")
    before = running.pid("shop-b"), running.pid("theirs")
    os.utime(running.programs / "shop-b.conf", (0, 0))
    work = call({"shop-b": IDLE})
    assert work.units == {"shop-a": "removed"}
    assert done.read_text() == "ended\n"
    assert (path.exists(), own.exists()) == (False, False)
    assert running.supervisor.show(["shop-a"])["shop-a"].state == ""
    assert (running.pid("shop-b"), running.pid("theirs")) == before


def test_an_own_file_that_a_service_still_has_stays(
    call: Callable[..., services.Services], systemctl: Fake, tmp_path: Path
) -> None:
    """A process that goes over from systemd keeps its variables."""
    own = tmp_path / "own.environment"
    unit = tmp_path / "units/shop-a.service"
    unit.write_text(f"[Unit]\nX-Application=shop\nX-OwnFile={own}\n")
    call({"shop-a": {"files": [{**OWNER, "path": str(own), "secret_content": "A=1\n"}]}})
    assert (unit.exists(), own.exists()) == (False, True)
    assert ["disable", "--now", "shop-a.service"] in systemctl.done


def test_a_unit_is_stopped_before_the_file_of_its_program_is_written(
    running: Running, call: Callable[..., services.Services], systemctl: Fake, tmp_path: Path
) -> None:
    """supervisor, should it be started meanwhile, starts what it finds."""
    (tmp_path / "units/shop-a.service").write_text("X-Application=shop\n")
    seen = []

    def look(*words: str) -> tuple[int, str, str]:
        if words[1] == "disable":
            seen.append((running.programs / "shop-a.conf").exists())
        return Fake._call(systemctl, *words)

    systemctl._call = look
    call({"shop-a": IDLE})
    assert seen == [False]


def test_the_last_program_takes_along_what_all_share(running: Running, call: Callable[..., services.Services]) -> None:
    """After it has stopped: what all share may have a part in that."""
    shared = running.programs / "listener.conf"
    call({"shop-a": IDLE})
    call({"blog-a": IDLE}, application="blog")
    shared.write_text(PROGRAM.format(application="*", name="listener", command=IDLE))
    running.supervisor.start(["listener"])
    running.wait_for("listener", "RUNNING")
    assert call({}).units == {"shop-a": "removed"}
    gone = call({}, application="blog")
    assert list(gone.units.items()) == [("blog-a", "removed"), ("listener", "removed")]
    assert sorted(path.name for path in running.programs.iterdir()) == ["theirs.conf"]
    assert running.pid("theirs")


def test_a_marked_file_that_no_service_has_is_removed(call: Callable[..., services.Services], tmp_path: Path) -> None:
    """Such as the drop-in of supervisor's own unit."""
    texts = {"shop": "# X-Application=shop\n", "blog": "# X-Application=blog\n", "other": "# nobody's\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    foretold = call({}, check_mode=True)
    assert (tmp_path / "shop").exists()
    assert foretold.files == call({}).files == [str(tmp_path / "shop")]
    assert [name for name in texts if (tmp_path / name).exists()] == ["blog", "other"]


def test_check_mode_foretells_and_changes_nothing(running: Running, call: Callable[..., services.Services]) -> None:
    call({"shop-a": IDLE, "shop-b": IDLE})
    before = {name: running.pid(name) for name in ("shop-a", "shop-b")}
    texts = {path.name: path.read_text() for path in running.programs.iterdir()}
    work = call({"shop-a": "/usr/bin/sleep 1", "shop-c": IDLE}, check_mode=True, state="written")
    assert work.units == {"shop-a": "written", "shop-b": "removed", "shop-c": "written"}
    told = {entry["before_header"]: entry["after"] for entry in work.diff}
    assert (told["shop-a"], told["shop-c"]) == ("to be restarted\n", "to be started\n")
    assert {name: running.pid(name) for name in before} == before
    assert {path.name: path.read_text() for path in running.programs.iterdir()} == texts


def test_a_program_that_dies_at_once_is_shown_with_its_log(call: Callable[..., services.Services]) -> None:
    dying = "/bin/sh -c 'echo the dog ate my settings >&2; exit 3'"
    with pytest.raises(ServiceError, match="shop-a ended right after it was started") as error:
        call({"shop-a": dying})
    assert "the dog ate my settings" in str(error.value)


def test_somebody_elses_program_is_refused(running: Running, call: Callable[..., services.Services]) -> None:
    with pytest.raises(ServiceError, match="not marked as a program of shop"):
        call({"theirs": IDLE})
    assert "X-Application" not in (running.programs / "theirs.conf").read_text()


def test_a_configuration_that_supervisor_refuses_is_told(
    running: Running, call: Callable[..., services.Services]
) -> None:
    (running.programs / "broken.conf").write_text("[program:broken]\n")
    with pytest.raises(ServiceError, match="supervisor does not take its configuration"):
        call({"shop-a": IDLE})


def test_the_time_of_a_start_fits_the_times_of_files(running: Running, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.touch()
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    try:
        # Longer than a tick.
        time.sleep(0.05)
        after.touch()
        assert written_at(str(before)) <= started_at(pid) <= written_at(str(after))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


TEXTS = [
    "a b",
    'say "hi"',
    "back\\slash",
    "it's",
    "100%",
    "%(here)s",
    "$HOME",
    "semi;colon",
    "",
    "a ; b",
    "a\t#b",
    "#",
    ";c",
]


@pytest.fixture(scope="module")
def commands() -> dict[str, list[str]]:
    """The words of the commands of programs that are given each of the texts, as supervisor itself reads and splits them, by text."""
    programs = {}
    for number, text in enumerate(TEXTS):
        definition = {
            "name": f"a{number}",
            "phase": "workers",
            "command": ["/bin/echo", text],
            "user": "shop",
            "directory": "/",
            "environment_files": [f"/etc/shop/{text}"],
        }
        rendered = units.process_services([definition], "shop", str(ROLE), "supervisor")[-1]["files"][0]["content"]
        for at_home, here in (("autostart=true", "autostart=false"), ("/var/log/shop/", "{folder}/")):
            assert at_home in rendered
            rendered = rendered.replace(at_home, here)
        programs[f"shop-a{number}"] = rendered
    with supervisord(**programs) as running:
        found = {each["name"]: shlex.split(each["command"]) for each in running.supervisor.call("getAllConfigInfo")}
    return {text: found[f"shop-a{number}"] for number, text in enumerate(TEXTS)}


@pytest.mark.parametrize("text", TEXTS)
def test_every_argument_reaches_the_program_as_it_stands(commands: dict[str, list[str]], text: str) -> None:
    words = commands[text]
    assert words[words.index("--") + 1 :] == ["/bin/echo", text]
    assert f"/etc/shop/{text}" in words


LISTENER = """
import importlib.machinery, importlib.util, sys
from pathlib import Path
loader = importlib.machinery.SourceFileLoader("stop", {program!r})
stop = importlib.util.module_from_spec(importlib.util.spec_from_loader("stop", loader))
loader.exec_module(stop)
stop.STOP_WORDS, stop.MARKS = Path({folder!r}, "words"), Path({folder!r}, "marks")
stop.STOP_PROGRAM, stop.SOCKET = {stop_program!r}, {folder!r} + "/socket"
{{"listen": stop.listen, "all": stop.stop_all}}[sys.argv[1]]()
"""
DEAF = """
import signal, sys, pathlib, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def leave(*_):
    pathlib.Path(sys.argv[1]).write_text("given back")
    sys.exit()
signal.signal(signal.SIGQUIT, leave)
print("up", flush=True)
while True:
    time.sleep(60)
"""


@pytest.fixture
def stopping() -> Iterator[Running]:
    """A supervisord with the event listener and two programs that end on SIGQUIT alone, which comes after five seconds."""
    python = sys.executable
    program = f"command={python} {{folder}}/deaf.py {{folder}}/{{{{name}}}}.quit\nstartsecs=1\nstopwaitsecs=60\n"
    with supervisord() as running:
        folder = running.folder
        for name in ("words", "marks"):
            (folder / name).mkdir()
        (folder / "deaf.py").write_text(DEAF)
        (folder / "stop.py").write_text(
            LISTENER.format(
                program=str(ROLE / "files/supervisor-stop"),
                stop_program=str(ROLE / "files/stop-process"),
                folder=str(folder),
            )
        )
        listener = (ROLE / "files/stockpot-stop.conf").read_text()
        command = "command=/usr/local/lib/stockpot/supervisor-stop listen"
        assert command in listener
        (running.programs / "stockpot-stop.conf").write_text(
            listener.replace(command, f"command={python} {folder}/stop.py listen")
        )
        for name in ("deaf", "dumb"):
            (folder / "words" / name).write_text("60 TERM 5 QUIT 50\n")
            text = program.format(folder=folder).format(name=name)
            (running.programs / f"{name}.conf").write_text(f"[program:{name}]\n{text}")
        running.supervisor.start(["stockpot-stop", "deaf", "dumb"])
        for name in ("stockpot-stop", "deaf", "dumb"):
            running.wait_for(name, "RUNNING")
        for name in ("deaf", "dumb"):
            wait_for(lambda name=name: running.supervisor.log(name).split() == ["up"])
        yield running


def test_what_does_not_end_in_time_gets_the_quit_signal_and_is_marked_meanwhile(stopping: Running) -> None:
    """Supervisor itself knows one signal, then SIGKILL."""
    mark = stopping.folder / "marks/deaf"
    stopping.supervisor.call("stopProcess", "deaf", False)
    wait_for(mark.exists)
    assert float(mark.read_text()) > time.time()
    stopping.wait_for("deaf", "STOPPED")
    assert (stopping.folder / "deaf.quit").read_text() == "given back"
    wait_for(lambda: not mark.exists())
    assert not (stopping.folder / "dumb.quit").exists()


def test_at_the_end_of_supervisor_all_are_stopped_side_by_side_and_get_their_second_signal(stopping: Running) -> None:
    """Supervisor itself stops one group after the other. Somebody else's go on until it does."""
    (stopping.programs / "theirs.conf").write_text("[program:theirs]\ncommand=/usr/bin/sleep 3600\nstartsecs=0\n")
    stopping.supervisor.start(["theirs"])
    stopping.wait_for("theirs", "RUNNING")
    script = str(stopping.folder / "stop.py")
    pid = os.posix_spawn(sys.executable, [sys.executable, script, "all"], dict(os.environ))
    stopping.wait_for("deaf", "STOPPING")
    stopping.wait_for("dumb", "STOPPING")
    assert os.waitpid(pid, 0)[1] == 0
    states = stopping.supervisor.show(["deaf", "dumb", "theirs"])
    assert [state.state for state in states.values()] == ["STOPPED", "STOPPED", "RUNNING"]
    assert [(stopping.folder / f"{name}.quit").exists() for name in ("deaf", "dumb")] == [True, True]


SERVER = """
import os, signal, socket, sys
listener = socket.socket(fileno=0)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
while True:
    connection, _ = listener.accept()
    connection.sendall(b"%d" % os.getpid())
    connection.close()
"""


def test_supervisor_closes_the_socket_of_a_program_that_stops() -> None:
    """Why the web server's socket is systemd's: a restart under supervisor refuses connections."""
    text = (
        "[fcgi-program:web]\nsocket=unix://{folder}/web.sock\n"
        f"command={sys.executable} {{folder}}/server.py\nstartsecs=1\n"
    )
    with supervisord() as running:
        (running.folder / "server.py").write_text(SERVER)
        (running.programs / "web.conf").write_text(text.format(folder=running.folder))
        running.supervisor.start(["web"])
        running.wait_for("web", "RUNNING")
        path = str(running.folder / "web.sock")
        assert asked(path)
        running.supervisor.call("stopProcess", "web:web")
        with pytest.raises(OSError, match=r"refused|No such file"):
            asked(path)


def asked(path: str) -> bytes:
    """What a socket answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(path)
        return client.recv(100)


def wait_for(condition: Callable[[], Any]) -> None:
    """Until a condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_module_says_what_pends_of_programs(call: Callable[..., services.Services]) -> None:
    given = {"shop-a": {"phase": "workers"}, "shop-b": {"phase": "scheduler"}}
    work = call(json.loads(json.dumps(given)), state="written")
    assert work.files[-2:] == ["workers", "scheduler"]
