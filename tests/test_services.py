"""What is written is what runs: the files of services, and what the services need because of them."""

from __future__ import annotations

import getpass
import grp
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.testing import patch_module_args
from ansible_collections.stockpot.stack.plugins.module_utils import files
from ansible_collections.stockpot.stack.plugins.module_utils.supervisor import Supervisor
from ansible_collections.stockpot.stack.plugins.module_utils.systemctl import (
    ServiceError,
    State,
    Systemctl,
    Watch,
    plan,
    timestamp,
    unit_name,
)
from ansible_collections.stockpot.stack.plugins.modules import services

USER = getpass.getuser()
GROUP = grp.getgrgid(os.getgid()).gr_name
START = 1000.0  # when what runs was started, in seconds since 1970


def file(path: Path, content: str = "new\n", **keys: Any) -> files.File:
    return files.File(str(path), content, **{"owner": USER, "group": GROUP, **keys})


def write(given: files.File, tmp_path: Path, *, check_mode: bool = False) -> files.Outcome:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    outcome = files.write(given, scratch=str(scratch), check_mode=check_mode)
    assert not list(scratch.iterdir())
    return outcome


# Files


def test_a_file_is_written_with_its_folders_owner_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "a/b/c.conf"
    outcome = write(file(path, mode="0640"), tmp_path)
    assert (path.read_text(), path.stat().st_mode & 0o7777, path.owner()) == ("new\n", 0o640, USER)
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o755
    assert outcome.written
    assert (outcome.diff[0]["before"], outcome.diff[0]["after"]) == ("", "new\n")
    assert [found.name for found in path.parent.iterdir()] == ["c.conf"]


def test_a_file_that_is_as_it_should_be_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "c.conf"
    write(file(path), tmp_path)
    os.utime(path, (START, START))
    assert write(file(path), tmp_path) == files.Outcome()
    assert path.stat().st_mtime == START


def test_a_mode_alone_is_mended_and_is_no_other_content(tmp_path: Path) -> None:
    path = tmp_path / "c.conf"
    write(file(path), tmp_path)
    os.utime(path, (START, START))
    outcome = write(file(path, mode="0600"), tmp_path)
    assert (outcome.written, outcome.adjusted) == (False, True)
    assert "0644" in outcome.diff[0]["before"]
    assert "0600" in outcome.diff[0]["after"]
    assert (path.stat().st_mode & 0o7777, path.stat().st_mtime) == (0o600, START)


def test_what_is_refused_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "c.conf"
    write(file(path, "old\n"), tmp_path)
    with pytest.raises(files.FileError, match="line 1 is bad") as error:
        write(file(path, validate="sh -c 'cat %s; echo line 1 is bad; exit 3'"), tmp_path)
    assert "new" in str(error.value)
    assert path.read_text() == "old\n"


def test_what_is_refused_is_not_shown_where_it_is_secret(tmp_path: Path) -> None:
    with pytest.raises(files.FileError) as error:
        write(file(tmp_path / "c", "hunter2\n", secret=True, validate="sh -c 'cat %s; exit 3'"), tmp_path)
    assert "hunter2" not in str(error.value)
    assert not (tmp_path / "c").exists()


def test_what_is_accepted_was_seen_with_its_mode(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    write(
        file(tmp_path / "c.conf", mode="0604", validate=f"sh -c 'stat -c %a $0 >{seen}; cat $0 >>{seen}' %s"), tmp_path
    )
    assert seen.read_text() == "604\nnew\n"


def test_a_validation_without_a_place_for_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(files.FileError, match="no %s"):
        write(file(tmp_path / "c", validate="true"), tmp_path)


def test_check_mode_foretells_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a/c.conf"
    outcome = write(
        file(path, owner="nobody-yet", group="nobody-yet", validate="not-installed %s"), tmp_path, check_mode=True
    )
    assert outcome.written
    assert outcome.diff[0]["after"] == "new\n"
    assert not path.parent.exists()


def test_an_owner_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(files.FileError, match="nobody-yet, which does not exist"):
        write(file(tmp_path / "c", owner="nobody-yet"), tmp_path)


@pytest.mark.parametrize("mode", ["644", "416", "0888", "u=rw"])
def test_a_mode_that_means_something_else_is_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(files.FileError, match="mode"):
        write(file(tmp_path / "c", mode=mode), tmp_path)


def test_a_file_is_made_once_and_its_text_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = file(path, secret=True, mode="0600", made_by="sh -c 'echo hunter2 >$0' %s")
    foretold = write(key, tmp_path, check_mode=True)
    assert (foretold.written, path.exists()) == (True, False)
    made = write(key, tmp_path)
    assert (path.read_text(), path.stat().st_mode & 0o7777) == ("hunter2\n", 0o600)
    assert "hunter2" not in str([foretold.diff, made.diff])
    assert write(file(path, secret=True, mode="0600", made_by="false %s"), tmp_path) == files.Outcome()


def test_what_was_made_is_made_anew_when_it_may_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old\n")
    key = {"secret": True, "mode": "0600", "made_by": "sh -c 'echo new >$0' %s"}
    while_new = file(path, **key, kept_while="grep -q new %s")
    assert write(while_new, tmp_path, check_mode=True).written
    assert path.read_text() == "old\n"
    assert write(while_new, tmp_path).written
    assert (path.read_text(), path.stat().st_mode & 0o7777) == ("new\n", 0o600)
    assert write(while_new, tmp_path) == files.Outcome()


@pytest.mark.parametrize(
    ("command", "said"), [("sh -c 'echo no entropy; exit 4' %s", "4:\nno entropy"), ("true %s", "0"), ("true", "no %s")]
)
def test_what_cannot_be_made_is_said(tmp_path: Path, command: str, said: str) -> None:
    with pytest.raises(files.FileError, match=f"key cannot be made.*{said}"):
        write(file(tmp_path / "key", made_by=command), tmp_path)
    assert not (tmp_path / "key").exists()


def test_a_folder_is_as_young_as_the_youngest_below_it(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f").touch()
    for path, when in ((tmp_path / "d/e/f", 300), (tmp_path / "d/e", 200), (tmp_path / "d", 100)):
        os.utime(path, (when, when))
    assert files.written_at(str(tmp_path / "d")) == 300
    assert files.written_at(str(tmp_path / "d/e/f")) == 300
    assert files.written_at(str(tmp_path / "missing")) == 0


# States


def test_a_name_without_a_suffix_is_a_service() -> None:
    assert [unit_name(name) for name in ("redis-server", "postgresql@15-main", "shop-web.socket")] == [
        "redis-server.service",
        "postgresql@15-main.service",
        "shop-web.socket",
    ]


def test_times_are_read_to_the_microsecond() -> None:
    assert timestamp("Sat 2026-11-21 06:00:16.123456 UTC") == 1795240816.123456
    assert timestamp("Thu 1970-01-01 00:01:00 UTC") == 60
    assert timestamp("") == timestamp("n/a") == 0


def test_a_state_is_read_and_a_socket_starts_when_it_listens() -> None:
    state = State.read(
        "a.socket",
        "LoadState=loaded\nActiveState=active\nNeedDaemonReload=yes\nJob=17\nActiveEnterTimestampMonotonic=2500000\n"
        "InactiveExitTimestamp=Thu 1970-01-01 00:01:00.000000 UTC\nResult=a=b",
    )
    assert (state.started, state.needs_daemon_reload, state.has_job, state.active_since, state.result) == (
        60,
        True,
        True,
        2.5,
        "a=b",
    )


@pytest.mark.parametrize(
    ("state", "restart", "reload", "action"),
    [
        ({}, 999, 999, ""),
        ({}, 1001, 0, "restart"),
        ({}, 0, 1001, "reload"),
        ({}, 1001, 1001, "restart"),
        ({"changed": 1002.0}, 0, 1001, ""),
        ({"changed": 1002.0}, 1001, 0, "restart"),
        ({"active": "reloading"}, 0, 0, ""),
        ({"active": "activating", "sub": "auto-restart"}, 0, 0, "restart"),
        # It loads its data: another start would begin that anew.
        ({"active": "activating", "sub": "start"}, 999, 1001, "reload"),
        ({"active": "activating", "sub": "start"}, 999, 999, ""),
        ({"active": "activating", "sub": "start"}, 1001, 0, "restart"),
        ({"active": "deactivating"}, 0, 0, "restart"),
        ({"active": "inactive"}, 1001, 0, "start"),
        ({"active": "failed"}, 0, 0, "start"),
        ({"load": "not-found", "active": "inactive"}, 0, 0, "start"),
    ],
)
def test_what_a_service_needs(state: dict[str, Any], restart: float, reload: float, action: str) -> None:
    state = {"started": START, "changed": START, **state}
    assert State("a.service", **state).action({"restart": restart, "reload": reload}) == action


def test_a_socket_takes_its_service_along_and_comes_first() -> None:
    states = {unit: State(unit, started=START) for unit in ("b.service", "a.service", "a.socket")}
    assert plan(states, {"a.socket": {"restart": 1001}}).restart == ["a.socket", "a.service"]


def test_a_service_that_is_down_is_started_with_its_socket_not_restarted() -> None:
    states = {"a.service": State("a.service", active="inactive"), "a.socket": State("a.socket", active="inactive")}
    assert plan(states, {})[1:] == (["a.socket", "a.service"], [], [])


def test_what_starts_at_boot_by_other_means_is_not_enabled() -> None:
    enabled = {name: State(name, enabled=name) for name in ("enabled", "static", "enabled-runtime", "disabled", "")}
    assert plan(enabled, {}).enable == ["disabled", ""]


@pytest.mark.parametrize(
    ("state", "named"),
    [
        ({"invocation": "new", "active_since": 5.0}, {"settled"}),
        ({"invocation": "new", "active_since": 8.0}, set()),
        ({"invocation": "old", "active_since": 5.0}, set()),
        ({"invocation": "new", "active": "activating", "sub": "start"}, set()),
        ({"invocation": "new", "active": "activating", "sub": "auto-restart"}, {"ended"}),
        ({"invocation": "old", "active": "activating", "sub": "auto-restart"}, set()),
        ({"invocation": "new", "active": "failed"}, {"ended"}),
        ({"invocation": "old", "active": "inactive", "has_job": True}, set()),
        ({"unit": "a.socket", "invocation": "new", "active_since": 10.0}, {"settled"}),
    ],
)
def test_when_a_start_counts(state: dict[str, Any], named: set[str]) -> None:
    watch = Watch({"a.service": "old", "a.socket": "old"}, settle_seconds=3)
    seen = State(**{"unit": "a.service", **state})
    assert not watch.started_twice(seen)
    assert {
        name for name, holds in (("ended", watch.ended(seen)), ("settled", watch.settled(seen, 10.0))) if holds
    } == named


def test_a_second_start_is_noticed_though_it_is_up_at_every_look() -> None:
    watch = Watch({"a.service": "old"}, settle_seconds=3)
    assert [watch.started_twice(State("a.service", invocation=number)) for number in ("old", "1", "1", "2")] == [
        False,
        False,
        False,
        True,
    ]


# The module


class Fake(Systemctl):
    """systemctl with states of its own; what it is told to start runs, unless it is in `dying`."""

    def __init__(self, *states: State, dying: tuple[str, ...] = ()) -> None:
        self.states = {state.unit: state for state in states}
        self.dying = dying
        self.calls: list[list[str]] = []

    def _call(self, *words: str) -> tuple[int, str, str]:  # type: ignore[override]
        if words[0] == "journalctl":
            return 0, "the dog ate my settings\n", ""
        self.calls.append([word for word in words[1:] if word not in ("--", "--quiet", "--no-block")])
        if words[1] == "show":
            return 0, "\n\n".join(self.text(unit) for unit in words[words.index("--") + 1 :]), ""
        for unit in self.calls[-1][1:]:
            up = unit not in self.dying
            active = {"disable": "inactive", "start": "active", "restart": "active"}.get(words[1], "")
            if active:
                self.states[unit] = State(unit, active=active if up else "failed", invocation="new", exit_status="3")
        return 0, "", ""

    def text(self, unit: str) -> str:
        state = self.states.get(unit) or State(unit, load="not-found", active="inactive", enabled="")
        started = (
            f"Thu 1970-01-01 00:{int(state.started) // 60:02}:{int(state.started) % 60:02} UTC" if state.started else ""
        )
        return (
            f"LoadState={state.load}\nActiveState={state.active}\nSubState={state.sub}\nResult={state.result}\n"
            f"FragmentPath={' '.join(state.paths[:1])}\nDropInPaths={' '.join(state.paths[1:])}\n"
            f"UnitFileState={state.enabled}\nNeedDaemonReload={'yes' if state.needs_daemon_reload else 'no'}\n"
            f"InvocationID={state.invocation}\nExecMainStartTimestamp={started}\nExecMainStatus={state.exit_status}"
        )

    @property
    def done(self) -> list[list[str]]:
        return [call for call in self.calls if call[0] not in ("show", "reset-failed")]


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., services.Services]:
    """Runs the module's work on services: `call(systemctl, [service, ...], check_mode=True, state="written", ...)`."""
    (tmp_path / "units").mkdir()

    def run(
        systemctl: Systemctl, given: list[dict[str, Any]], *, check_mode: bool = False, **parameters: Any
    ) -> services.Services:
        owner = {"owner": USER, "group": GROUP}
        given = [{**s, "files": [{**owner, **entry} for entry in s.get("files", [])]} for s in given]
        result = ArgumentSpecValidator(services.ARGUMENTS).validate(
            {
                "services": given,
                "unit_directory": str(tmp_path / "units"),
                "program_directory": str(tmp_path / "programs"),
                "marked_directories": [],
                **parameters,
            }
        )
        assert not result.error_messages
        nobody = Supervisor(str(tmp_path / "no-supervisor"))
        work = services.Services(
            result.validated_parameters, systemctl, nobody, scratch=str(tmp_path), check_mode=check_mode
        )
        work.write()
        if parameters.get("state") == "written":
            work.files += work.pending()
        else:
            work.run()
        return work

    return run


def running(unit: str = "a.service", **keys: Any) -> State:
    return State(unit, started=START, changed=START, **keys)


def test_a_run_that_changes_nothing_asks_systemd_once(tmp_path: Path, call: Callable[..., services.Services]) -> None:
    conf = {"path": str(tmp_path / "a.conf"), "content": "x\n"}
    call(Fake(), [{"name": "a", "files": [conf]}])
    os.utime(tmp_path / "a.conf", (START - 1, START - 1))
    systemctl = Fake(running(), running("b.service"))
    work = call(systemctl, [{"name": "a", "files": [conf]}, {"name": "b"}])
    assert (work.units, work.files, work.diff) == ({}, [], [])
    assert [words[0] for words in systemctl.calls] == ["show"]


def test_what_this_call_writes_is_loaded_whatever_the_clock_says(
    tmp_path: Path, call: Callable[..., services.Services]
) -> None:
    systemctl = Fake(State("a.service", started=3000.0, changed=3000.0), State("b.service", started=3000.0))
    os.utime(tmp_path / "units", (START, START))
    work = call(
        systemctl,
        [
            {"name": "a", "files": [{"path": str(tmp_path / "a"), "content": "x", "loaded_by": "reload"}]},
            {"name": "b", "files": [{"path": str(tmp_path / "b"), "content": "x"}]},
        ],
    )
    assert systemctl.done == [["restart", "b.service"], ["reload", "a.service"]]
    assert work.units == {"a.service": "reloaded", "b.service": "restarted"}
    assert work.files == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_what_somebody_else_wrote_is_loaded_too(tmp_path: Path, call: Callable[..., services.Services]) -> None:
    (tmp_path / "environment").touch()
    systemctl = Fake(running(), running("b.service"))
    call(systemctl, [{"name": "a", "files": [{"path": str(tmp_path / "environment")}]}, {"name": "b"}])
    assert systemctl.done == [["restart", "a.service"]]


def test_systemd_itself_says_when_it_has_to_read_again(tmp_path: Path, call: Callable[..., services.Services]) -> None:
    systemctl = Fake(running(needs_daemon_reload=True))
    dropin = {"path": str(tmp_path / "a.service.d/x.conf"), "content": "[Service]\n", "loaded_by": "nothing"}
    call(systemctl, [{"name": "a", "files": [dropin]}])
    assert systemctl.done == [["daemon-reload"]]


@pytest.mark.parametrize("given", ["a@1.service", "a@1.service.d/x.conf", "a@.service.d/x.conf"])
def test_a_unit_file_or_drop_in_that_systemd_does_not_know_is_read(
    tmp_path: Path, call: Callable[..., services.Services], given: str
) -> None:
    package, own = "/lib/systemd/system/a@.service", str(tmp_path / "units" / given)
    service = {"name": "a@1", "files": [{"path": own, "content": UNIT, "loaded_by": "nothing"}]}
    for paths, done in (((package,), [["daemon-reload"]]), ((package, own), [])):
        systemctl = Fake(running("a@1.service", paths=paths))
        call(systemctl, [service])
        assert systemctl.done == done


def test_check_mode_foretells_a_bare_host(tmp_path: Path, call: Callable[..., services.Services]) -> None:
    systemctl = Fake()
    conf = {"path": str(tmp_path / "etc/a.conf"), "content": "x\n", "group": "nobody-yet"}
    work = call(systemctl, [{"name": "a", "files": [conf]}], check_mode=True)
    assert work.units == {"a.service": "started"}
    assert [entry["after"] for entry in work.diff] == ["x\n", "started\n"]
    assert systemctl.done == []
    assert not (tmp_path / "etc").exists()


def test_written_says_which_phases_have_something_to_do(tmp_path: Path, call: Callable[..., services.Services]) -> None:
    systemctl = Fake(running(), running("b.service"), running("c.service"))
    conf = {"path": str(tmp_path / "conf"), "content": "x\n"}
    work = call(
        systemctl,
        [
            {"name": "c", "phase": "web", "files": [conf]},
            {"name": "b", "phase": "scheduler"},
            {"name": "a", "phase": "workers", "files": [conf]},
        ],
        state="written",
    )
    assert work.files == [str(tmp_path / "conf"), "web", "workers"]
    assert systemctl.done == []


def test_a_check_of_what_is_written_foretells_what_is_run_then(
    tmp_path: Path, call: Callable[..., services.Services]
) -> None:
    (tmp_path / "environment").touch()
    service = {"name": "a", "files": [{"path": str(tmp_path / "environment")}]}
    for check_mode, foretold in ((True, ["to be restarted\n"]), (False, [])):
        work = call(Fake(running()), [service], state="written", check_mode=check_mode)
        assert [entry["after"] for entry in work.diff] == foretold


def test_a_service_that_dies_is_shown_with_its_journal(call: Callable[..., services.Services]) -> None:
    with pytest.raises(ServiceError, match=r"a\.service ended right after it was started") as error:
        call(Fake(dying=("a.service",)), [{"name": "a"}])
    assert "the dog ate my settings" in str(error.value)
    assert "exit status 3" in str(error.value)


def test_what_is_replaced_goes_when_everything_is_written(
    tmp_path: Path, call: Callable[..., services.Services]
) -> None:
    for name in ("key.old", "key.new", "other"):
        (tmp_path / name).write_text("x\n")
    key = {"path": str(tmp_path / "key.new"), "content": "x\n", "replaces": str(tmp_path / "key.*")}

    def there() -> set[str]:
        return {path.name for path in tmp_path.iterdir()} - {"units"}

    refused = {"path": str(tmp_path / "conf"), "content": "x\n", "validate": "false %s"}
    with pytest.raises(files.FileError):
        call(Fake(), [{"name": "a", "files": [key, refused]}])
    assert there() == {"key.old", "key.new", "other"}
    assert call(Fake(), [{"name": "a", "files": [key]}], check_mode=True).files == [str(tmp_path / "key.old")]
    assert there() == {"key.old", "key.new", "other"}
    assert call(Fake(), [{"name": "a", "files": [key]}]).files == [str(tmp_path / "key.old")]
    assert there() == {"key.new", "other"}


def test_a_file_that_replaces_itself_goes_when_it_has_no_content(
    tmp_path: Path, call: Callable[..., services.Services]
) -> None:
    path = str(tmp_path / "reload.conf")
    for content, is_there in (({"content": "x\n"}, True), ({}, False), ({}, False)):
        entry = {"path": path, "replaces": path, **content}
        changed = Path(path).exists() is not is_there
        assert call(Fake(), [{"name": "a", "files": [entry]}]).files == ([path] if changed else [])
        assert Path(path).exists() is is_there


def test_a_file_has_one_origin(call: Callable[..., services.Services]) -> None:
    for entry in ({"content": "x"}, {"made_by": "true %s"}):
        given = {"services": [{"name": "a", "files": [{"path": "/a", "secret_content": "x", **entry}]}]}
        assert "mutually exclusive" in str(ArgumentSpecValidator(services.ARGUMENTS).validate(given).error_messages)


def test_one_file_of_two_services_has_one_content(tmp_path: Path, call: Callable[..., services.Services]) -> None:
    conf = {"path": str(tmp_path / "conf"), "content": "x\n"}
    call(Fake(), [{"name": "a", "files": [conf]}, {"name": "b", "files": [conf]}])
    with pytest.raises(ServiceError, match="given twice"):
        call(Fake(), [{"name": "a", "files": [conf]}, {"name": "b", "files": [{**conf, "content": "y\n"}]}])


UNIT = "[Unit]\nX-Application=shop\n"


def test_marked_units_that_are_no_longer_given_are_removed_and_others_stay(
    tmp_path: Path, call: Callable[..., services.Services]
) -> None:
    units = tmp_path / "units"
    for name, text in (
        ("old.service", f"{UNIT}X-OwnFile={tmp_path}/old.environment\n"),
        ("old.socket", UNIT),
        ("foreign.service", "[Unit]\n"),
        ("other.txt", UNIT),
    ):
        (units / name).write_text(text)
    own = tmp_path / "old.environment"
    own.write_text("KEY=value\n")
    systemctl = Fake(running("old.service"), running("old.socket"))
    service = {"name": "new", "files": [{"path": str(units / "new.service"), "content": UNIT}]}
    for check_mode in (True, False):
        work = call(systemctl, [service], application="shop", state="written", check_mode=check_mode)
        assert {unit for unit, event in work.units.items() if event == "removed"} == {"old.service", "old.socket"}
        assert own.exists() == check_mode
    assert systemctl.done[0] == ["disable", "--now", "old.socket", "old.service"]
    assert {path.name for path in units.iterdir()} == {"new.service", "foreign.service", "other.txt"}


def test_one_of_an_application_s_processes_may_go_alone(tmp_path: Path, call: Callable[..., services.Services]) -> None:
    """As Beat does before another host has it."""
    units, programs, marked = (tmp_path / name for name in ("units", "programs", "marked"))
    for folder in (programs, marked):
        folder.mkdir()
    (marked / "shared.conf").write_text("; X-Application=shop\n")
    (units / "shop-beat.service").write_text(UNIT)
    (units / "shop-web.service").write_text(UNIT)
    (programs / "shop-mail.conf").write_text("; X-Application=shop\n")
    systemctl = Fake(running("shop-beat.service"), running("shop-web.service"))
    work = call(
        systemctl, [], application="shop", remove_only=["shop-beat"], marked_directories=[str(marked)], state="written"
    )
    assert work.units == {"shop-beat.service": "removed"}
    assert systemctl.done[0] == ["disable", "--now", "shop-beat.service"]
    assert {path.name for folder in (units, programs, marked) for path in folder.iterdir()} == {
        "shop-web.service",
        "shop-mail.conf",
        "shared.conf",
    }


def test_somebody_elses_unit_is_refused_and_an_own_one_is_not(
    tmp_path: Path, call: Callable[..., services.Services]
) -> None:
    unit = tmp_path / "units/a.service"
    service = {"name": "a", "files": [{"path": str(unit), "content": UNIT}]}
    unit.write_text("[Unit]\n")
    with pytest.raises(ServiceError, match="not marked as a unit of shop"):
        call(Fake(), [service], application="shop")
    assert unit.read_text() == "[Unit]\n"
    call(Fake(), [service])
    call(Fake(), [service], application="shop")


@pytest.fixture
def module_output(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs the module as Ansible does and returns its output and what it logged."""
    logged: list[str] = []
    monkeypatch.setattr(services.Module, "log", lambda self, text, log_args=None: logged.append(f"{text} {log_args}"))
    monkeypatch.setattr(services, "Systemctl", lambda: Fake(running()))

    def run(**arguments: Any) -> tuple[str, str]:
        arguments = {"_ansible_diff": True, "_ansible_tmpdir": str(tmp_path), **arguments}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            services.main()
        return capsys.readouterr().out, "".join(logged)

    return run


def test_a_secret_is_in_no_output_and_no_text_in_the_journal(tmp_path: Path, module_output: Any) -> None:
    owner = {"owner": USER, "group": GROUP}
    given = [
        {"path": str(tmp_path / "users"), "secret_content": "user hunter2\n", **owner},
        {"path": str(tmp_path / "short"), "secret_content": "a", **owner},
        {"path": str(tmp_path / "conf"), "content": "port 6379\n", **owner},
    ]
    output, logged = module_output(services=[{"name": "a", "files": given}])
    result = json.loads(output)
    assert result["changed"]
    assert result["units"] == {"a.service": "restarted"}, "innocent text is not masked"
    assert (tmp_path / "users").read_text() == "user hunter2\n"
    assert "hunter2" not in output + logged
    assert "port 6379" in json.dumps(result["diff"])
    assert "port 6379" not in json.dumps(result["invocation"]) + logged
    assert "a (running)" in logged
