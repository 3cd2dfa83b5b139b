"""Rules of the role process_manager."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils import arguments, programs, units
from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import environment_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.patterns import limit_problems

SOCKET = re.compile(r"/[^\s%]+|(\[[0-9a-fA-F:]+\]|[0-9.]+):[0-9]+")
# Of a definition that does not say it itself.
_DEFINITION = arguments.options("process_manager")["process_manager_definitions"]["options"]
RESTART_DELAY = _DEFINITION["restart_delay"]["default"]
# What becomes part of a line of the unit as it stands: text without spaces, quotes and %.
PLAIN = ("user", "group", "socket_group", "state_directory", "runtime_directory")


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the definitions; a sentence each with the definition, what is wrong and the fix."""
    found = []
    application = given["process_manager_application"]
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", application):
        found.append(
            f"process_manager_application is {application!r}: use lower-case letters, digits, dashes; a letter first."
        )
    if given["process_manager_stop_timeout_reboot"] < 1:
        found.append(
            f"process_manager_stop_timeout_reboot is {given['process_manager_stop_timeout_reboot']}: it takes at least a second."
        )
    where = "process_manager_definitions"
    names: set[str] = set()
    for definition in units.complete(given[where]):
        name = definition["name"]
        if name in names:
            found.append(f"{where}: two definitions are named {name!r}. Give each its own name.")
        names.add(name)
        found += [f"{where}: {name}: {sentence}" for sentence in _definition(definition)]
        if programs.is_program(definition, given["process_manager_backend"]):
            found += [f"{where}: {name}: {sentence}" for sentence in _program(definition)]
    return found


def _program(definition: Mapping[str, Any]) -> list[str]:
    """What supervisor cannot do of what a definition says."""
    found = []
    other = "or have systemd run it (process_manager_backend: systemd)"
    if definition["settings"]:
        sections = ", ".join(definition["settings"])
        found.append(f"settings has lines of {sections}, which are of systemd's units. Take them out, {other}.")
    if not definition["network"]:
        found.append(f"network is false, but supervisor has no sandbox. Take it out, {other}.")
    if definition["type"] == "notify":
        found.append(f"type is notify, but supervisor is told nothing by what it runs. Make it exec, {other}.")
    if definition["restart_delay"] != RESTART_DELAY:
        found.append(
            f"restart_delay is {definition['restart_delay']}, but supervisor starts again at once, and after each start in vain a second "
            f"later. Take it out, {other}."
        )
    words = [*definition["command"], definition["directory"], *definition["environment_files"]]
    if any(re.search(r"[\r\n\v\f\x00]", word) for word in words):
        found.append(
            f"the command has an argument with a line break, which supervisor cannot pass on. Put it into a file, {other}."
        )
    if re.search(r"\s[;#]|\s$", definition["directory"]):
        found.append(
            f"the directory {definition['directory']!r} would be cut off at a comment. Give it another name, {other}."
        )
    return found


def _definition(definition: Mapping[str, Any]) -> list[str]:
    found = []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", definition["name"]):
        found.append("this would not make a unit's name. Use letters, digits, dashes and underscores.")
    if not definition["command"] or not definition["command"][0].startswith("/"):
        found.append(
            f"the command has to begin with a program's absolute path, not {definition['command'][:1]}. Write it out."
        )
    found += environment_problems(definition["environment"], "environment")
    found += [
        f"{key} is {definition[key]!r}: write it without spaces, quotes and %."
        for key in PLAIN
        if re.search(r"[\s\"'%]", definition[key])
    ]
    found += [
        f"{path!r} is to be an absolute path without % and line breaks. Write it out."
        for path in (definition["directory"], *definition["environment_files"], *definition["configuration_files"])
        if not re.fullmatch(r"/[^%\r\n]*", path)
    ]
    found += [
        f"the {kind} path {path!r} is not absolute. Begin it with a slash."
        for kind, key in (("writable", "writable_paths"), ("read", "read_paths"))
        for path in definition[key]
        if not path.startswith("/")
    ]
    found += [
        f"{key} is {definition[key]}. It takes at least a second."
        for key in ("stop_timeout", "stop_timeout_reboot", "kill_timeout")
        if definition[key] is not None and definition[key] < 1
    ]
    found += limit_problems(definition)
    socket, runtime = definition["socket"], definition["runtime_directory"]
    if socket and not SOCKET.fullmatch(socket):
        found.append(f"the socket {socket!r} is neither an absolute path nor address:port. Make it one of them.")
    if runtime and socket.startswith(f"/run/{runtime}/"):
        found.append(
            f"the socket {socket} stands in the runtime directory {runtime}, which is removed with every stop. "
            "Put one of them elsewhere."
        )
    return [*found, *_settings(definition)]


def _settings(definition: Mapping[str, Any]) -> list[str]:
    found = []
    for section, settings in definition["settings"].items():
        if section not in units.SECTIONS:
            found.append(f"settings: there is no section {section!r}. It is one of {', '.join(units.SECTIONS)}.")
            continue
        if section == "Socket" and not definition["socket"]:
            found.append("settings: Socket has lines, but there is no socket. Give one, or take the lines away.")
        if not isinstance(settings, Mapping):
            found.append(f"settings: {section} is {settings!r}. Write names with values, as in {{Nice: 5}}.")
            continue
        for name, values in settings.items():
            values = values if isinstance(values, list | tuple) else [values]
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", str(name)):
                found.append(
                    f"settings: {section}: {name!r} is no name of a setting. It has letters, digits and dashes."
                )
            if any(not isinstance(value, str | int | float) or "\n" in str(value) for value in values):
                found.append(f"settings: {section}: {name} is to be text or a number on one line, or a list of such.")
    return found
