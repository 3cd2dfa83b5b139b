"""Rules of the role django_app."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import options
from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import URL_PASSWORD, environment_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.gunicorn import settings_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.placed import placed_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.build import command_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.locks import KINDS, reader_of
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.python import KNOWN
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.source import subdirectory_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.patterns import (
    DEPLOYED,
    application_problems,
    limit_problems,
    served_folder_problems,
)
from packaging.requirements import InvalidRequirement, Requirement

MODULE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
# What systemd-tmpfiles and unit files take without quoting.
PLAIN_PATH = re.compile(r"(/(?!\.\.?(/|$))[^\s/%\"'\\]+)+/?")
ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[0-9.]+):(\d{1,5})")
ENVIRONMENTS = ("django_app_environment", "django_app_web_environment", "django_app_manage_environment")
# What another web server takes no notice of.
OF_GUNICORN = (
    *("django_app_web_workers", "django_app_web_threads", "django_app_web_max_requests"),
    *("django_app_gunicorn_settings", "django_app_gunicorn_config"),
)
MANAGE_COMMANDS = tuple(f"django_app_{when}_commands" for when in ("check", "release", "once", "host_release"))
LEAST = {
    "django_app_keep_releases": 1,
    "django_app_web_workers": 1,
    "django_app_web_threads": 1,
    "django_app_web_timeout": 1,
    "django_app_web_max_requests": 0,
}


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments of the role django_app; a sentence each, without a secret in it."""
    found = [
        *_project(given),
        *_web(given),
        *(problem for name in ENVIRONMENTS for problem in environment_problems(given[name], name)),
        *_paths(given),
        *_packages(given),
        *_python(given),
        *_commands(given),
        *_processes(given),
        *placed_problems(given),
        *limit_problems(given, "django_app_web_"),
        *(
            f"{name} is {given[name]}: it has to be at least {least}."
            for name, least in LEAST.items()
            if given[name] < least
        ),
    ]
    # What is written is looked at here and where it is packed.
    return list(dict.fromkeys(found))


def _project(given: Mapping[str, Any]) -> list[str]:
    found = application_problems("django_app_name", given["django_app_name"])
    if not re.fullmatch(MODULE, given["django_app_settings_module"]):
        found.append(
            f"django_app_settings_module is {given['django_app_settings_module']!r}: "
            "write a module such as config.settings."
        )
    if URL_PASSWORD.search(given["django_app_database"]):
        found.append("django_app_database holds a password: leave it out, it does not tell databases apart.")
    archive = given["django_app_archive"]
    if archive and not archive.get("problems") and not (archive.get("archive") and archive.get("digest")):
        found.append("django_app_archive has no archive and digest: give what stockpot.stack.project_archive returned.")
    return found + list(archive.get("problems", []))


def _web(given: Mapping[str, Any]) -> list[str]:
    """What the site is served by, and what is said that this takes no notice of."""
    command, asgi = given["django_app_web_command"], given["django_app_asgi"]
    found = [
        f"{name} is {given[name]!r}: write module:callable, such as config.{name.rpartition('_')[2]}:application."
        for name in ("django_app_wsgi", "django_app_asgi")
        if given[name] and not re.fullmatch(rf"{MODULE}:[A-Za-z_]\w*(\(.*\))?", given[name])
    ]
    if not (command or asgi or given["django_app_wsgi"]):
        found.append(
            "django_app_wsgi is empty: name the WSGI application as module:callable, an ASGI one in django_app_asgi, "
            "or another server in django_app_web_command."
        )
    if command and not re.fullmatch(r"[^\s-]\S*", command[0]):
        found.append(
            f"django_app_web_command: {command[:1]} names no program: write a list of words, such as "
            '[uvicorn, --fd, "3", "config.asgi:application"].'
        )
    if command and asgi:
        found.append(
            "django_app_asgi has no effect beside django_app_web_command, which names its application: take one of them out."
        )
    useless = {**dict.fromkeys(OF_GUNICORN, "beside django_app_web_command: say it there, and")} if command else {}
    if asgi and not command:
        useless["django_app_web_threads"] = "beside django_app_asgi, as one event loop runs all requests of a process:"
    default = options("django_app")
    found += [
        f"{name} is {given[name]!r}, which has no effect {why} take it out."
        for name, why in useless.items()
        if given[name] != default[name]["default"]
    ]
    gunicorn = given["django_app_archive"].get("versions", {}).get("gunicorn", "")
    name = "django_app_gunicorn_settings"
    return found + ([] if name in useless else settings_problems(name, given[name], gunicorn))


def _packages(given: Mapping[str, Any]) -> list[str]:
    found = []
    named = given["django_app_requirements"]
    files = [named] if isinstance(named, str) else named
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        return ["django_app_requirements: write a file's name, or a list of names."]
    if not [file for file in files if file]:
        found.append(f"django_app_requirements is empty: name the project's lock or requirements file: {KINDS}.")
    top = given["django_app_subdirectory"]
    top = "" if subdirectory_problems(top) else top
    for file in filter(None, files):
        if posixpath.normpath(posixpath.join(top, file)).split("/")[0] in ("", ".", ".."):
            found.append(
                f"django_app_requirements: {file} has to be inside the source, relative to manage.py's folder."
            )
        elif not reader_of(file):
            found.append(f"django_app_requirements: {file} is of no kind that can be installed. Name one of {KINDS}.")
    for requirement in given["django_app_overlay"]:
        try:
            Requirement(requirement)
        except InvalidRequirement:
            found.append(f"django_app_overlay: {requirement!r} is no requirement: write it such as gunicorn>=23.")
    if given["django_app_lock"] and not given["django_app_lock"].startswith("/"):
        found.append(
            "django_app_lock has to be an absolute path on the control node: begin it with {{ inventory_dir }}/."
        )
    for name in ("django_app_index_url", "django_app_extra_index_urls"):
        # Never shown: it may hold a login.
        addresses = [given[name]] if isinstance(given[name], str) else given[name]
        if not all(re.fullmatch(r"https?://\S+", address) for address in filter(None, addresses)):
            found.append(f"{name}: an address is no URL: write it such as https://packages.example.com/simple.")
    from_git = [source for source in given["django_app_archive"].get("sources", []) if "git+" in source]
    if from_git and "git" not in given["django_app_packages"]:
        found.append(
            f"django_app_packages has to hold git: servers fetch {', '.join(from_git)} at its commit, from its repository."
        )
    return found


def _python(given: Mapping[str, Any]) -> list[str]:
    python, mirror = given["django_app_python"], given["django_app_python_mirror"]
    found = []
    version = re.fullmatch(r"(3\.\d+)(\.\d+)?", python)
    if python and not PLAIN_PATH.fullmatch(python) and not (version and version[1] in KNOWN):
        found.append(
            f"django_app_python is {python!r}: write an interpreter's path, or one of the versions {', '.join(KNOWN)} in quotes."
        )
    if mirror and not re.fullmatch(r"(https?|file)://\S+", mirror):
        found.append(
            f"django_app_python_mirror is {mirror!r}: write a URL, or file:///path of a folder on the servers."
        )
    return found


def _paths(given: Mapping[str, Any]) -> list[str]:
    found = subdirectory_problems(given["django_app_subdirectory"])
    static = given["django_app_static_root"]
    if static and posixpath.normpath(static).split("/")[0] in ("", ".", ".."):
        found.append(f"django_app_static_root is {static!r}: it has to be inside manage.py's folder, relative to it.")
    own = given["django_app_gunicorn_config"]
    if own and (posixpath.normpath(own).split("/")[0] in ("", ".", "..") or not own.endswith(".py")):
        found.append(
            f"django_app_gunicorn_config is {own!r}: name a Python file inside manage.py's folder, relative to it."
        )
    media = given["django_app_media_root"]
    if media and not PLAIN_PATH.fullmatch(media):
        found.append(f"django_app_media_root is {media!r}: it has to be an absolute path without spaces or quotes.")
    elif DEPLOYED.fullmatch(posixpath.normpath(media)):
        found.append(
            f"django_app_media_root is {media!r}: it would be gone with the release. Name a folder outside of it, such as "
            f"/srv/{given['django_app_name']}/media."
        )
    else:
        # The application may write there, and the proxy shows what it finds.
        found += served_folder_problems("django_app_media_root", media, given["django_app_name"])
    bind = given["django_app_bind"]
    address = ADDRESS.fullmatch(bind)
    if not PLAIN_PATH.fullmatch(bind) and not (address and int(address[2]) <= 65535):
        found.append(f"django_app_bind is {bind!r}: it has to be an absolute path or address:port.")
    return found


def _commands(given: Mapping[str, Any]) -> list[str]:
    manage = given["django_app_manage"]
    found = []
    if not manage or not re.fullmatch(r"[^\s-]\S*", manage[0]):
        found.append(
            f"django_app_manage is {manage!r}: write the words before a manage command, such as [python, manage.py] or "
            "[python, -m, django]."
        )
    return [
        *found,
        *(
            problem
            for name in ("django_app_build_commands", "django_app_host_build_commands")
            for problem in command_problems(name, given[name])
        ),
        *_manage_commands(given),
    ]


def _manage_commands(given: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} holds {command!r}: write a manage.py command as a list of words, such as [check, --deploy]."
        for name in MANAGE_COMMANDS
        for command in given[name]
        if not isinstance(command, list)
        or not command
        or not all(isinstance(word, str | int) and not isinstance(word, bool) for word in command)
        or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", str(command[0]))
    ]


def _processes(given: Mapping[str, Any]) -> list[str]:
    return [
        f"django_app_processes_extra: {process['name']}: the command {process['command'][:1]} names no program: "
        "write a list of words, such as [python, -m, shop.listener]."
        for process in given["django_app_processes_extra"]
        if not re.fullmatch(r"\S+", (process["command"] or [""])[0])
    ]
