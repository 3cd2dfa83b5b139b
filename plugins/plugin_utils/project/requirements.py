"""What a project's lock has to hold."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping

from .archive import Entry, target_of

INCLUDED = re.compile(r"^(?:-r|--requirements?)[\s=]+(\S+)")
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


def requirement_problems(entries: Mapping[str, Entry], requirements: str, packages: Iterable[str]) -> list[str]:
    """What is wrong with a requirements file and those it includes, a sentence each with the fix.

    Args:
        entries: the project's files.
        requirements: the file's name, relative to manage.py's folder.
        packages: normalised names of the packages that have to be in it.
    """
    problems: list[str] = []
    names: set[str] = set()
    seen: set[str] = set()
    pending = [posixpath.normpath(requirements)]
    while pending:
        file = pending.pop()
        if file in seen:
            continue
        seen.add(file)
        if file not in entries:
            problems.append(f"django_app_requirements: there is no {file} beside manage.py, or git ignores it. Add it.")
            continue
        without_hash = []
        for line in lines_of(entries, file):
            if included := INCLUDED.match(line):
                pending.append(posixpath.normpath(posixpath.join(posixpath.dirname(file), included[1])))
            elif not line.startswith("-") or line.startswith(("-e", "--editable")):
                if "--hash=" not in line:
                    without_hash.append(line.split(" ")[0])
                if found := NAME.match(line):
                    names.add(re.sub(r"[-_.]+", "-", found[0]).lower())
        if without_hash:
            problems.append(
                f"django_app_requirements: {file} has no hash for {', '.join(without_hash)}. Lock the file: "
                f"`uv pip compile --universal --generate-hashes requirements.in -o {file}`."
            )
    missing = sorted(set(packages) - names)
    if missing and not problems:
        problems.append(
            f"django_app_requirements: {requirements} does not hold {', '.join(missing)}. Add and lock what is missing."
        )
    return problems


def lines_of(entries: Mapping[str, Entry], file: str) -> Iterator[str]:
    """The requirements and options of a file, one a line, without comments; a link to another file is followed."""
    visited: set[str] = set()
    while file in entries and entries[file].link and file not in visited:
        visited.add(file)
        file = target_of(file, entries[file])
    text = entries[file].data.decode(errors="replace") if file in entries else ""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        if requirement := re.sub(r"(^|\s)#.*", "", line).strip():
            yield requirement
