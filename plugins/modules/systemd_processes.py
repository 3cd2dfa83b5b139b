#!/usr/bin/python
"""Ansible module: process definitions become systemd units, and run."""

from __future__ import annotations

import datetime
import os
import re
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
---
module: systemd_processes
short_description: Run an application's process definitions as systemd units
description:
  - With O(state=configured) writes one hardened unit per definition (and a socket unit where it has a socket), and stops, disables
    and removes the units of the application that are no longer defined. Returns in C(pending) the phases that then have units to start.
  - With O(state=started) enables and starts the units of one phase, and restarts those that started before their unit file or one of
    their environment files was last written. So a run that died half-way is completed by the next one.
options:
  application:
    description: Begins every unit's name and marks the units as this application's.
    type: str
    required: true
  state:
    description: Write the units, or run those of a phase.
    type: str
    choices: [configured, started]
    required: true
  phase:
    description: Whose units are started; needed with O(state=started).
    type: str
    choices: [workers, scheduler, web]
  definitions:
    description: The application's processes, all of them.
    type: list
    elements: dict
    required: true
  unit_directory:
    description: Where the unit files stand.
    type: path
    default: /etc/systemd/system
  settle_seconds:
    description: How long a process that was just started has to stay up to count as started.
    type: float
    default: 3
  start_seconds:
    description: How long a process may take to become active, beside the time its predecessor needs to stop.
    type: int
    default: 120
"""

EXAMPLES = """
- name: Write the units
  systemd_processes:
    application: shop
    state: configured
    definitions:
      - name: worker-mail
        phase: workers
        command: [/srv/shop/current/venv/bin/celery, -A, shop, worker]
        user: shop
        directory: /srv/shop/current/source

- name: Start the workers
  systemd_processes:
    application: shop
    state: started
    phase: workers
    definitions: "{{ shop_processes }}"
"""

RETURN = """
units:
  description: The units that were written, removed, started or restarted, each with what happened to it.
  returned: always
  type: dict
"""

PHASES = ("workers", "scheduler", "web")
SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL")
JOURNAL_LINES = 20
POLL_SECONDS = 0.2

DEFINITION_OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "phase": {"type": "str", "required": True, "choices": list(PHASES)},
    "description": {"type": "str", "default": ""},
    "command": {"type": "list", "elements": "str", "required": True},
    "user": {"type": "str", "required": True},
    "group": {"type": "str", "default": ""},
    "directory": {"type": "path", "required": True},
    "environment_files": {"type": "list", "elements": "path", "default": []},
    "environment": {"type": "dict", "default": {}},
    "type": {"type": "str", "default": "exec", "choices": ["exec", "notify"]},
    "stop_signal": {"type": "str", "default": "SIGTERM", "choices": list(SIGNALS)},
    "stop_timeout": {"type": "int", "default": 90},
    "quit_signal": {"type": "str", "default": "", "choices": ["", *SIGNALS]},
    "kill_timeout": {"type": "int", "default": 30},
    "restart": {"type": "str", "default": "always", "choices": ["always", "on-failure"]},
    "restart_delay": {"type": "int", "default": 2},
    "memory_max": {"type": "str", "default": ""},
    "socket": {"type": "str", "default": ""},
    "socket_group": {"type": "str", "default": ""},
    "writable_paths": {"type": "list", "elements": "path", "default": []},
    "state_directory": {"type": "str", "default": ""},
    "runtime_directory": {"type": "str", "default": ""},
    "network": {"type": "bool", "default": True},
}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "state": {"type": "str", "required": True, "choices": ["configured", "started"]},
    "phase": {"type": "str", "choices": list(PHASES)},
    "definitions": {"type": "list", "elements": "dict", "required": True, "options": DEFINITION_OPTIONS},
    "unit_directory": {"type": "path", "default": "/etc/systemd/system"},
    "settle_seconds": {"type": "float", "default": 3.0},
    "start_seconds": {"type": "int", "default": 120},
}

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "UnitFileState",
    "NeedDaemonReload",
    "InvocationID",
    "ExecMainStartTimestamp",
    "InactiveExitTimestamp",
    "ActiveEnterTimestampMonotonic",
    "ExecMainCode",
    "ExecMainStatus",
    "Job",
)

HEADER = "# Managed by Ansible, role process_manager. Changes here are overwritten.\n"

# What a network service that owns nothing but its own folders never needs. Left open on purpose: MemoryDenyWriteExecute
# (breaks libffi closures and compilers at run time) and ProcSubset (psutil and metrics read /proc/stat and /proc/meminfo).
SANDBOX = """\
UMask=0027
NoNewPrivileges=true
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=true
ProtectProc=invisible
ProtectClock=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectControlGroups=true
PrivateDevices=true
PrivateTmp=true
KeyringMode=private
LockPersonality=true
RemoveIPC=true
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""


class ProcessError(Exception):
    """What an operator has to be told; the message is complete."""


def quote(text: str) -> str:
    """Text as one literal word of a unit file, for Environment= and paths: nothing in it is expanded by systemd.

    Args:
        text: any text; line breaks and tabs are written as escapes.
    """
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n").replace("\t", "\\t")
    )
    return escaped if escaped and not re.search(r"[\s'\"\\;#]", escaped) else f'"{escaped}"'


def quote_argument(text: str) -> str:
    """Text as one literal word of a command line, where `$` would be expanded too."""
    return quote(text).replace("$", "$$")


def unit_name(definition: Mapping[str, Any], application: str, kind: str = "service") -> str:
    """The unit of a definition; `kind` is service or socket."""
    return f"{application}-{definition['name']}.{kind}"


def stop_seconds(definition: Mapping[str, Any]) -> int:
    """The longest a stop of this process can take, in seconds, until SIGKILL has been sent."""
    return int(definition["stop_timeout"]) + (int(definition["kill_timeout"]) if definition["quit_signal"] else 0)


def stop_lines(definition: Mapping[str, Any]) -> list[str]:
    """How a process is stopped: its signal, its time, and then SIGKILL; with a quit signal in between where it has one.

    systemd knows one signal and one timeout, so the quit signal takes an ExecStop. That runs also when the process
    ended by itself (then MAINPID is empty). KillMode=mixed: signals go to the main process alone, which tells its children.
    """
    lines = ["KillMode=mixed"]
    if not definition["quit_signal"]:
        return [*lines, f"KillSignal={definition['stop_signal']}", f"TimeoutStopSec={definition['stop_timeout']}"]
    first, second = (definition[key].removeprefix("SIG") for key in ("stop_signal", "quit_signal"))
    wait = "timeout {} tail --pid=$$MAINPID -s 0.2 -f /dev/null"
    script = (
        f'[ -z "$$MAINPID" ] || {{ kill -s {first} $$MAINPID; {wait.format(definition["stop_timeout"])}'
        f" || {{ kill -s {second} $$MAINPID; {wait.format(definition['kill_timeout'])}; }}; }}"
    )
    return [
        *lines,
        "KillSignal=SIGKILL",
        # Above what the line below takes, which is what decides.
        f"TimeoutStopSec={stop_seconds(definition) + 10}",
        f"ExecStop=-/bin/sh -c '{script}'",
    ]


def render_service(definition: Mapping[str, Any], application: str) -> str:
    """The service unit of a process definition.

    Args:
        definition: all keys of DEFINITION_OPTIONS, defaults filled in; times in seconds.
        application: the application's name.

    Returns:
        The unit file's text.
    """
    group = definition["group"] or definition["user"]
    lines = [
        "[Unit]",
        f"Description={describe(definition, application)}",
        f"X-Application={application}",
        "Wants=network-online.target",
        "After=network-online.target",
        # It keeps trying for as long as it takes, whatever it waits for.
        "StartLimitIntervalSec=0",
    ]
    if definition["socket"]:
        socket = unit_name(definition, application, "socket")
        lines += [f"Requires={socket}", f"After={socket}"]
    lines += [
        "",
        "[Service]",
        f"Type={definition['type']}",
        f"NotifyAccess={'main' if definition['type'] == 'notify' else 'none'}",
        f"User={definition['user']}",
        f"Group={group}",
        f"WorkingDirectory={definition['directory']}",
        *(f"EnvironmentFile={path}" for path in definition["environment_files"]),
        *(f"Environment={quote(f'{name}={value}')}" for name, value in sorted(definition["environment"].items())),
        f"ExecStart={' '.join(quote_argument(word) for word in definition['command'])}",
        *stop_lines(definition),
        f"Restart={definition['restart']}",
        f"RestartSec={definition['restart_delay']}",
    ]
    if definition["memory_max"]:
        lines.append(f"MemoryMax={definition['memory_max']}")
    # A pool's main process replaces a child that the kernel killed; the whole service need not go down with it.
    lines.append("OOMPolicy=continue")
    if definition["state_directory"]:
        lines += [f"StateDirectory={definition['state_directory']}", "StateDirectoryMode=0750"]
    if definition["runtime_directory"]:
        lines += [f"RuntimeDirectory={definition['runtime_directory']}", "RuntimeDirectoryMode=0750"]
    lines += [f"ReadWritePaths={quote(path)}" for path in definition["writable_paths"]]
    if definition["network"]:
        lines.append("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6")
    else:
        lines += ["PrivateNetwork=true", "RestrictAddressFamilies=AF_UNIX"]
    lines += [*SANDBOX.splitlines(), "", "[Install]", "WantedBy=multi-user.target"]
    return HEADER + "\n".join(lines) + "\n"


def render_socket(definition: Mapping[str, Any], application: str) -> str:
    """The socket unit of a process definition that has a socket: systemd holds it, so a restart keeps clients waiting, not refused.

    Args:
        definition: as in render_service.
        application: the application's name.
    """
    lines = [
        "[Unit]",
        f"Description=Socket of {describe(definition, application)}",
        f"X-Application={application}",
        "",
        "[Socket]",
        f"ListenStream={definition['socket']}",
    ]
    if definition["socket"].startswith("/"):
        lines += [
            f"SocketUser={definition['user']}",
            f"SocketGroup={definition['socket_group'] or definition['group'] or definition['user']}",
            "SocketMode=0660",
        ]
    else:
        # At boot the address may come up later than the socket.
        lines.append("FreeBind=true")
    lines += ["", "[Install]", "WantedBy=sockets.target"]
    return HEADER + "\n".join(lines) + "\n"


def describe(definition: Mapping[str, Any], application: str) -> str:
    """The text for Description=, which is one line and expands only `%`."""
    text = definition["description"] or f"{application} {definition['name']}"
    return " ".join(text.split()).replace("%", "%%")


def render(definitions: Iterable[Mapping[str, Any]], application: str) -> dict[str, str]:
    """All unit files of an application: text by file name, sockets before their services."""
    units: dict[str, str] = {}
    for definition in definitions:
        if definition["socket"]:
            units[unit_name(definition, application, "socket")] = render_socket(definition, application)
        units[unit_name(definition, application)] = render_service(definition, application)
    return units


def check(definitions: Iterable[Mapping[str, Any]], application: str) -> None:
    """What types cannot say about definitions.

    Raises:
        ProcessError: naming the definition, what is wrong and the fix.
    """
    where = "process_manager_definitions"
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", application):
        raise ProcessError(
            f"process_manager_application is {application!r}: use lower-case letters, digits, dashes; a letter first."
        )
    names: set[str] = set()
    for definition in definitions:
        name = definition["name"]
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise ProcessError(
                f"{where}: the name {name!r} would not make a unit's name. Use letters, digits, dashes and underscores."
            )
        if name in names:
            raise ProcessError(f"{where}: two definitions are named {name!r}. Give each its own name.")
        names.add(name)
        if not definition["command"] or not definition["command"][0].startswith("/"):
            raise ProcessError(
                f"{where}: {name}: the command has to begin with a program's absolute path, not {definition['command'][:1]}."
            )
        for variable in definition["environment"]:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
                raise ProcessError(f"{where}: {name}: {variable!r} is no name for an environment variable.")
        socket = definition["socket"]
        if socket and not re.fullmatch(r"/[^\s%]+|(\[[0-9a-fA-F:]+\]|[0-9.]+):[0-9]+", socket):
            raise ProcessError(f"{where}: {name}: the socket {socket!r} is neither an absolute path nor address:port.")
        runtime = definition["runtime_directory"]
        if runtime and socket.startswith(f"/run/{runtime}/"):
            raise ProcessError(
                f"{where}: {name}: the socket {socket} stands in the runtime directory {runtime}, which is removed with every stop. "
                "Put one of them elsewhere."
            )


class Systemd:
    """Runs systemctl and journalctl."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module

    def run(self, *arguments: str) -> str:
        """The output of `systemctl arguments`.

        Raises:
            ProcessError: it failed.
        """
        code, output, errors = self.module.run_command(["systemctl", *arguments])
        if code != 0:
            raise ProcessError(f"systemctl {' '.join(arguments)} failed ({code}): {errors.strip() or output.strip()}")
        return output

    def show(self, units: Iterable[str]) -> dict[str, dict[str, str]]:
        """The properties of units, by unit, in one call."""
        units = list(units)
        if not units:
            return {}
        output = self.run("show", "--timestamp=us+utc", f"--property={','.join(PROPERTIES)}", "--", *units)
        blocks = [
            dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            for block in output.strip().split("\n\n")
        ]
        return dict(zip(units, blocks, strict=True))

    def journal(self, unit: str) -> str:
        """The last lines that a unit wrote or that systemd wrote about it."""
        command = ["journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={JOURNAL_LINES}", f"--unit={unit}"]
        _code, output, errors = self.module.run_command(command)
        return output.strip() or errors.strip() or "(the journal has nothing)"


def started_at(properties: Mapping[str, str]) -> float:
    """When a unit's process was started (a socket: when it began to listen), in seconds since 1970; 0 if never."""
    text = properties.get("ExecMainStartTimestamp") or properties.get("InactiveExitTimestamp") or ""
    found = re.search(r"(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2}(?:\.\d+)?) UTC", text)
    if not found:
        return 0.0
    form = "%Y-%m-%d %H:%M:%S.%f" if "." in found[2] else "%Y-%m-%d %H:%M:%S"
    return datetime.datetime.strptime(f"{found[1]} {found[2]}", form).replace(tzinfo=datetime.UTC).timestamp()


def written_at(paths: Iterable[str | Path]) -> float:
    """When the youngest of these files was last written, in seconds since 1970; those that are missing do not count."""
    times = [0.0]
    for path in paths:
        try:
            times.append(os.stat(path).st_mtime)
        except FileNotFoundError:
            continue
    return max(times)


class Plan(NamedTuple):
    """What a phase consists of, and what there is to do for it; all by unit."""

    definitions: dict[str, dict[str, Any]]
    states: dict[str, dict[str, str]]
    enable: list[str]
    start: list[str]
    restart: list[str]


class Units:
    """The unit files of one application on this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.systemd = Systemd(module)
        self.application: str = module.params["application"]
        self.definitions: list[dict[str, Any]] = module.params["definitions"]
        self.directory = Path(module.params["unit_directory"])
        self.happened: dict[str, str] = {}
        self.diff: list[dict[str, str]] = []

    def configure(self) -> None:
        """Write what differs, remove what is no longer defined, and let systemd read it."""
        wanted = render(self.definitions, self.application)
        present = self._present()
        for unit, text in wanted.items():
            before = present.get(unit)
            if before is None and (self.directory / unit).exists():
                raise ProcessError(
                    f"{self.directory / unit} exists and is not marked as a unit of {self.application}. Move it away, "
                    "or give the application or the process another name."
                )
            if before != text:
                self._note(unit, "written", before or "", text)
                if not self.module.check_mode:
                    self._write(self.directory / unit, text)
        gone = sorted((set(present) - set(wanted)), key=lambda unit: not unit.endswith(".socket"))
        for unit in gone:
            self._note(unit, "removed", present[unit], "")
        if self.module.check_mode:
            return
        if gone:
            # One call: they stop side by side, each within its own stop timeout.
            self.systemd.run("disable", "--now", "--quiet", "--", *gone)
            for unit in gone:
                (self.directory / unit).unlink()
        if self.happened or any(unit["NeedDaemonReload"] == "yes" for unit in self.systemd.show(wanted).values()):
            self.systemd.run("daemon-reload")
        failed = [unit for unit, properties in self.systemd.show(gone).items() if properties["ActiveState"] == "failed"]
        if failed:
            self.systemd.run("reset-failed", "--", *failed)

    def _present(self) -> dict[str, str]:
        """The texts of the unit files that carry this application's mark."""
        found = {}
        for path in sorted(self.directory.glob(f"{self.application}-*")):
            if path.suffix in (".service", ".socket") and path.is_file() and not path.is_symlink():
                text = path.read_text(encoding="utf-8")
                if f"X-Application={self.application}" in text.splitlines():
                    found[path.name] = text
        return found

    def _note(self, unit: str, event: str, before: str, after: str) -> None:
        self.happened[unit] = event
        path = str(self.directory / unit)
        self.diff.append({"before_header": path, "after_header": path, "before": before, "after": after})

    def _write(self, path: Path, text: str) -> None:
        handle, temporary = tempfile.mkstemp(dir=self.module.tmpdir)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        self.module.atomic_move(temporary, str(path))

    def plan(self, phase: str) -> Plan:
        """What there is to do for the units of a phase."""
        definitions = {}
        for definition in self.definitions:
            if definition["phase"] == phase:
                if definition["socket"]:
                    definitions[unit_name(definition, self.application, "socket")] = definition
                definitions[unit_name(definition, self.application)] = definition
        states = self.systemd.show(definitions)
        stale = self._stale(definitions, states)
        down = ("inactive", "failed")
        return Plan(
            definitions,
            states,
            enable=[unit for unit in definitions if states[unit]["UnitFileState"] != "enabled"],
            start=[unit for unit in definitions if states[unit]["ActiveState"] in down],
            restart=[unit for unit in definitions if unit in stale and states[unit]["ActiveState"] not in down],
        )

    def pending(self) -> list[str]:
        """The phases in which there is something to do."""
        return [phase for phase in PHASES if any(self.plan(phase)[2:])]

    def start(self, phase: str) -> None:
        """Enable and start the units of a phase, restart those that run something older than their files, wait until all hold."""
        definitions, states, enable, start, restart = self.plan(phase)
        for unit in enable:
            self.happened[unit] = "enabled"
        for units, event in ((start, "started"), (restart, "restarted")):
            for unit in units:
                self.happened[unit] = event
                self.diff.append({"before_header": unit, "after_header": unit, "before": "", "after": f"{event}\n"})
        if self.module.check_mode:
            return
        if enable:
            self.systemd.run("enable", "--quiet", "--", *enable)
        if start or restart:
            self.systemd.run("reset-failed", "--", *start, *restart)
        # Without waiting in systemctl: many workers stop side by side, each within its own stop timeout.
        if restart:
            self.systemd.run("restart", "--no-block", "--", *restart)
        if start:
            self.systemd.run("start", "--no-block", "--", *start)
        stopping = max((stop_seconds(definitions[unit]) for unit in restart), default=0)
        previous = {unit: states[unit]["InvocationID"] for unit in [*start, *restart]}
        self._wait(definitions, previous, timeout=stopping + self.module.params["start_seconds"])

    def _stale(self, definitions: Mapping[str, Mapping[str, Any]], states: Mapping[str, Mapping[str, str]]) -> set[str]:
        """The units to restart: older than their files, not steadily up, or (foretold in check mode) with a unit file to be written."""
        rendered = render(self.definitions, self.application) if self.module.check_mode else {}
        stale: set[str] = set()
        for unit, definition in definitions.items():
            path = self.directory / unit
            files = [path] if unit.endswith(".socket") else [path, *definition["environment_files"]]
            if self.module.check_mode and path.exists() and path.read_text(encoding="utf-8") != rendered[unit]:
                stale.add(unit)
            if states[unit]["ActiveState"] != "active" or started_at(states[unit]) < written_at(files):
                stale.add(unit)
            if unit.endswith(".socket") and unit in stale:
                # A socket cannot be opened anew below a running service.
                stale.add(unit_name(definition, self.application))
        return stale

    def _wait(
        self, definitions: Mapping[str, Mapping[str, Any]], previous: Mapping[str, str], *, timeout: float
    ) -> None:
        """Until every unit has been up for the settle time.

        Args:
            definitions: by unit.
            previous: the invocation before this start, of the units that were asked to (re)start.
            timeout: seconds until giving up.

        Raises:
            ProcessError: a process ended or never came up; with the end of its journal.
        """
        settle = self.module.params["settle_seconds"]
        deadline = time.monotonic() + timeout
        first: dict[str, str] = {}
        while True:
            states = self.systemd.show(definitions)
            waiting = []
            for unit, state in states.items():
                new = unit not in previous or state["InvocationID"] != previous[unit]
                idle = state.get("Job", "0") in ("", "0")
                if state["LoadState"] != "loaded":
                    raise ProcessError(f"{unit} is {state['LoadState']}. Look at: systemctl status {unit}")
                if idle and (
                    state["ActiveState"] in ("failed", "inactive") or (new and state["SubState"] == "auto-restart")
                ):
                    raise self._ended(unit, state)
                if (
                    new
                    and state["ActiveState"] == "active"
                    and first.setdefault(unit, state["InvocationID"]) != state["InvocationID"]
                ):
                    raise self._ended(unit, state)
                up = time.monotonic() - int(state["ActiveEnterTimestampMonotonic"] or 0) / 1e6
                if not (new and state["ActiveState"] == "active" and (up >= settle or unit.endswith(".socket"))):
                    waiting.append(unit)
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise ProcessError(
                    f"Not up after {timeout:.0f} s: "
                    + ", ".join(
                        f"{unit} ({states[unit]['ActiveState']}, {states[unit]['SubState']})" for unit in waiting
                    )
                    + f".\nThe journal of {waiting[0]} ends with:\n{self.systemd.journal(waiting[0])}"
                )
            time.sleep(POLL_SECONDS)

    def _ended(self, unit: str, state: Mapping[str, str]) -> ProcessError:
        return ProcessError(
            f"{unit} ended right after it was started (result {state['Result']}, state {state['SubState']}, exit status "
            f"{state.get('ExecMainStatus', '?')}). Its journal ends with:\n{self.systemd.journal(unit)}\n"
            f"What it runs is shown by: systemctl cat {unit}"
        )


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS, required_if=[("state", "started", ("phase",))], supports_check_mode=True
    )
    units = Units(module)
    result: dict[str, Any] = {}
    try:
        check(units.definitions, units.application)
        if module.params["state"] == "configured":
            units.configure()
            result["pending"] = units.pending()
        else:
            units.start(module.params["phase"])
    except ProcessError as error:
        module.fail_json(msg=str(error), units=units.happened)
    result |= {"changed": bool(units.happened), "units": units.happened}
    if module._diff and units.diff:
        result["diff"] = units.diff
    module.exit_json(**result)


if __name__ == "__main__":
    main()
