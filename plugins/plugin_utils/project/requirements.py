"""Requirements files: what they hold, and which files belong to them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from .archive import Entry, target_of

INCLUDED = re.compile(r"^(?:-r|--requirements?|-c|--constraints?)[\s=]*(\S+)")
INDEX = re.compile(r"^(?:-i|--index-url|--extra-index-url|-f|--find-links)[\s=]*(\S+)")
EDITABLE = re.compile(r"^(?:-e|--editable)[\s=]*")
HASH = re.compile(r"--hash[=\s](\S+)")
NAME = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Pin:
    """One version of a package with its hashes (`sha256:…`), for the machines that the marker describes; empty means all."""

    name: str
    version: str
    hashes: tuple[str, ...] = ()
    marker: str = ""
    url: str = ""

    def __str__(self) -> str:
        """As a line of a requirements file."""
        line = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        if self.marker:
            line += f" ; {self.marker}"
        return " \\\n    ".join([line, *(f"--hash={value}" for value in sorted(self.hashes))])


@dataclass
class Requirements:
    """What a requirements file and those it includes hold."""

    files: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)

    @property
    def pins(self) -> list[Pin]:
        """The lines that name one version and hold its hashes."""
        return [pin for pin in map(pin_of, self.lines) if pin and pin.hashes]

    @property
    def complete(self) -> bool:
        """Whether it can be installed as it is: every line names one version and has hashes."""
        return not self.missing and len(self.pins) == len(self.lines)


def read_requirements(files: Mapping[str, Entry], name: str) -> Requirements:
    """A requirements file with those that it includes."""
    found = Requirements()
    pending = [posixpath.normpath(name)]
    while pending:
        file = pending.pop()
        if file in found.files or file in found.missing:
            continue
        if file not in files:
            found.missing.append(file)
            continue
        found.files.append(file)
        for line in lines_of(files, file):
            if included := INCLUDED.match(line):
                pending.append(posixpath.normpath(posixpath.join(posixpath.dirname(file), included[1])))
            elif index := INDEX.match(line):
                found.indexes.append(index[1])
            elif not line.startswith("-") or EDITABLE.match(line):
                found.lines.append(line)
    return found


def lines_of(files: Mapping[str, Entry], name: str) -> Iterator[str]:
    """The requirements and options of a file, one a line, without comments; a link to another file is followed."""
    visited: set[str] = set()
    while name in files and files[name].link and name not in visited:
        visited.add(name)
        name = target_of(name, files[name])
    yield from lines_in(files[name].data.decode(errors="replace") if name in files else "")


def lines_in(text: str) -> Iterator[str]:
    """The same of a text."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        if requirement := re.sub(r"(^|\s)#.*", "", line).strip():
            yield requirement


def pin_of(line: str) -> Pin | None:
    """The version that a line names; none for one that leaves a choice."""
    hashes = tuple(HASH.findall(line))
    try:
        requirement = Requirement(line.partition(" --hash")[0])
    except InvalidRequirement:
        return None
    exact = [
        part.version for part in requirement.specifier if part.operator in ("==", "===") and "*" not in part.version
    ]
    if not requirement.url and (len(exact) != 1 or len(requirement.specifier) != 1):
        return None
    return Pin(
        name=canonicalize_name(requirement.name),
        version="".join(exact),
        hashes=hashes,
        marker=str(requirement.marker or ""),
        url=requirement.url or "",
    )


def names_in(lines: Iterable[str]) -> set[str]:
    """The packages that requirement lines begin with, normalised."""
    return {canonicalize_name(found[0]) for line in lines if (found := NAME.match(line))}
