"""The lock of a project: its own where servers can use it as it is, else a file that is kept beside the environment's variables."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .archive import Entry
from .locks import KINDS, Locked, Wanted, missing_problem, read_requirements_file, reader_of
from .python import lowest, python_problems
from .requirements import Pin, lines_in, pin_of
from .resolve import Index, absent, resolve
from .source import ProjectError
from .tables import table
from .uv import Checkout

# Another number makes every lock anew.
FORMAT = "1"
# All that a lock may hold without hashes: a folder of the project, a repository at a commit.
SOURCE = re.compile(r"\./|[\w.-]+(\[[^]]*\])? @ git\+https://\S+@[0-9a-f]{40}")
HEADER = """\
# What the servers install: {names}, and what the deployment needs beside them. Managed by Stockpot; commit it.
# It is resolved again when the project's files or its variables change; without this file, to the newest versions that fit.
# Python: {python}
# Digest: {digest}
"""


@dataclass
class ProjectLock:
    """The lock's text, empty where the project's own files are installed as they are; and as it was before."""

    text: str = ""
    before: str = ""
    sources: list[str] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)

    @property
    def versions(self) -> dict[str, str]:
        """The version of each package by name; of several, for different machines, the lowest."""
        found: dict[str, str] = {}
        for pin in self.pins:
            if pin.version and (pin.name not in found or Version(pin.version) < Version(found[pin.name])):
                found[pin.name] = pin.version
        return found

    @property
    def hashed(self) -> str:
        """The part that has hashes, without comments."""
        return "".join(f"{pin}\n" for line in lines_in(self.text) if (pin := pin_of(line)) and pin.hashes)


def lock_project(
    files: Mapping[str, Entry],
    *,
    requirements: Sequence[str],
    wanted: Wanted,
    overlay: Sequence[str],
    index: Index,
    path: Path | None,
    pythons: Mapping[str, str],
) -> ProjectLock:
    """What the servers install.

    Args:
        files: the project's, relative to manage.py's folder.
        requirements: names of those that say which packages it needs.
        wanted: extras and dependency groups.
        overlay: requirements of the deployment's own.
        index: where packages come from.
        path: where the lock is kept.
        pythons: the version of Python that each server builds with.

    Raises:
        ProjectError: a file is missing, of no known kind, holds what cannot be locked, or needs another Python.
    """
    before = path.read_text() if path and path.exists() else ""
    with Checkout(files) as checkout:
        problems = [*_file_problems(files, requirements), *python_problems(files, list(requirements), pythons)]
        if problems:
            raise ProjectError(*problems)
        names = [posixpath.normpath(name) for name in requirements]
        locked = any(
            reader_of(name) is not read_requirements_file and not name.endswith("pyproject.toml") for name in names
        )
        # Where a tool has locked it, pyproject.toml is read with its lock.
        names = [name for name in names if not (locked and name.endswith("pyproject.toml"))]
        locks = [reader(checkout, name, wanted) for name in names if (reader := reader_of(name))]
        problems = [problem for lock in locks for problem in lock.problems]
        problems += _name_problems(locks, names, wanted)
        problems += [
            problem for name, lock in zip(names, locks, strict=True) for problem in _stale_problems(files, name, lock)
        ]
        if problems:
            raise ProjectError(*problems)
        if _usable(names, locks, overlay):
            return ProjectLock(before=before, pins=[pin for lock in locks for pin in lock.pins])
        if problems := _index_problems(locks, index):
            raise ProjectError(*problems)
        digest = digest_of(files, locks, wanted, overlay)
        if _reusable(before, digest, pythons):
            text = before
        else:
            python = lowest(pythons)
            resolved = resolve(
                checkout, locks, wanted=wanted, overlay=overlay, python=python, index=index, before=_body(before)
            )
            if resolved.problems:
                raise ProjectError(*resolved.problems)
            minor = ".".join(python.split(".")[:2])
            text = HEADER.format(names=", ".join(names), python=minor or "any", digest=digest) + resolved.text
    lock = ProjectLock(text=text, before=before, pins=[pin for line in lines_in(text) if (pin := pin_of(line))])
    lock.sources = [line for line in lines_in(text) if not ((pin := pin_of(line)) and pin.hashes)]
    return lock


def _file_problems(files: Mapping[str, Entry], requirements: Sequence[str]) -> list[str]:
    found = []
    for name in requirements:
        reader = reader_of(name)
        if not reader:
            found.append(f"django_app_requirements: {name} is of no kind that can be installed. Name one of {KINDS}.")
        elif posixpath.normpath(name) not in files and reader is not read_requirements_file:
            found.append(missing_problem(files, name, name))
    return found


def _name_problems(locks: Sequence[Locked], names: Sequence[str], wanted: Wanted) -> list[str]:
    found = []
    for variable, word, asked, offered in (
        ("django_app_extras", "extra", wanted.extras, {name for lock in locks for name in lock.extras}),
        ("django_app_dependency_groups", "dependency group", wanted.groups, {n for lock in locks for n in lock.groups}),
    ):
        if missing := sorted(asked - offered):
            has = f"It has {', '.join(sorted(offered))}." if offered else "It has none."
            found.append(f"{variable}: there is no {word} {', '.join(missing)} in {', '.join(names)}. {has}")
    return found


def _index_problems(locks: Sequence[Locked], index: Index) -> list[str]:
    """A lock holds no addresses: those of a project's file would be lost on the way."""
    if any(index.addresses):
        return []
    return [
        f"django_app_extra_index_urls is empty, but {lock.files[0]} wants packages from an index of its own. Give its address "
        "here, from the vault if it holds a password."
        for lock in locks
        if lock.indexes
    ]


def _stale_problems(files: Mapping[str, Entry], name: str, lock: Locked) -> list[str]:
    """What pyproject.toml asks for and its lock does not hold: somebody has not locked again."""
    if reader_of(name) is read_requirements_file or name.endswith("pyproject.toml") or not lock.names:
        return []
    project = table(files, posixpath.join(posixpath.dirname(name), "pyproject.toml"))
    versions = {pin.name: pin.version for pin in (*lock.pins, *lock.known) if pin.version}
    wrong = []
    # A folder of the project has no name in what uv writes of it.
    sources = {canonicalize_name(key) for key in project.get("tool", {}).get("uv", {}).get("sources", {})}
    for text in project.get("project", {}).get("dependencies", []):
        try:
            asked = Requirement(text)
        except InvalidRequirement:
            return [f"django_app_source: pyproject.toml asks for {text!r}, which is no requirement. Mend it."]
        key = canonicalize_name(asked.name)
        if key in sources:
            continue
        several = len({pin.version for pin in (*lock.pins, *lock.known) if pin.name == key}) > 1
        if key not in lock.names and not asked.marker:
            wrong.append(text)
        elif key in versions and not several and not asked.specifier.contains(versions[key], prereleases=True):
            wrong.append(f"{text} (locked is {versions[key]})")
    for key, given in project.get("tool", {}).get("poetry", {}).get("dependencies", {}).items():
        conditional = not isinstance(given, str) and (
            not isinstance(given, dict) or {"optional", "markers", "python"} & set(given)
        )
        if key != "python" and not conditional and canonicalize_name(key) not in lock.names:
            wrong.append(key)
    if not wrong:
        return []
    return [
        f"django_app_requirements: {name} does not fit pyproject.toml, which asks for {', '.join(wrong)}. Lock it again."
    ]


def _usable(names: Sequence[str], locks: Sequence[Locked], overlay: Sequence[str]) -> bool:
    """Whether servers can install the project's files as they are."""
    return (
        all(reader_of(name) is read_requirements_file and not name.startswith("..") for name in names)
        and not any(lock.unresolved for lock in locks)
        and not absent(overlay, {name for lock in locks for name in lock.names})
    )


def digest_of(files: Mapping[str, Entry], locks: Sequence[Locked], wanted: Wanted, overlay: Sequence[str]) -> str:
    """SHA-256 over all that the lock was made from."""
    made_from = {
        "format": FORMAT,
        "files": {
            name: hashlib.sha256(files[name].data).hexdigest() for lock in locks for name in lock.files if name in files
        },
        "contents": [lock.content for lock in locks],
        "extras": sorted(wanted.extras),
        "groups": sorted(wanted.groups),
        "overlay": list(overlay),
    }
    return f"sha256:{hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()}"


def _reusable(text: str, digest: str, pythons: Mapping[str, str]) -> bool:
    """Whether a lock was made from the same, for a Python that is not newer than any server's."""
    said = dict(re.findall(r"^# (Python|Digest): (\S+)$", text, re.MULTILINE))
    unhashed = [line for line in lines_in(text) if not ((pin := pin_of(line)) and pin.hashes)]
    if said.get("Digest") != digest or "Python" not in said or not all(SOURCE.match(line) for line in unhashed):
        return False
    return not pythons or said["Python"] == "any" or Version(said["Python"]) <= Version(lowest(pythons))


def _body(text: str) -> str:
    """A lock without its header."""
    return re.sub(r"\A(#.*\n)*", "", text)
