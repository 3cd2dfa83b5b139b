"""What stands outside of a release and is linked into it: folders that a project writes to, and files that an operator gives it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import without_secrets

# What systemd-tmpfiles and unit files take without quoting, relative to the project.
INSIDE = re.compile(r"(?!/)((?:^|/)(?!\.\.?(/|$))[^\s/%\"'\\]+)+/?")
# The application's group may read it and nobody else.
MODE = re.compile(r"0[4-7][4-7]0")


def shared_folders(paths: Iterable[str], application: str) -> list[str]:
    """Where the folders are that a project writes to inside its source.

    Args:
        paths: `django_app_shared_paths`.
        application: `django_app_name`.
    """
    return [f"/srv/{application}/shared/{posixpath.normpath(path)}" for path in paths]


def file_paths(files: Iterable[Mapping[str, Any]], application: str) -> list[str]:
    """Where the files stand that an operator gives a project.

    Args:
        files: `django_app_files`.
        application: `django_app_name`.
    """
    return [_path(file, application) for file in files]


def placed_files(
    files: Iterable[Mapping[str, Any]], application: str, withheld: Iterable[Any] | None = None
) -> list[dict[str, Any]]:
    """The files that an operator gives a project, as the module written_files takes them.

    Args:
        files: `django_app_files`.
        application: `django_app_name`; it reads them, and nobody else.
        withheld: secrets that this host must not learn, as in `without_secrets`; None for one that may.
    """
    return [
        {
            "path": _path(file, application),
            "secret_content": file["content"]
            if withheld is None
            else without_secrets({"content": file["content"]}, withheld)["content"],
            "group": application,
            "mode": file.get("mode") or "0640",
        }
        for file in files
    ]


def release_links(paths: Iterable[str], files: Iterable[Mapping[str, Any]], application: str) -> list[dict[str, Any]]:
    """What is linked into a release, as the module release_links takes it.

    Args:
        paths: `django_app_shared_paths`.
        files: `django_app_files`; those with an absolute path are found there by whoever is told it.
        application: `django_app_name`.
    """
    paths, files = list(paths), list(files)
    folders = [
        {"path": posixpath.normpath(path), "target": target, "folder": True}
        for path, target in zip(paths, shared_folders(paths, application), strict=True)
    ]
    return folders + [
        {"path": posixpath.normpath(file["path"]), "target": _path(file, application)}
        for file in files
        if not file["path"].startswith("/")
    ]


def placed_problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with shared paths and files as they are written, a sentence each.

    Args:
        given: the arguments of django_app.
    """
    static = given["django_app_static_root"]
    served = posixpath.normpath(static) if static else ""
    shared, found = _inside(given["django_app_shared_paths"])
    files, wrong = _files(given["django_app_files"], given["django_app_name"])
    found += wrong
    found += [
        f"django_app_shared_paths: {one!r} and {other!r} are inside each other. Leave the outer one."
        for one, other in combinations(shared, 2)
        if _meet(one, other)
    ]
    for variable, paths in (("django_app_shared_paths", shared), ("django_app_files", files)):
        found += [
            f"{variable}: {path!r} and django_app_static_root, {static!r}, are inside each other: visitors would read it. Take another folder."
            for path in paths
            if served and _meet(path, served)
        ]
    found += [
        f"django_app_files: {path!r} and the shared path {folder!r} are inside each other. Take another path."
        for path in files
        for folder in shared
        if _meet(path, folder)
    ]
    return found


def _inside(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """The shared paths, normal, and a sentence for each that is none."""
    shared, found = [], []
    for path in paths:
        if INSIDE.fullmatch(path):
            shared.append(posixpath.normpath(path))
        else:
            found.append(
                f"django_app_shared_paths: {path!r} has to be a folder inside the project, relative to manage.py's folder and without "
                "spaces or quotes, such as exports."
            )
    return shared, found


def _files(given: Iterable[Mapping[str, Any]], application: str) -> tuple[list[str], list[str]]:
    """The paths of the files inside the project, normal, and what is wrong with each file by itself."""
    own = f"/etc/{application}/files/"
    files, found, seen = [], [], set()
    for file in given:
        where = f"django_app_files: {file['path']!r}"
        path = file["path"].removeprefix(own)
        if not INSIDE.fullmatch(path) or path.endswith("/"):
            found.append(
                f"{where} has to be a file's path, relative to manage.py's folder or inside {own}, without spaces or quotes."
            )
        elif path == file["path"]:
            files.append(path)
        if path in seen:
            found.append(f"{where} is there twice. Leave one.")
        seen.add(path)
        if not MODE.fullmatch(file.get("mode", "0640")):
            found.append(
                f'{where} has the mode {file["mode"]!r}: write one that the application can read and others cannot, such as "0640".'
            )
        if "\0" in file["content"]:
            found.append(f"{where} holds a zero byte: give text, a key for example as PEM.")
    return files, found


def _path(file: Mapping[str, Any], application: str) -> str:
    return posixpath.normpath(posixpath.join(f"/etc/{application}/files", file["path"]))


def _meet(one: str, other: str) -> bool:
    """Whether two normal paths are the same, or one is inside the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
