"""Process definitions as systemd units."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.stockpot.stack.plugins.plugin_utils import units
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.process_manager import problems

ROLE = Path(__file__).resolve().parent.parent / "roles/process_manager"


def definition(**keys: Any) -> dict[str, Any]:
    return {"name": "a", "phase": "workers", "command": ["/bin/true"], "user": "shop", "directory": "/srv", **keys}


def services(*definitions: dict[str, Any]) -> list[dict[str, Any]]:
    return units.process_services(definitions, "shop", str(ROLE), after="redis-server@shop.service")


def lines(**keys: Any) -> list[str]:
    """The service unit's."""
    return services(definition(**keys))[-1]["files"][0]["content"].splitlines()


def socket_lines(**keys: Any) -> list[str]:
    return services(definition(**keys))[0]["files"][0]["content"].splitlines()


def section(text: list[str], name: str) -> list[str]:
    begun = text.index(f"[{name}]") + 1
    ended = next((n for n, line in enumerate(text) if n > begun and line.startswith("[")), len(text))
    return [line for line in text[begun:ended] if line]


def test_a_unit_says_whose_it_is_and_who_wrote_it() -> None:
    for text in (lines(), socket_lines(socket="/run/x")):
        assert text[0] == "# Managed by Ansible, role process_manager. Changes here are overwritten."
        assert "X-Application=shop" in section(text, "Unit")


def test_a_unit_has_one_line_for_each_setting_and_no_gaps() -> None:
    text = lines(environment={"B": "1"}, socket="/run/x", memory_max="1G", quit_signal="SIGQUIT")
    assert [line for line in text if line and not line.startswith(("#", "[")) and "=" not in line] == []
    assert ("", "") not in itertools.pairwise(text)


def test_a_misspelt_key_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="memory_maximum"):
        services(definition(memory_maximum="1G"))


@pytest.mark.parametrize(
    "text", ["a b", 'say "hi"', "back\\slash", "it's", "100%", "$HOME", "semi;colon", "", "tab\there", "%h"]
)
def test_every_argument_reaches_the_program_as_it_stands(text: str) -> None:
    """Undoes systemd's own rules: quotes, backslashes, then %% and $$."""
    (line,) = [line for line in lines(command=["/bin/echo", text]) if line.startswith("ExecStart=")]
    word = line.removeprefix("ExecStart=/bin/echo ")
    inner = word[1:-1] if word.startswith('"') else word
    for escaped, plain in (("\\t", "\t"), ('\\"', '"'), ("\\\\", "\\"), ("%%", "%"), ("$$", "$")):
        inner = inner.replace(escaped, plain)
    assert inner == text
    assert word.startswith('"') or not any(c in text for c in " \t'\"\\;#")


def test_a_processs_own_variables_stand_where_root_alone_reads_and_win_over_the_files() -> None:
    given = services(
        definition(environment={"B": "1", "A": "it's $HOME"}, environment_files=["/etc/shop/environment"])
    )[0]
    files = [line for line in given["files"][0]["content"].splitlines() if line.startswith("EnvironmentFile=")]
    assert files == ["EnvironmentFile=/etc/shop/environment", "EnvironmentFile=/etc/shop/processes/a.environment"]
    (own,) = [file for file in given["files"] if file["path"] == "/etc/shop/processes/a.environment"]
    assert own["mode"] == "0600"
    assert own["secret_content"] == 'A="it\'s \\$HOME"\nB="1"\n'
    assert not [line for line in given["files"][0]["content"].splitlines() if line.startswith("Environment=")]


def test_variables_of_a_process_that_has_none_any_more_are_removed() -> None:
    unit = services(definition())[0]["files"][0]
    assert unit["replaces"] == "/etc/shop/processes/a.environment"
    # And with a process that is gone.
    assert "X-OwnFile=/etc/shop/processes/a.environment" in lines(environment={"A": "1"})
    assert not [line for line in lines() if line.startswith("X-OwnFile")]


def test_the_description_is_one_line_in_which_nothing_expands() -> None:
    assert 'Description=100%% "of" $HOME' in lines(description='100%  "of"\n$HOME')
    assert "Description=shop a" in lines()


def test_without_a_quit_signal_systemd_itself_stops_the_process() -> None:
    given = services(definition(stop_signal="SIGINT", stop_timeout=77, stop_timeout_reboot=77))[0]
    text = given["files"][0]["content"].splitlines()
    assert {"KillMode=mixed", "KillSignal=SIGINT", "TimeoutStopSec=77"} <= set(text)
    assert not [line for line in text if line.startswith("ExecStop")]
    assert given["stop_seconds"] == 77
    assert len(given["files"]) == 1


def test_a_quit_signal_comes_with_the_program_that_sends_it_and_systemd_waits_longer_than_that() -> None:
    given = services(definition(stop_timeout=1560, quit_signal="SIGQUIT"))[0]
    unit, program = given["files"]
    assert {
        "ExecStop=-+/usr/local/lib/stockpot/stop-process 60 TERM 1560 QUIT 30",
        "KillSignal=SIGKILL",
        "TimeoutStopSec=1600",
    } <= set(unit["content"].splitlines())
    assert (program["path"], program["mode"], program["loaded_by"]) == (units.STOP_PROGRAM, "0755", "nothing")
    assert program["content"] == (ROLE / "files/stop-process").read_text()
    assert given["stop_seconds"] == 1590


def test_what_may_take_longer_than_a_reboot_waits_is_stopped_by_the_program_too() -> None:
    unit, program = services(definition(stop_signal="SIGINT", stop_timeout=77))[0]["files"]
    assert {
        "ExecStop=-+/usr/local/lib/stockpot/stop-process 60 INT 77",
        "KillSignal=SIGKILL",
        "TimeoutStopSec=87",
    } <= set(unit["content"].splitlines())
    assert program["path"] == units.STOP_PROGRAM


def test_how_long_a_reboot_waits_is_the_definitions_or_the_roles() -> None:
    definitions = [definition(name="a", stop_timeout_reboot=5), definition(name="b")]
    texts = [
        service["files"][0]["content"]
        for service in units.process_services(definitions, "shop", str(ROLE), stop_timeout_reboot=20)
    ]
    assert ["stop-process 5 TERM 90" in texts[0], "stop-process 20 TERM 90" in texts[1]] == [True, True]


def test_shares_of_the_cpus_are_the_units_where_they_are_given() -> None:
    assert {"CPUQuota=150%", "Nice=-5"} <= set(lines(cpu_max="150%", nice=-5))
    assert not [line for line in lines() if line.startswith(("CPUQuota", "Nice"))]


def test_environment_files_are_named_and_looked_at() -> None:
    given = services(definition(environment_files=["/etc/a"]))[0]
    assert "EnvironmentFile=/etc/a" in given["files"][0]["content"].splitlines()
    assert {"path": "/etc/a"} in given["files"]


def test_files_that_a_process_reads_itself_are_looked_at() -> None:
    """Another configuration restarts it."""
    given = services(definition(configuration_files=["/etc/a.py"]))[0]
    assert {"path": "/etc/a.py"} in given["files"]
    assert "/etc/a.py" not in given["files"][0]["content"]


def test_a_socket_is_a_service_of_its_own_before_its_process_and_open_to_one_group() -> None:
    web = definition(name="web", phase="web", socket="/run/shop/web.sock", socket_group="www-data")
    socket, service = services(web)
    assert [(given["name"], given["phase"]) for given in (socket, service)] == [
        ("shop-web.socket", "web"),
        ("shop-web.service", "web"),
    ]
    assert {"ListenStream=/run/shop/web.sock", "SocketMode=0660", "SocketGroup=www-data", "SocketUser=shop"} <= set(
        section(socket["files"][0]["content"].splitlines(), "Socket")
    )
    assert "Requires=shop-web.socket" in section(service["files"][0]["content"].splitlines(), "Unit")


def test_a_socket_at_an_address_may_come_up_before_the_address() -> None:
    text = socket_lines(socket="10.0.0.5:8000")
    assert "FreeBind=true" in text
    assert not [line for line in text if line.startswith("SocketMode")]


def test_a_process_without_network_gets_none() -> None:
    assert {"PrivateNetwork=true", "RestrictAddressFamilies=AF_UNIX"} <= set(lines(network=False))


def test_settings_stand_last_in_their_section_one_line_for_each_value() -> None:
    settings = {
        "Unit": {"Documentation": "man:a"},
        "Service": {"Nice": 5, "ProtectHome": False, "DeviceAllow": ["/dev/fuse", "/dev/kvm r"]},
        "Install": {"Also": "b.service"},
        "Socket": {"Backlog": 9},
    }
    text = lines(settings=settings, socket="/run/x")
    assert section(text, "Unit")[-1] == "Documentation=man:a"
    assert section(text, "Service")[-4:] == [
        "Nice=5",
        "ProtectHome=false",
        "DeviceAllow=/dev/fuse",
        "DeviceAllow=/dev/kvm r",
    ]
    assert section(text, "Install")[-1] == "Also=b.service"
    assert section(socket_lines(settings=settings, socket="/run/x"), "Socket")[-1] == "Backlog=9"


def given(*definitions: dict[str, Any], application: str = "shop") -> dict[str, Any]:
    return {
        "process_manager_application": application,
        "process_manager_definitions": list(definitions),
        "process_manager_stop_timeout_reboot": 60,
        "process_manager_backend": "systemd",
    }


def test_a_reboot_waits_a_second_at_least() -> None:
    (sentence,) = problems({**given(), "process_manager_stop_timeout_reboot": 0})
    assert sentence.startswith("process_manager_stop_timeout_reboot is 0")


def test_the_scenarios_definitions_are_right() -> None:
    play = yaml.safe_load((ROLE.parents[1] / "molecule/process_manager/processes.yml").read_text())[0]
    python = play["vars"]["python"]
    assert problems(given(*({**known, "command": python} for known in play["vars"]["definitions"]))) == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"command": ["python"]}, "absolute path"),
        ({"command": []}, "absolute path"),
        ({"name": "a b"}, "unit's name"),
        ({"environment": {"A-B": "1"}}, "environment: A-B: this is no name"),
        ({"socket": "web.sock"}, "neither"),
        ({"socket": "/run/shop/web.sock", "runtime_directory": "shop"}, "removed with every stop"),
        ({"user": "shop\nExecStart=/bin/sh"}, "without spaces"),
        ({"memory_max": "512 M"}, "memory_max is '512 M'. Write it as 512M"),
        ({"memory_max": "512MB"}, "memory_max is '512MB'. Write it as 512M"),
        ({"cpu_max": "50"}, "cpu_max is '50'. Write it as 50%"),
        ({"cpu_max": "0%"}, "cpu_max is '0%'. Write it as 50%"),
        ({"nice": 20}, "nice is 20. It is from -20"),
        ({"stop_timeout_reboot": 0}, "stop_timeout_reboot is 0. It takes at least a second"),
        ({"directory": "srv"}, "absolute path"),
        ({"environment_files": ["/etc/%i"]}, "absolute path"),
        ({"configuration_files": ["a.py"]}, "absolute path"),
        ({"writable_paths": ["uploads"]}, "not absolute"),
        ({"stop_timeout": 0}, "at least a second"),
        ({"settings": {"Timer": {"OnCalendar": "daily"}}}, "no section 'Timer'"),
        ({"settings": {"Socket": {"Backlog": 9}}}, "no socket"),
        ({"settings": {"Service": "Nice=5"}}, "names with values"),
        ({"settings": {"Service": {"Nice=5": 1}}}, "no name of a setting"),
        ({"settings": {"Service": {"Nice": {"a": 1}}}}, "one line"),
        ({"settings": {"Service": {"Nice": "5\n[Unit]"}}}, "one line"),
    ],
)
def test_a_definition_that_cannot_work_is_named(keys: dict[str, Any], said: str) -> None:
    (sentence,) = problems(given(definition(**keys)))
    assert sentence.startswith(f"process_manager_definitions: {definition(**keys)['name']}: ")
    assert said in sentence


def test_two_definitions_of_one_name_are_refused() -> None:
    (sentence,) = problems(given(definition(), definition()))
    assert "two definitions" in sentence


def test_the_applications_name_has_to_begin_units() -> None:
    (sentence,) = problems(given(application="The Shop"))
    assert sentence.startswith("process_manager_application")


def test_processes_stop_before_the_redis_that_they_give_their_tasks_back_to() -> None:
    """Of an order that After= gives, a shutdown takes the reverse."""
    assert "After=network-online.target redis-server@shop.service" in lines()


# Programs of supervisor's


def program(**keys: Any) -> dict[str, Any]:
    """The service of one definition, as a program."""
    return units.process_services([definition(**keys)], "shop", str(ROLE), "supervisor")[-1]


def test_what_listens_on_a_socket_stays_systemds() -> None:
    services = units.process_services(
        [definition(name="web", socket="/run/x"), definition()], "shop", str(ROLE), "supervisor"
    )
    assert [(service["name"], service.get("manager", "systemd")) for service in services] == [
        ("supervisor.service", "systemd"),
        ("stockpot-stop", "supervisor"),
        ("shop-web.socket", "systemd"),
        ("shop-web.service", "systemd"),
        ("shop-a", "supervisor"),
    ]


def test_without_a_program_nothing_of_supervisors_is_written() -> None:
    services = units.process_services([definition(socket="/run/x")], "shop", str(ROLE), "supervisor")
    assert [service["name"] for service in services] == ["shop-a.socket", "shop-a.service"]


def test_a_program_shows_no_variable_and_is_restarted_by_the_same_files_as_a_unit() -> None:
    keys: dict[str, Any] = {
        "environment": {"B": "hunter2"},
        "environment_files": ["/etc/shop/environment"],
        "read_paths": ["/etc/shop/files"],
    }
    found, unit = program(**keys), services(definition(**keys))[0]
    reads, unit_reads = ([f for f in each["files"][1:] if f.get("loaded_by") != "nothing"] for each in (found, unit))
    assert reads == unit_reads
    assert "hunter2" not in found["files"][0]["content"]
    assert "; X-Application=shop" in found["files"][0]["content"].splitlines()


def test_supervisor_has_the_time_of_the_longest_stop_and_the_file_with_it_is_read_last() -> None:
    given = [definition(stop_timeout=1560, quit_signal="SIGQUIT"), definition(name="b", stop_timeout=5)]
    supervisor = units.process_services(given, "shop", str(ROLE), "supervisor", after="redis-server.service")[0]
    [drop_in] = [file for file in supervisor["files"] if ".service.d/" in file["path"]]
    assert drop_in["path"].endswith("/supervisor.service.d/stop-001620-shop.conf")
    text = drop_in["content"].splitlines()
    assert "TimeoutStopSec=1620" in text
    assert "After=network-online.target redis-server.service" in text
    assert "KillMode=mixed" in text


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"settings": {"Service": {"Nice": 5}}}, "settings has lines of Service"),
        ({"network": False}, "network is false"),
        ({"type": "notify"}, "type is notify"),
        ({"restart_delay": 30}, "restart_delay is 30"),
        ({"command": ["/bin/echo", "a\nb"]}, "line break"),
        ({"directory": "/srv/a ;b"}, "the directory"),
    ],
)
def test_what_supervisor_cannot_do_is_refused_by_name(keys: dict[str, Any], named: str) -> None:
    wanted = {**given(definition(**keys)), "process_manager_backend": "supervisor"}
    (sentence,) = problems(wanted)
    assert sentence.startswith("process_manager_definitions: a: ")
    assert named in sentence
    assert "process_manager_backend: systemd" in sentence
    assert problems({**wanted, "process_manager_backend": "systemd"}) == []
    listening = {**given(definition(**keys, socket="/run/shop.sock")), "process_manager_backend": "supervisor"}
    assert problems(listening) == []
