"""Process definitions as systemd units."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.stockpot.stack.plugins.modules import systemd_processes as units


def definition(**keys: Any) -> dict[str, Any]:
    """A definition with its defaults filled in, as Ansible does it."""
    given = {"name": "a", "phase": "workers", "command": ["/bin/true"], "user": "shop", "directory": "/srv", **keys}
    result = ArgumentSpecValidator(units.ARGUMENTS).validate(
        {"application": "shop", "state": "configured", "definitions": [given]}
    )
    assert not result.error_messages
    return result.validated_parameters["definitions"][0]


def lines(**keys: Any) -> list[str]:
    return units.render_service(definition(**keys), "shop").splitlines()


def test_a_unit_says_whose_it_is_and_who_wrote_it() -> None:
    text = lines()
    assert text[0] == "# Managed by Ansible, role process_manager. Changes here are overwritten."
    assert "X-Application=shop" in text
    assert text.index("X-Application=shop") < text.index("[Service]")


def test_a_misspelt_key_is_refused() -> None:
    result = ArgumentSpecValidator(units.ARGUMENTS).validate(
        {"application": "shop", "state": "configured", "definitions": [{**definition(), "memory_maximum": "1G"}]}
    )
    assert "memory_maximum" in " ".join(result.error_messages)


@pytest.mark.parametrize(
    "text", ["a b", 'say "hi"', "back\\slash", "it's", "100%", "$HOME", "semi;colon", "", "tab\there", "%h"]
)
def test_every_argument_reaches_the_program_as_it_stands(text: str) -> None:
    """Undoes systemd's own rules: quotes, backslashes, then %% and $$."""
    word = units.quote_argument(text)
    inner = word[1:-1] if word.startswith('"') else word
    for escaped, plain in (("\\t", "\t"), ('\\"', '"'), ("\\\\", "\\"), ("%%", "%"), ("$$", "$")):
        inner = inner.replace(escaped, plain)
    assert inner == text
    assert word.startswith('"') or not any(c in text for c in " \t'\"\\;#")


def test_a_variable_is_one_quoted_word_and_its_dollar_stays() -> None:
    assert 'Environment="GREETING=hello $you 5%%"' in lines(environment={"GREETING": "hello $you 5%"})


def test_without_a_quit_signal_systemd_itself_stops_the_process() -> None:
    text = lines(stop_signal="SIGINT", stop_timeout=77)
    assert {"KillMode=mixed", "KillSignal=SIGINT", "TimeoutStopSec=77"} <= set(text)
    assert not [line for line in text if line.startswith("ExecStop")]


def stop_script(**keys: Any) -> str:
    (line,) = [line for line in lines(**keys) if line.startswith("ExecStop=")]
    return line.removeprefix("ExecStop=-/bin/sh -c '").removesuffix("'").replace("$$", "$")


@pytest.mark.parametrize(
    ("ignored", "ended_by"),
    [([], signal.SIGTERM), (["SIGTERM"], signal.SIGQUIT), (["SIGTERM", "SIGQUIT"], None)],
)
def test_the_stop_signal_comes_first_and_the_quit_signal_when_its_time_is_over(
    ignored: list[str], ended_by: int | None
) -> None:
    """The very line of the unit, run by a shell."""
    code = "import signal, sys, time\n" + "".join(f"signal.signal(signal.{name}, signal.SIG_IGN)\n" for name in ignored)
    victim = subprocess.Popen(
        [sys.executable, "-c", f"{code}print(flush=True)\ntime.sleep(60)"], stdout=subprocess.PIPE
    )
    assert victim.stdout
    victim.stdout.readline()
    script = stop_script(stop_timeout=1, quit_signal="SIGQUIT", kill_timeout=1)
    stop = subprocess.Popen(["/bin/sh", "-c", script], env={**os.environ, "MAINPID": str(victim.pid)})
    try:
        deadline = time.monotonic() + 10
        while stop.poll() is None and time.monotonic() < deadline:
            victim.poll()  # reaps it, as systemd does
            time.sleep(0.05)
        assert victim.poll() == (-ended_by if ended_by else None)
    finally:
        stop.kill()
        victim.kill()
        victim.wait()


def test_the_stop_line_does_nothing_when_the_process_ended_by_itself() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MAINPID"}
    script = stop_script(quit_signal="SIGQUIT")
    assert subprocess.run(["/bin/sh", "-c", script], env=environment, timeout=5, check=False).returncode == 0


def test_systemd_waits_longer_than_the_stop_line_takes() -> None:
    assert "TimeoutStopSec=1600" in lines(stop_timeout=1560, quit_signal="SIGQUIT", kill_timeout=30)


def test_a_socket_is_held_by_systemd_and_open_to_one_group() -> None:
    web = definition(name="web", socket="/run/shop/web.sock", socket_group="www-data")
    socket = units.render_socket(web, "shop").splitlines()
    assert {"ListenStream=/run/shop/web.sock", "SocketMode=0660", "SocketGroup=www-data", "SocketUser=shop"} <= set(
        socket
    )
    assert "Requires=shop-web.socket" in units.render_service(web, "shop").splitlines()


def test_a_socket_at_an_address_may_come_up_before_the_address() -> None:
    socket = units.render_socket(definition(socket="10.0.0.5:8000"), "shop").splitlines()
    assert "FreeBind=true" in socket
    assert not [line for line in socket if line.startswith("SocketMode")]


def test_a_process_without_network_gets_none() -> None:
    text = lines(network=False)
    assert {"PrivateNetwork=true", "RestrictAddressFamilies=AF_UNIX"} <= set(text)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"command": ["python"]}, "absolute path"),
        ({"command": []}, "absolute path"),
        ({"name": "a b"}, "unit's name"),
        ({"environment": {"A-B": "1"}}, "environment variable"),
        ({"socket": "web.sock"}, "neither"),
        ({"socket": "/run/shop/web.sock", "runtime_directory": "shop"}, "removed with every stop"),
    ],
)
def test_a_definition_that_cannot_work_is_named(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(units.ProcessError, match=said) as error:
        units.check([definition(**keys)], "shop")
    assert "process_manager_definitions" in str(error.value)


def test_two_definitions_of_one_name_are_refused() -> None:
    with pytest.raises(units.ProcessError, match="two definitions"):
        units.check([definition(), definition()], "shop")


def test_the_start_is_read_to_the_microsecond() -> None:
    assert units.started_at({"ExecMainStartTimestamp": "Sat 2026-11-21 06:00:16.123456 UTC"}) == 1795240816.123456
    assert (
        units.started_at({"ExecMainStartTimestamp": "", "InactiveExitTimestamp": "Thu 1970-01-01 00:01:00 UTC"}) == 60
    )
    assert units.started_at({"ExecMainStartTimestamp": ""}) == 0


def test_the_youngest_file_counts_and_missing_ones_do_not(tmp_path: Path) -> None:
    for name, when in (("a", 100), ("b", 200)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (when, when))
    assert units.written_at([tmp_path / "a", tmp_path / "b", tmp_path / "missing"]) == 200
    assert units.written_at([tmp_path / "missing"]) == 0
