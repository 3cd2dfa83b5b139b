"""Process definitions become units, or programs of supervisor's: the templates of the role process_manager, rendered on the control node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.stockpot.stack.plugins.plugin_utils import arguments, programs
from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import environment_value
from jinja2 import Environment, FileSystemLoader, StrictUndefined

SECTIONS = ("Unit", "Service", "Install", "Socket")
UNIT_FOLDER = "/etc/systemd/system"
STOP_PROGRAM = "/usr/local/lib/stockpot/stop-process"
# How long a reboot waits for a process that is told to end; seconds.
STOP_TIMEOUT_REBOOT = 60


def complete(definitions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Process definitions with the defaults of the role's argument spec filled in.

    Raises:
        AnsibleFilterError: a definition has a key or a type that the spec does not know.
    """
    name = "process_manager_definitions"
    spec = {name: arguments.options("process_manager")[name]}
    result = ArgumentSpecValidator(spec).validate({name: _plain(definitions)})
    if result.error_messages:
        raise AnsibleFilterError("\n".join(result.error_messages))
    return result.validated_parameters[name]


def unit_name(definition: Mapping[str, Any], application: str, kind: str = "service") -> str:
    """The unit of a process definition; `kind` is service or socket."""
    return f"{application}-{definition['name']}.{kind}"


def place(definition: Mapping[str, Any], application: str, backend: str) -> str:
    """The unit of systemd's in which a process is: its service, or the scope of a program of supervisor's."""
    if programs.is_program(definition, backend):
        return programs.scope_name(definition, application)
    return unit_name(definition, application)


def word(text: Any) -> str:
    """A text as one literal word of a unit file, for Environment= and paths: nothing in it is expanded by systemd.

    Args:
        text: any text; line breaks and tabs are written as escapes.
    """
    escaped = str(text)
    for plain, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("\n", "\\n"), ("\t", "\\t")):
        escaped = escaped.replace(plain, written)
    return escaped if escaped and not re.search(r"[\s'\"\\;#]", escaped) else f'"{escaped}"'


def argument(text: Any) -> str:
    """A text as one literal word of a command line, where `$` would be expanded too."""
    return word(text).replace("$", "$$")


def own_environment_file(application: str, name: str) -> str:
    """Where a process's own variables stand, for systemd alone to read."""
    return f"/etc/{application}/processes/{name}.environment"


def environment_files(definition: Mapping[str, Any], application: str) -> list[str]:
    """The files that a process gets its variables from; what is in a later one wins, and its own come last."""
    own = [own_environment_file(application, definition["name"])] if definition.get("environment") else []
    return [*definition.get("environment_files", []), *own]


def stop_seconds(definition: Mapping[str, Any]) -> int:
    """The longest a stop of a process can take until it is killed, in seconds."""
    return definition["stop_timeout"] + (definition["kill_timeout"] if definition["quit_signal"] else 0)


def stops_by_program(definition: Mapping[str, Any]) -> bool:
    """Whether a stop is more than one signal and one time, which is all that systemd knows: it has a second signal, or a reboot waits less long."""
    return bool(definition["quit_signal"]) or definition["stop_timeout"] > definition["stop_timeout_reboot"]


def stop_words(definition: Mapping[str, Any]) -> list[str]:
    """What `stop-process` is given: the seconds a reboot waits, then each signal and its seconds."""
    signals = [(definition["stop_signal"], definition["stop_timeout"])]
    if definition["quit_signal"]:
        signals.append((definition["quit_signal"], definition["kill_timeout"]))
    named = [word for name, seconds in signals for word in (name.removeprefix("SIG"), str(seconds))]
    return [str(definition["stop_timeout_reboot"]), *named]


def process_services(
    definitions: Iterable[Mapping[str, Any]],
    application: str,
    role_path: str,
    backend: str = "systemd",
    after: str = "",
    stop_timeout_reboot: int = STOP_TIMEOUT_REBOOT,
) -> list[dict[str, Any]]:
    """The services, for the module `services`, that run an application's processes; a socket is one of its own.

    Args:
        definitions: as in the argument spec of process_manager.
        application: begins the units' names and marks them.
        role_path: the role's folder, with templates/ and files/.
        backend: systemd or supervisor; what listens on a socket is systemd's under both.
        after: units that are up before the processes, as After= has them.
        stop_timeout_reboot: how long a reboot waits for a process that does not say it itself, in seconds.

    Raises:
        AnsibleFilterError: a definition is not what the spec says.
    """
    role = Path(role_path)
    templates = _templates(role / "templates")
    services, stops = [], []
    for process in complete(definitions):
        process["stop_timeout_reboot"] = process["stop_timeout_reboot"] or stop_timeout_reboot
        values = _values(process, application, after)
        if programs.is_program(process, backend):
            stops.append(stop_seconds(process))
            services.append(_program_service(process, application, templates, values))
        else:
            services += _unit_services(process, application, templates, values, role)
    if stops:
        seconds = max(stops) + programs.STOP_MARGIN
        values = {"application": application, "after": after, "seconds": seconds}
        texts = [
            templates.get_template(f"supervisor/{name}").render(values)
            for name in ("supervisor.service.conf.j2", "tmpfiles.conf.j2")
        ]
        services = [*programs.supervisor_services(application, role, seconds, *texts), *services]
    return services


def _values(process: Mapping[str, Any], application: str, after: str) -> dict[str, Any]:
    """What the templates of units and programs say of a complete definition."""
    title = " ".join((process["description"] or f"{application} {process['name']}").split())
    return {
        "application": application,
        "after": after,
        "process": process,
        "settings": {section: _lines(process["settings"].get(section, {})) for section in SECTIONS},
        "environment_files": environment_files(process, application),
        "own_environment_file": own_environment_file(application, process["name"]),
        "stops_by_program": stops_by_program(process),
        "stop_program": STOP_PROGRAM,
        "stop_words": stop_words(process),
        "stop_seconds": stop_seconds(process),
        "title": title,
        "socket": unit_name(process, application, "socket"),
    }


def _unit_services(
    process: Mapping[str, Any], application: str, templates: Environment, values: Mapping[str, Any], role: Path
) -> list[dict[str, Any]]:
    """A process as units of systemd's: its service, after its socket."""
    services: list[dict[str, Any]] = []
    for kind in ["socket", "service"] if process["socket"] else ["service"]:
        unit = unit_name(process, application, kind)
        text = templates.get_template(f"systemd/process.{kind}.j2").render(values)
        services.append(
            {
                "name": unit,
                "phase": process["phase"],
                "files": [{"path": f"{UNIT_FOLDER}/{unit}", "content": text}],
                "stop_seconds": stop_seconds(process),
            }
        )
    _add_what_it_reads(services[-1]["files"], process, application)
    if stops_by_program(process):
        program = (role / "files/stop-process").read_text(encoding="utf-8")
        services[-1]["files"].append({"path": STOP_PROGRAM, "content": program, "mode": "0755", "loaded_by": "nothing"})
    return services


def _program_service(
    process: Mapping[str, Any], application: str, templates: Environment, values: Mapping[str, Any]
) -> dict[str, Any]:
    """A process as a program of supervisor's."""
    name = programs.program_name(process, application)
    text = templates.get_template("supervisor/program.conf.j2").render(
        **values, program=name, library=programs.LIBRARY, priority=programs.PRIORITIES[process["phase"]]
    )
    files: list[dict[str, Any]] = [{"path": f"{programs.PROGRAM_FOLDER}/{name}.conf", "content": text}]
    _add_what_it_reads(files, process, application)
    return {
        "name": name,
        "manager": "supervisor",
        "phase": process["phase"],
        "files": files,
        "stop_seconds": stop_seconds(process),
    }


def _add_what_it_reads(files: list[dict[str, Any]], process: Mapping[str, Any], application: str) -> None:
    """Add the files that a process reads to the one of its unit or program: with another content, they restart it."""
    files += [
        {"path": path}
        for path in (*process["environment_files"], *process["configuration_files"], *process["read_paths"])
    ]
    own = own_environment_file(application, process["name"])
    if process["environment"]:
        lines = [f"{name}={environment_value(value)}\n" for name, value in sorted(process["environment"].items())]
        files.append({"path": own, "secret_content": "".join(lines), "mode": "0600"})
    else:
        # Of the time when it had some.
        files[0]["replaces"] = own


def _plain(value: Any) -> Any:
    """A value of Python's own containers: Ansible's lazy ones are copied with all variables of the host, which takes a second."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_plain(entry) for entry in value]
    return value


def _templates(folder: Path) -> Environment:
    templates = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  units are no HTML
    )
    templates.filters |= {"word": word, "argument": argument, "setting": programs.setting, "plain": programs.plain}
    return templates


def _lines(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines of a section: one for each value of a list."""
    return [
        (name, str(value).lower() if isinstance(value, bool) else str(value))
        for name, values in settings.items()
        for value in (values if isinstance(values, list | tuple) else [values])
    ]
