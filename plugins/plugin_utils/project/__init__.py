"""A Django project, packed on the control node into an archive whose name is its content, with the packages it needs."""

from __future__ import annotations

import hashlib
import os
import posixpath
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .archive import Entry, digest_of, entries_of, file_problems, link_problems, shared_problems, static_problems, store
from .build import Command, built
from .lock import lock_project
from .locks import Wanted
from .parts import UNKNOWN, Parts, part_problems
from .resolve import Index
from .source import ProjectError, Source, find_source

# What serves ASGI applications beside gunicorn, and WebSockets with them.
ASGI_SERVER = ("uvicorn-worker", "websockets")


@dataclass(frozen=True)
class Project:
    """What an operator says of a project.

    Attributes:
        source: absolute path of a folder on this machine, or a git address.
        version: tag, branch or commit; empty packs a folder as it lies there.
        subdirectory: folder inside the source that holds manage.py; empty for its top.
        requirements: files that say which packages it needs, relative to manage.py's folder.
        extras: optional dependencies to install, by name.
        dependency_groups: groups of dependencies to install, by name.
        overlay: requirements of the deployment's own.
        build_commands: what is run on a copy of the source before it is packed.
        build_excludes: names of folders that these make and servers do not need.
        manage: the words before a manage command.
        asgi: the ASGI application that gunicorn serves; empty for none.
        gunicorn_config: the project's configuration of gunicorn, relative to manage.py's folder; empty for none.
        static_root: folder that visitors may read, relative to manage.py's; empty for none.
        shared_paths: folders that outlive a release, relative to manage.py's.
        files: paths of files that the project is given; those inside it are relative to manage.py's folder.
        lock: path of the lock on this machine for a project that has none which servers can use as it is.
        index: where packages come from.
        parts: what the project is said to consist of, held against its files.
    """

    source: str
    version: str = ""
    subdirectory: str = ""
    requirements: Sequence[str] = ("requirements.txt",)
    extras: Sequence[str] = ()
    dependency_groups: Sequence[str] = ()
    overlay: Sequence[str] = ()
    build_commands: Sequence[Command] = ()
    build_excludes: Sequence[str] = ()
    manage: Sequence[str] = ("python", "manage.py")
    asgi: str = ""
    gunicorn_config: str = ""
    static_root: str = ""
    shared_paths: Sequence[str] = ()
    files: Sequence[str] = ()
    lock: Path | None = None
    index: Index = field(default_factory=Index)
    parts: Parts = field(default_factory=Parts)


def pack(project: Project, *, pythons: Mapping[str, str], cache: Path) -> dict[str, Any]:
    """Pack a project.

    Args:
        project: what is packed.
        pythons: the version of Python that each server builds it with.
        cache: folder for archives, locks and fetched repositories.

    Returns:
        `archive` (its path), `digest` (of all that is installed), `commit` (empty without a version), `requirements` (path of
        what is installed, empty when the project's own files are), `sources` (what is installed without hashes), `versions` (of
        each package the lowest that is locked), and `lock_before` and `lock_after`, the texts of the lock; they differ when it is to be written.

    Raises:
        ProjectError: with a sentence for everything that the operator has to change.
    """
    cache.mkdir(parents=True, exist_ok=True)
    found = find_source(source=project.source, version=project.version, subdirectory=project.subdirectory, cache=cache)
    entries = entries_of(found, cache)
    if problem := manage_problem(entries, project):
        raise ProjectError(problem)
    problems = problems_of(entries, project)
    if (own := project.gunicorn_config) and posixpath.normpath(own) not in entries:
        problems.append(
            f"django_app_gunicorn_config: there is no {own} in the project, or git ignores it. Name a file relative to manage.py's folder, "
            "or leave it empty."
        )
    try:
        locked = lock_project(
            files_of(found, entries, project, cache),
            requirements=project.requirements,
            wanted=Wanted.named(project.extras, project.dependency_groups),
            overlay=[*project.overlay, *(ASGI_SERVER if project.asgi else ())],
            index=project.index,
            path=project.lock,
            pythons=pythons,
        )
    except ProjectError as error:
        raise ProjectError(*problems, *error.problems) from error
    if problems:
        raise ProjectError(*problems)
    if project.build_commands:
        entries = built_entries(found, project, cache)
        if problems := problems_of(entries, project):
            raise ProjectError(*problems)
    digest = digest_of(entries)
    requirements = ""
    if locked.text:
        requirements = str(stored(locked.hashed, cache))
        digest = hashlib.sha256(f"{digest} {locked.hashed} {locked.sources}".encode()).hexdigest()
    return {
        "archive": str(store(entries, digest_of(entries), cache)),
        "digest": digest,
        "commit": found.commit,
        "requirements": requirements,
        "sources": locked.sources,
        "versions": locked.versions,
        "lock_before": locked.before,
        "lock_after": locked.text or locked.before,
    }


def manage_problem(entries: Mapping[str, Entry], project: Project) -> str:
    """Why manage commands could not be run: the script that they are given to is not in the project. Empty for another program."""
    program, *words = project.manage or [""]
    script = words[0] if words and posixpath.basename(program).startswith("python") else ""
    if not script.endswith(".py") or script.startswith("/") or posixpath.normpath(script) in entries:
        return ""
    place = "/".join(filter(None, (project.source, project.subdirectory)))
    folders = sorted(posixpath.dirname(name) for name in entries if name.endswith(f"/{script}"))
    has = f" The project has one in {', '.join(folders)}." if folders else ""
    return (
        f"django_app_subdirectory: there is no {script} in {place}. Name the folder that holds it, or, for a project that has none, say in "
        f"django_app_manage how its commands are run, such as [python, -m, django].{has}"
    )


def problems_of(entries: Mapping[str, Entry], project: Project) -> list[str]:
    """What is wrong with the files of a project, a sentence each."""
    given = [posixpath.normpath(path) for path in project.files if not path.startswith("/")]
    return [
        *link_problems(entries),
        *static_problems(entries, project.static_root),
        *shared_problems(entries, map(posixpath.normpath, project.shared_paths)),
        *file_problems(entries, given),
        # A settings file may be among what the project is given.
        *part_problems({**entries, **{path: Entry(UNKNOWN) for path in given}}, project.parts),
    ]


def files_of(found: Source, entries: Mapping[str, Entry], project: Project, cache: Path) -> Mapping[str, Entry]:
    """The project's files by name, relative to manage.py's folder; those above it too where a lock is among them."""
    inside = _inside(project)
    if inside == "." or not any(posixpath.normpath(name).startswith("..") for name in project.requirements):
        return entries
    return {posixpath.relpath(name, inside): entry for name, entry in _whole(found, project, cache).items()}


def built_entries(found: Source, project: Project, cache: Path) -> dict[str, Entry]:
    """The project's files after its build, which works on the whole source: a front end may lie beside manage.py's folder."""
    inside = _inside(project)
    entries = built(
        _whole(found, project, cache),
        project.build_commands,
        inside=inside,
        excludes=project.build_excludes,
        cache=cache,
    )
    top = "" if inside == "." else f"{inside}/"
    return {name.removeprefix(top): entry for name, entry in entries.items() if name.startswith(top)}


def _inside(project: Project) -> str:
    """manage.py's folder inside the source; "." for its top."""
    return posixpath.normpath(project.subdirectory) if project.subdirectory else "."


def _whole(found: Source, project: Project, cache: Path) -> dict[str, Entry]:
    """The files of the whole source."""
    inside = _inside(project)
    up = [] if inside == "." else [".."] * len(inside.split("/"))
    if found.commit:
        top = posixpath.normpath(posixpath.join(found.inside, *up)) if found.inside else ""
        return entries_of(Source(found.folder, found.commit, "" if top == "." else top), cache)
    return entries_of(Source(Path(os.path.normpath(found.folder.joinpath(*up)))), cache)


def stored(text: str, cache: Path) -> Path:
    """A file of the cache with this text, written in one step."""
    path = cache / f"{hashlib.sha256(text.encode()).hexdigest()}.txt"
    if path.exists():
        os.utime(path)
    else:
        with tempfile.NamedTemporaryFile("w", dir=cache, prefix=".lock-", delete=False) as file:
            file.write(text)
        os.replace(file.name, path)
    return path
