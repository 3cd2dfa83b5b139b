"""One lock for the servers: what the project has locked stands, what is open is resolved, what the deployment needs is added."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from packaging.markers import Marker
from packaging.utils import canonicalize_name
from packaging.version import Version

from .locks import Locked, Wanted, take_lines
from .requirements import Pin, lines_in, names_in
from .uv import Checkout, run_uv

DRIVERS = {"psycopg", "psycopg2", "psycopg2-binary", "psycopg-binary", "psycopg-c"}
# The oldest Django that knows psycopg 3.
DJANGO_FOR_PSYCOPG = Version("4.2")


@dataclass(frozen=True)
class Index:
    """Addresses of package indexes, credentials inside: in place of PyPI (empty for PyPI itself), and before it."""

    url: str = ""
    extra: Sequence[str] = ()

    @property
    def addresses(self) -> list[str]:
        """All, the default one first."""
        return [self.url, *self.extra]


@dataclass
class Resolved:
    """What a server installs."""

    pins: list[Pin] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """As a requirements file, what has no hashes last."""
        return "".join(f"{line}\n" for line in [*map(str, self.pins), *self.sources])


def absent(overlay: Iterable[str], names: set[str]) -> list[str]:
    """What of the overlay a project does not bring; one driver for PostgreSQL is as good as another."""
    return [
        requirement
        for requirement in overlay
        for name in names_in([requirement])
        if name not in names and not (name in DRIVERS and DRIVERS & names)
    ]


def resolve(
    checkout: Checkout,
    locks: Sequence[Locked],
    *,
    wanted: Wanted,
    overlay: Sequence[str],
    python: str,
    index: Index,
    before: str = "",
) -> Resolved:
    """Lock what the project leaves open and what the overlay adds.

    Args:
        checkout: the project's files.
        locks: what they say.
        wanted: extras and dependency groups.
        overlay: requirements of the deployment's own.
        python: the servers' oldest Python; empty for the control node's.
        index: where packages come from.
        before: the lock as it was, whose versions stay where they still fit.

    Raises:
        ProjectError: uv finds no versions that fit together, or cannot reach the index.
    """
    pins = _merged([pin for lock in locks for pin in lock.pins])
    names = {pin.name for pin in pins}
    additions = absent(overlay, names)
    is_open = any(lock.roots or lock.unresolved for lock in locks)
    drivers = [requirement for requirement in additions if names_in([requirement]) & DRIVERS]
    others = [requirement for requirement in additions if requirement not in drivers]
    given = {"checkout": checkout, "locks": locks, "wanted": wanted, "python": python, "index": index}
    found = Locked()
    if is_open or others:
        found = _compile(**given, pins=pins, overlay=others, before=before)
    resolved = {pin.name: pin for pin in [*found.pins, *pins]}
    if drivers and not DRIVERS & set(resolved):
        django = resolved.get("django")
        fitting = drivers
        if django and django.version and Version(django.version) < DJANGO_FOR_PSYCOPG:
            fitting = ["psycopg2-binary"]
        found = _compile(**given, pins=pins, overlay=[*others, *fitting], before=before)
    hashes = {(pin.name, pin.version): pin.hashes for lock in locks for pin in (*lock.known, *lock.pins) if pin.hashes}
    added = [
        Pin(pin.name, pin.version, hashes.get((pin.name, pin.version), pin.hashes), pin.marker, pin.url)
        for pin in found.pins
    ]
    sources = [source for lock in locks for source in lock.sources] + found.sources
    return Resolved(_together(pins, added), sorted(set(sources)), found.problems)


def _merged(pins: Iterable[Pin]) -> list[Pin]:
    """Without those that are there twice, sorted."""
    return sorted(set(pins), key=lambda pin: (pin.name, pin.version, pin.marker))


def _together(pins: Sequence[Pin], added: Iterable[Pin]) -> list[Pin]:
    """The project's pins as they are, with what was added; what both need is for all machines that either means."""
    by_name: dict[str, list[Pin]] = {}
    for pin in pins:
        by_name.setdefault(pin.name, []).append(pin)
    for pin in added:
        own = by_name.setdefault(pin.name, [])
        if not own:
            own.append(pin)
        elif len(own) == 1 and own[0].version == pin.version and own[0].marker:
            both = f"({own[0].marker}) or ({pin.marker})" if pin.marker else ""
            own[0] = Pin(pin.name, pin.version, own[0].hashes, str(Marker(both)) if both else "", own[0].url)
        elif pin.version not in {one.version for one in own}:
            own.append(pin)
    return _merged(pin for own in by_name.values() for pin in own)


def _compile(
    *,
    checkout: Checkout,
    locks: Sequence[Locked],
    wanted: Wanted,
    python: str,
    index: Index,
    pins: Sequence[Pin],
    overlay: Sequence[str],
    before: str,
) -> Locked:
    """What uv resolves, in the versions that are locked."""
    folder = checkout.folder
    files = [name for lock in locks for name in lock.unresolved]
    tables = [lock for lock in locks if any(name.endswith("pyproject.toml") for name in lock.unresolved)]
    roots, constraints, output = (
        folder / f".stockpot-{name}" for name in ("roots.in", "constraints.txt", "locked.txt")
    )
    roots.write_text(
        "".join(f"{line}\n" for line in [*overlay, *(root for lock in locks for root in [*lock.roots, *lock.again])])
    )
    constraints.write_text("".join(f"{line}\n" for line in _constraints(pins, locks)))
    # uv keeps the versions that it finds there.
    output.write_text(before)
    run_uv(
        *("pip", "compile", "--quiet", "--universal", "--fork-strategy=fewest", "--generate-hashes"),
        *(
            "--no-annotate",
            "--no-header",
            f"--python={sys.executable}",
            f"--output-file={output.name}",
            f"--constraints={constraints.name}",
        ),
        *([f"--python-version={python}"] if python else []),
        *(f"--extra={name}" for lock in tables for name in sorted(wanted.extras & lock.extras)),
        *(f"--group={lock.unresolved[0]}:{name}" for lock in tables for name in sorted(wanted.groups & lock.groups)),
        *("--", roots.name, *files),
        cwd=folder,
        what=" and ".join(files) or "django_app_overlay",
        indexes=index.addresses,
    )
    found = Locked(files=["the lock"])
    take_lines(found, lines_in(output.read_text()))
    return found


def _constraints(pins: Sequence[Pin], locks: Sequence[Locked]) -> list[str]:
    """The locked versions; of a package that is locked in several, those that one of them lies between."""
    versions: dict[str, set[Version]] = {}
    for pin in [*pins, *(pin for lock in locks for pin in lock.known)]:
        if pin.version:
            versions.setdefault(pin.name, set()).add(Version(pin.version))
    return [
        f"{name}=={min(found)}" if len(found) == 1 else f"{name}>={min(found)},<={max(found)}"
        for name, found in sorted(versions.items())
    ]


def versions_in(text: str) -> dict[str, str]:
    """The versions of a lock by package, for a summary."""
    found: dict[str, str] = {}
    for line in lines_in(text):
        if match := re.match(r"([a-z0-9.-]+)==(\S+)", line):
            known = found.get(match[1])
            found[match[1]] = f"{known}, {match[2]}" if known and known != match[2] else match[2]
        elif match := re.match(r"(\S+) @ (\S+)", line):
            found[canonicalize_name(match[1])] = match[2].rpartition("@")[2]
    return found


def summary(before: str, after: str) -> list[str]:
    """What changed between two locks, a line for each package."""
    old, new = versions_in(before), versions_in(after)
    return [
        f"{name} {old[name]} -> {new[name]}"
        if name in old and name in new
        else f"+ {name} {new[name]}"
        if name in new
        else f"- {name} {old[name]}"
        for name in sorted(set(old) | set(new))
        if old.get(name) != new.get(name)
    ]
