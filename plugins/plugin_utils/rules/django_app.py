"""Rules of the role django_app."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import URL_PASSWORD, environment_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.source import subdirectory_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.patterns import application_problems

MODULE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
# What systemd-tmpfiles and unit files take without quoting.
PLAIN_PATH = re.compile(r"(/(?!\.\.?(/|$))[^\s/%\"'\\]+)+/?")
ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[0-9.]+):(\d{1,5})")
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
        *environment_problems(given["django_app_environment"], "django_app_environment"),
        *_paths(given),
        *_commands(given),
        *_processes(given),
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
    if not re.fullmatch(rf"{MODULE}:[A-Za-z_]\w*(\(.*\))?", given["django_app_wsgi"]):
        found.append(
            f"django_app_wsgi is {given['django_app_wsgi']!r}: write module:callable, such as config.wsgi:application."
        )
    if URL_PASSWORD.search(given["django_app_database"]):
        found.append("django_app_database holds a password: leave it out, it does not tell databases apart.")
    archive = given["django_app_archive"]
    if archive and not archive.get("problems") and not (archive.get("archive") and archive.get("digest")):
        found.append("django_app_archive has no archive and digest: give what stockpot.stack.project_archive returned.")
    return found + list(archive.get("problems", []))


def _paths(given: Mapping[str, Any]) -> list[str]:
    found = subdirectory_problems(given["django_app_subdirectory"])
    for name in ("django_app_requirements", "django_app_static_root"):
        if given[name] and posixpath.normpath(given[name]).split("/")[0] in ("", ".", ".."):
            found.append(f"{name} is {given[name]!r}: it has to be inside manage.py's folder, relative to it.")
    if not given["django_app_requirements"]:
        found.append("django_app_requirements is empty: name the requirements file with hashes.")
    media = given["django_app_media_root"]
    if media and not PLAIN_PATH.fullmatch(media):
        found.append(f"django_app_media_root is {media!r}: it has to be an absolute path without spaces or quotes.")
    bind = given["django_app_bind"]
    address = ADDRESS.fullmatch(bind)
    if not PLAIN_PATH.fullmatch(bind) and not (address and int(address[2]) <= 65535):
        found.append(f"django_app_bind is {bind!r}: it has to be an absolute path or address:port.")
    return found


def _commands(given: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} holds {command!r}: write a manage.py command as a list of words, such as [check, --deploy]."
        for name in ("django_app_check_commands", "django_app_release_commands")
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
