#!/usr/bin/python
"""Ansible module: what is written is what runs."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stockpot.stack.plugins.module_utils.files import OPTIONS, File, FileError, write, written_at
from ansible_collections.stockpot.stack.plugins.module_utils.supervisor import SOCKET, Supervisor
from ansible_collections.stockpot.stack.plugins.module_utils.systemctl import (
    SUFFIXES,
    Plan,
    ServiceError,
    State,
    Systemctl,
    Watch,
    plan,
    unit_name,
)

DOCUMENTATION = """
---
module: services
short_description: Write the files of services, and run the services with what is written
description:
  - Writes the files of each service, then enables and starts it, and restarts or reloads it when it runs since before one of its files was
    written, whoever wrote that. So a run that was cut off is completed by the next one.
  - Returns when all of them have been up for O(settle_seconds); the failure of one shows the end of its journal.
  - systemd reads its units again when it says that it has to.
  - A service may be a program of supervisor's. Its configuration is read again when it is started or restarted; programs of others go on.
options:
  services:
    description: The services; they are restarted side by side, each within its own stop time.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The unit, without a suffix a C(.service); or the program of supervisor's.
        type: str
        required: true
      manager:
        description: Who runs it.
        type: str
        choices: [systemd, supervisor]
        default: systemd
      files:
        description: What the service reads, its unit file and drop-ins, or its program's file, among it.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Where the file is. Without content it is only looked at, a folder with all that is below it.
            type: path
            required: true
          content:
            description: The file's text.
            type: str
          secret_content:
            description: The same, for a text that no output, diff or journal may hold.
            type: str
          owner:
            description: The file's user.
            type: str
            default: root
          group:
            description: The file's group.
            type: str
            default: root
          mode:
            description: The file's mode, quoted and with a zero in front.
            type: str
            default: "0644"
          validate:
            description: A command (words, no shell) in which C(%s) is the new file; what it refuses does not take the old file's place.
            type: str
            default: ""
          made_by:
            description:
              - A command (words, no shell) that makes the file C(%s) where it is missing, a self-signed certificate for example;
                a file that is there stays as it is. What it makes is never shown.
            type: str
            default: ""
          kept_while:
            description:
              - A command (words, no shell) that succeeds as long as the file C(%s), made by O(services[].files[].made_by), may stay; when it
                fails, the file is made anew. Without one it stays for ever. It is run in a check, too.
            type: str
            default: ""
          replaces:
            description:
              - A pattern of paths, C(/etc/ssl/private/shop.*) for example. Those of them that no service's files say what to hold are removed
                once all files are written and validated. The file's own path has it removed where it has no content.
            type: str
            default: ""
          loaded_by:
            description: What makes the service load the file; V(nothing) is for what systemd itself loads, such as a drop-in.
            type: str
            choices: [restart, reload, nothing]
            default: restart
      stop_seconds:
        description: How long its stop may take; of a program, supervisor knows it.
        type: int
        default: 90
      phase:
        description: When it is started, beside others; returned in C(pending).
        type: str
        default: ""
  state:
    description: V(written) only writes, and says in C(pending) what there is to run.
    type: str
    choices: [running, written]
    default: running
  application:
    description:
      - Units in O(unit_directory) and programs in O(program_directory) with the line C(X-Application=) and this name that are not among the
        services are stopped, disabled and removed, and with them what their lines C(X-OwnFile=) name. That is done before the file of a program
        is written, so a service that goes over from one manager to the other never runs twice.
      - A unit's or program's file that is to be written and exists without that line is somebody else's, and refused.
      - A program with C(X-Application=*) is removed with the last one of all applications.
    type: str
    default: ""
  remove_only:
    description: Of the application's units and programs that are not among the services, those alone by these names are removed; empty for all.
    type: list
    elements: str
    default: []
  unit_directory:
    description: Where the units of an application are.
    type: path
    default: /etc/systemd/system
  program_directory:
    description: Where the programs of an application are, each in a file of its name with the suffix C(.conf).
    type: path
    default: /etc/supervisor/conf.d
  marked_directories:
    description: Folders in which files of the application, by the same line in a comment, are removed when no service names them.
    type: list
    elements: path
    default: [/etc/systemd/system/supervisor.service.d, /etc/tmpfiles.d]
  supervisor_socket:
    description: Where supervisor is reached.
    type: path
    default: /run/supervisor.sock
  settle_seconds:
    description: How long a service that was just started has to stay up to count as started; a program, its own C(startsecs).
    type: float
    default: 3
  start_seconds:
    description: How long a service may take to become active, beside the time its predecessor needs to stop.
    type: int
    default: 120
attributes:
  check_mode:
    support: full
    description: Foretells all of it. An owner, a group or a unit that is not there yet is no error then; nothing is validated.
  diff_mode:
    support: full
    description: Shows the texts, secret ones excepted, and which services are started, restarted or reloaded.
"""

EXAMPLES = """
- name: Run Redis with what is written
  stockpot.stack.services:
    services:
      - name: redis-server
        files:
          - path: /etc/redis/redis.conf
            content: "{{ lookup('ansible.builtin.template', 'redis.conf.j2') }}"
            group: redis
            mode: "0640"
          - path: /etc/systemd/system/redis-server.service.d/restart.conf
            content: "{{ lookup('ansible.builtin.file', 'restart.conf', rstrip=false) }}"
            loaded_by: nothing

- name: Run a service of an own unit, which an environment file belongs to
  stockpot.stack.services:
    services:
      - name: shop-web
        files:
          - path: /etc/systemd/system/shop-web.service
            content: "{{ lookup('ansible.builtin.template', 'shop-web.service.j2') }}"
          - path: /etc/shop/environment
        stop_seconds: 60
"""

RETURN = """
units:
  description: What happened last to a unit or program (written, removed, enabled, started, restarted, reloaded; "systemd reloaded" when it was read again only).
  returned: always
  type: dict
  sample: {redis-server.service: restarted}
files:
  description: The paths of the files that were written, given another owner, group or mode, or removed.
  returned: always
  type: list
  elements: str
pending:
  description: The phases in which something is to be enabled, started, restarted or reloaded, in the order of the services.
  returned: O(state=written)
  type: list
  elements: str
"""

FILE_OPTIONS: dict[str, dict[str, Any]] = {
    **OPTIONS,
    "made_by": {"type": "str", "default": ""},
    "kept_while": {"type": "str", "default": ""},
    "replaces": {"type": "str", "default": ""},
    "loaded_by": {"type": "str", "choices": ["restart", "reload", "nothing"], "default": "restart"},
}

SERVICE_OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "manager": {"type": "str", "choices": ["systemd", "supervisor"], "default": "systemd"},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": FILE_OPTIONS,
        "mutually_exclusive": [("content", "secret_content", "made_by")],
    },
    "stop_seconds": {"type": "int", "default": 90},
    "phase": {"type": "str", "default": ""},
}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "services": {"type": "list", "elements": "dict", "required": True, "options": SERVICE_OPTIONS},
    "state": {"type": "str", "choices": ["running", "written"], "default": "running"},
    "application": {"type": "str", "default": ""},
    "remove_only": {"type": "list", "elements": "str", "default": []},
    "unit_directory": {"type": "path", "default": "/etc/systemd/system"},
    "program_directory": {"type": "path", "default": "/etc/supervisor/conf.d"},
    "marked_directories": {
        "type": "list",
        "elements": "path",
        "default": ["/etc/systemd/system/supervisor.service.d", "/etc/tmpfiles.d"],
    },
    "supervisor_socket": {"type": "path", "default": SOCKET},
    "settle_seconds": {"type": "float", "default": 3.0},
    "start_seconds": {"type": "int", "default": 120},
}

# A secret this short would also hide innocent text from the result, which never holds a file's content anyway; characters.
SHORTEST_MASKED = 8
PROGRAM_SUFFIX = ".conf"
# Where run-process says how a program is stopped.
STOP_WORDS = Path("/run/stockpot/programs")
# The mark of what goes with the last application.
EVERYBODY = "*"


class Module(AnsibleModule):
    """An Ansible module that does not put its arguments, the files' texts, into the host's journal."""

    def _log_invocation(self) -> None:
        names = ", ".join(service["name"] for service in self.params["services"])
        self.log(f"Invoked for {names or 'no service'} ({self.params['state']})")


class Services:
    """The services of one call.

    Args:
        parameters: the module's, complete.
        systemctl: runs systemctl and journalctl.
        supervisor: speaks to supervisor.
        scratch: a folder of this process alone.
        check_mode: foretell, change nothing.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any],
        systemctl: Systemctl,
        supervisor: Supervisor,
        *,
        scratch: str,
        check_mode: bool = False,
    ) -> None:
        self.services = {_identity(service): service for service in parameters["services"]}
        self.programs = {name: service for name, service in self.services.items() if _is_program(service)}
        self.unit_services = {unit: service for unit, service in self.services.items() if not _is_program(service)}
        self.application: str = parameters["application"]
        self.remove_only: list[str] = parameters["remove_only"]
        self.folder = Path(parameters["unit_directory"])
        self.program_folder = Path(parameters["program_directory"])
        self.marked_folders = [Path(path) for path in parameters["marked_directories"]]
        self.settle_seconds: float = parameters["settle_seconds"]
        self.start_seconds: int = parameters["start_seconds"]
        self.systemctl = systemctl
        self.supervisor = supervisor
        self.scratch = scratch
        self.check_mode = check_mode
        self.units: dict[str, str] = {}
        self.files: list[str] = []
        self.diff: list[dict[str, str]] = []
        # Written by this call, or in check mode to be written.
        self.rewritten: set[str] = set()

    def write(self) -> None:
        """Write the files, and remove what is the application's and no longer among the services.

        Raises:
            FileError: a file could not be written as it should be.
            ServiceError: a unit's or program's file is somebody else's.
        """
        units, programs, others = {}, {}, {}
        if self.application:
            units = self._marked(self.folder, SUFFIXES)
            programs = self._marked(self.program_folder, (PROGRAM_SUFFIX,))
            others = {
                path: text for folder in self.marked_folders for path, text in self._marked(folder, ("",)).items()
            }
        given: dict[str, File] = {}
        of_programs: list[tuple[str, File]] = []
        for name, service in self.services.items():
            for entry in service["files"]:
                file = File.given(entry)
                if file is None:
                    continue
                if given.setdefault(file.path, file) != file:
                    raise ServiceError(f"{file.path} is given twice, with different contents, owners or modes.")
                self._refuse_foreign(Path(file.path), {*units, *programs})
                if Path(file.path).parent == self.program_folder:
                    of_programs.append((name, file))
                else:
                    self._write(name, file)
        self._remove_replaced()
        units = {path: text for path, text in units.items() if Path(path).name not in self.unit_services}
        self._remove(self._to_go(units))
        gone = self._to_go({path: text for path, text in programs.items() if path not in given})
        self._remove_programs(gone)
        # Afterwards: what follows the stops of the others is among them.
        self._remove_programs(self._shared_by_nobody(gone))
        self._remove_others({path: text for path, text in others.items() if path not in given and not self.remove_only})
        # Now that no unit of its name is there any more: supervisor, when it starts, starts whatever it finds.
        for name, file in of_programs:
            self._write(name, file)

    def pending(self) -> list[str]:
        """The phases in which there is something to do for a service, in their order."""
        _states, todo = self._look()
        programs = self._look_at_programs()
        wanted = {unit for units in todo for unit in units} | programs.keys()
        # Otherwise the call that does it shows it.
        if self.check_mode:
            for event, units in (("started", todo.start), ("restarted", todo.restart), ("reloaded", todo.reload)):
                self._foretell(units, f"to be {event}")
            for name, action in programs.items():
                self._foretell([name], f"to be {action}ed")
        return list(dict.fromkeys(service["phase"] for name, service in self.services.items() if name in wanted))

    def run(self) -> None:
        """Enable and start, restart or reload what has to be, and wait until all of it is up.

        Raises:
            ServiceError: one did not come up, or did not stay.
        """
        self._run_units()
        self._run_programs()

    def _run_units(self) -> None:
        states, todo = self._look()
        self.units |= dict.fromkeys(todo.enable, "enabled")
        for event, units in (("started", todo.start), ("restarted", todo.restart), ("reloaded", todo.reload)):
            self.units |= dict.fromkeys(units, event)
            self._foretell(units, event)
        if self.check_mode:
            return
        if todo.enable:
            self.systemctl.run("enable", "--quiet", "--", *todo.enable)
        asked = [*todo.restart, *todo.start]
        if asked:
            self.systemctl.run("reset-failed", "--", *asked)
        # Without waiting in systemctl: many stop side by side, each within its own time.
        if todo.restart:
            self.systemctl.run("restart", "--no-block", "--", *todo.restart)
        if todo.start:
            self.systemctl.run("start", "--no-block", "--", *todo.start)
        if todo.reload:
            self.systemctl.run("reload", "--", *todo.reload)
        if asked or todo.reload:
            previous = {unit: states[unit].invocation for unit in asked}
            states = self.systemctl.show(states)
        else:
            previous = {}
        stopping = max((self.services[unit]["stop_seconds"] for unit in todo.restart), default=0)
        self.systemctl.wait(states, Watch(previous, self.settle_seconds), timeout=stopping + self.start_seconds)

    def _run_programs(self) -> None:
        if self.programs and not self.check_mode:
            self.supervisor.wait_until_running(self.start_seconds)
        todo = self._look_at_programs()
        for name, action in todo.items():
            self.units[name] = f"{action}ed"
            self._foretell([name], f"{action}ed")
        if self.check_mode or not self.programs:
            return
        # What does not run is forgotten, so that it starts as its file says now.
        self.supervisor.stop(todo)
        if todo:
            self.supervisor.start(todo)
        self.supervisor.wait(self.programs, timeout=self.start_seconds)

    def _write(self, name: str, file: File) -> None:
        outcome = write(file, scratch=self.scratch, check_mode=self.check_mode)
        self.diff += outcome.diff
        if outcome.written or outcome.adjusted:
            self.files.append(file.path)
        if outcome.written:
            self.units[name] = "written"
            self.rewritten.add(file.path)

    def _remove_replaced(self) -> None:
        """Remove the files that others have taken the place of; what runs has read them long ago."""
        entries = [entry for service in self.services.values() for entry in service["files"]]
        found = {path for entry in entries if entry["replaces"] for path in glob.glob(entry["replaces"])}
        for path in sorted(found - {entry["path"] for entry in entries if File.given(entry) is not None}):
            self.files.append(path)
            self.diff.append({"before_header": path, "after_header": path, "before": "out of use\n", "after": ""})
            if not self.check_mode:
                os.unlink(path)

    def _look(self) -> tuple[dict[str, State], Plan]:
        """The states of all services once systemd has read their files, and what there is to do."""
        states = self.systemctl.show(self.unit_services)
        unread = [unit for unit, state in states.items() if state.needs_daemon_reload or self._is_unread(state)]
        if unread:
            self.units = dict.fromkeys(unread, "systemd reloaded") | self.units
        # systemd 252 takes its time to notice the first drop-in of a unit.
        written = any(Path(path).is_relative_to(self.folder) for path in self.rewritten)
        if not self.check_mode and (unread or written or any(state.load != "loaded" for state in states.values())):
            self.systemctl.run("daemon-reload")
            states = self.systemctl.show(states)
        return states, plan(states, {unit: self._written_at(service) for unit, service in self.unit_services.items()})

    def _look_at_programs(self) -> dict[str, str]:
        """Which programs are to be started or restarted."""
        states = self.supervisor.show(self.programs)
        actions = {
            name: states[name].action(self._written_at(service).get("restart", 0))
            for name, service in self.programs.items()
        }
        return {name: action for name, action in actions.items() if action}

    def _is_unread(self, state: State) -> bool:
        """Whether a unit file or drop-in that is written here is not among what systemd has read the unit from.

        systemd itself says it of files that it knows: not of a unit in place of a package's, nor in Debian 12 of a unit's
        first drop-in.
        """
        template = re.sub(r"@.*\.", "@.", state.unit)
        dropins = {str(self.folder / f"{name}.d") for name in (state.unit, template)}
        for entry in self.services[state.unit]["files"]:
            path = entry["path"]
            is_read = path == str(self.folder / state.unit) or os.path.dirname(path) in dropins
            if is_read and File.given(entry) and path not in state.paths:
                return state.load == "loaded"
        return False

    def _written_at(self, service: Mapping[str, Any]) -> dict[str, float]:
        """When the youngest file of a service was written, by what loads it; what this call writes is younger than anything."""
        times: dict[str, float] = {}
        for file in service["files"]:
            when = float("inf") if file["path"] in self.rewritten else written_at(file["path"])
            times[file["loaded_by"]] = max(when, times.get(file["loaded_by"], 0))
        return times

    def _foretell(self, units: Iterable[str], event: str) -> None:
        for unit in units:
            self.diff.append({"before_header": unit, "after_header": unit, "before": "", "after": f"{event}\n"})

    def _marked(self, folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
        """The texts of the files in a folder that carry the application's mark, by path."""
        return {
            path: text for path, text in _texts(folder, suffixes).items() if self.application in _applications(text)
        }

    def _to_go(self, found: Mapping[str, str]) -> dict[str, str]:
        """Those of the files of units or programs that may be removed."""
        return {
            path: text for path, text in found.items() if not self.remove_only or Path(path).stem in self.remove_only
        }

    def _shared_by_nobody(self, gone: Collection[str]) -> dict[str, str]:
        """The programs that all applications share, once none has another program."""
        texts = _texts(self.program_folder, (PROGRAM_SUFFIX,)) if gone and not self.programs else {}
        left = [text for path, text in texts.items() if path not in gone]
        if any(_applications(text) - {EVERYBODY} for text in left):
            return {}
        return {path: text for path, text in texts.items() if EVERYBODY in _applications(text)}

    def _refuse_foreign(self, path: Path, marked: Collection[str]) -> None:
        own = path.parent in (self.folder, self.program_folder)
        if not (self.application and own and os.path.lexists(path)) or str(path) in marked:
            return
        if EVERYBODY in _applications(path.read_text(encoding="utf-8", errors="replace")):
            return
        raise ServiceError(
            f"{path} exists and is not marked as a {'unit' if path.parent == self.folder else 'program'} of {self.application}. "
            "Move it away, or give the application or the process another name."
        )

    def _remove(self, gone: Mapping[str, str]) -> None:
        """Stop, disable and remove units, the texts of their files given by path."""
        units = sorted((Path(path).name for path in gone), key=lambda unit: not unit.endswith(".socket"))
        self._tell_removed(gone)
        if self.check_mode or not units:
            return
        # One call: they stop side by side, each within its own stop timeout.
        self.systemctl.run("disable", "--now", "--quiet", "--", *units)
        self._unlink(gone)
        self.systemctl.run("daemon-reload")
        failed = [unit for unit, state in self.systemctl.show(units).items() if state.active == "failed"]
        if failed:
            self.systemctl.run("reset-failed", "--", *failed)

    def _remove_programs(self, gone: Mapping[str, str]) -> None:
        """Stop and remove programs, the texts of their files given by path."""
        self._tell_removed(gone)
        if self.check_mode or not gone:
            return
        programs = [Path(path).stem for path in gone]
        self.supervisor.stop(programs)
        self._unlink(gone)
        for program in programs:
            (STOP_WORDS / program).unlink(missing_ok=True)
        # What a main process left behind; and where systemd is not told when a control group is empty, it does not know.
        scopes = self.systemctl.show(f"{program}.scope" for program in programs)
        left = [scope for scope, state in scopes.items() if not state.is_down]
        if left:
            self.systemctl.run("stop", "--", *left)

    def _remove_others(self, gone: Mapping[str, str]) -> None:
        """Remove files that belong to no service any more, such as a drop-in of supervisor's own unit."""
        for path, text in gone.items():
            self.files.append(path)
            self.diff.append({"before_header": path, "after_header": path, "before": text, "after": ""})
        if gone and not self.check_mode:
            self._unlink(gone)
            self.systemctl.run("daemon-reload")

    def _tell_removed(self, gone: Mapping[str, str]) -> None:
        for path, text in gone.items():
            self.units[Path(path).name.removesuffix(PROGRAM_SUFFIX)] = "removed"
            self.diff.append({"before_header": path, "after_header": path, "before": text, "after": ""})

    def _unlink(self, gone: Mapping[str, str]) -> None:
        """Remove files, and what was their own, unless it is another service's now."""
        given = {entry["path"] for service in self.services.values() for entry in service["files"]}
        for path, text in gone.items():
            Path(path).unlink()
            for own in re.findall(r"^[#; ]*X-OwnFile=(/.+)$", text, re.MULTILINE):
                if own not in given:
                    Path(own).unlink(missing_ok=True)


def _is_program(service: Mapping[str, Any]) -> bool:
    return service["manager"] == "supervisor"


def _identity(service: Mapping[str, Any]) -> str:
    """What a service is called by the one that runs it."""
    return service["name"] if _is_program(service) else unit_name(service["name"])


def _texts(folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    """The texts of the files of a folder, by path; none where there is no such folder."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        str(path): path.read_text(encoding="utf-8", errors="replace")
        for path in paths
        if path.name.endswith(suffixes) and path.is_file() and not path.is_symlink()
    }


def _applications(text: str) -> set[str]:
    """The applications that a file is marked as one of."""
    return set(re.findall(r"^[#; ]*X-Application=(.+)$", text, re.MULTILINE))


def _without_contents(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The module's parameters as the result may show them."""
    services = [
        {
            **service,
            "files": [{k: v for k, v in file.items() if not k.endswith("content")} for file in service["files"]],
        }
        for service in parameters["services"]
    ]
    return {**parameters, "services": services}


def main() -> None:
    """Ansible's entry point."""
    module = Module(argument_spec=ARGUMENTS, supports_check_mode=True)
    module.no_log_values = {value for value in module.no_log_values if len(value) >= SHORTEST_MASKED}
    supervisor = Supervisor(module.params["supervisor_socket"])
    services = Services(module.params, Systemctl(), supervisor, scratch=module.tmpdir, check_mode=module.check_mode)
    result: dict[str, Any] = {"invocation": {"module_args": _without_contents(module.params)}}
    try:
        services.write()
        if module.params["state"] == "written":
            result["pending"] = services.pending()
        else:
            services.run()
    except (FileError, ServiceError, OSError) as error:
        module.fail_json(msg=str(error), units=services.units, files=services.files, **result)
    result |= {
        "changed": bool(services.units or services.files or services.diff),
        "units": services.units,
        "files": services.files,
    }
    if module._diff and services.diff:
        result["diff"] = services.diff
    module.exit_json(**result)


if __name__ == "__main__":
    main()
