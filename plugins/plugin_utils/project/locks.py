"""What a project says of the packages it needs, whatever tool has written it.

A reader takes the project's files, the name of one and the extras and groups that are wanted, and gives a `Locked`.
"""

from __future__ import annotations

import fnmatch
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from packaging.utils import canonicalize_name

from .archive import Entry
from .python import alternatives
from .requirements import Pin, lines_in, names_in, pin_of, read_requirements
from .tables import table
from .uv import Checkout, run_uv

# A name or token before the host of a repository's address.
LOGIN = re.compile(r"git\+https?://[^/\s@]+@")
KINDS = "requirements*.txt, pyproject.toml, uv.lock, poetry.lock, pdm.lock, Pipfile.lock, pylock.toml"
ALWAYS, NEVER = 'python_version >= "0"', 'python_version < "0"'


@dataclass
class Locked:
    """What one file holds.

    Attributes:
        files: the files it was read from; another content makes another lock.
        content: the same of a file that counts in part.
        pins: what is installed as it is.
        roots: requirements that are still to be resolved.
        unresolved: the same, as files that uv reads itself.
        again: pins as roots, where anything is resolved: what locked them may have run on a Python on which they need less.
        known: versions that win where a root needs the package.
        sources: what has no hashes: a repository at a commit, folders of the project.
        names: packages that the project asks for, as far as they are known without resolving.
        extras, groups: what can be asked for by name.
        indexes: addresses of package indexes that the file holds.
        problems: what keeps it from being used, a sentence each.
    """

    files: list[str] = field(default_factory=list)
    content: str = ""
    pins: list[Pin] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    known: list[Pin] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    extras: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    indexes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """The extras and dependency groups that are to be installed, by normalised names."""

    extras: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    @classmethod
    def named(cls, extras: Iterable[str], groups: Iterable[str]) -> Wanted:
        """From the names as an operator writes them."""
        return cls(frozenset(map(canonicalize_name, extras)), frozenset(map(canonicalize_name, groups)))


Reader = Callable[[Checkout, str, Wanted], Locked]


def reader_of(name: str) -> Reader | None:
    """What reads a file, by its name; none for a kind that is not known."""
    base = posixpath.basename(name)
    return next((reader for pattern, reader in READERS.items() if fnmatch.fnmatch(base, pattern)), None)


def read_requirements_file(checkout: Checkout, name: str, wanted: Wanted) -> Locked:
    """A requirements file, with hashes or without."""
    read = read_requirements(checkout.files, name)
    found = Locked(files=read.files, names=names_in(read.lines), indexes=read.indexes)
    found.problems += [missing_problem(checkout.files, missing, name) for missing in read.missing]
    if read.complete:
        found.pins = read.pins
        found.again = [str(replace(pin, hashes=())) for pin in read.pins]
    else:
        found.unresolved, found.known = [name], read.pins
    return found


def missing_problem(files: Mapping[str, Entry], missing: str, name: str) -> str:
    """The sentence about a file that is not there, with those that could be meant instead of `name`."""
    others = [file for file in sorted(files) if "/" not in file and file != name and reader_of(file)]
    fix = f"Name one it has: {', '.join(others)}." if others else "Add it."
    return f"django_app_requirements: there is no {missing} beside manage.py, or git ignores it. {fix}"


def read_pyproject(checkout: Checkout, name: str, wanted: Wanted) -> Locked:
    """Dependencies that no tool has locked."""
    content = table(checkout.files, name)
    project, groups = content.get("project", {}), content.get("dependency-groups", {})
    optional = project.get("optional-dependencies", {})
    found = Locked(
        files=_dynamic(checkout.files, name, content),
        content=_dependencies(content),
        unresolved=[name],
        names=names_in(project.get("dependencies", [])),
        extras=set(map(canonicalize_name, optional)),
        groups=set(map(canonicalize_name, groups)),
    )
    for table_, chosen in ((optional, wanted.extras), (groups, wanted.groups)):
        for key, lines in table_.items():
            if canonicalize_name(key) in chosen:
                found.names |= names_in(line for line in lines if isinstance(line, str))
    if not project:
        found.problems.append(
            f"django_app_requirements: {name} has no table [project] with dependencies. Name the project's lock or "
            f"requirements file: {KINDS}."
        )
    return found


def _dynamic(files: Mapping[str, Entry], name: str, content: Mapping[str, Any]) -> list[str]:
    """The files that a project's dependencies are read from when pyproject.toml leaves them to its build tool."""
    if not {"dependencies", "optional-dependencies"} & set(content.get("project", {}).get("dynamic", [])):
        return []
    mentioned = re.findall(r'"([^"]+\.(?:txt|in))"', json.dumps(content.get("tool", {})))
    folder = posixpath.dirname(name)
    near = [posixpath.normpath(posixpath.join(folder, file)) for file in ("setup.py", "setup.cfg", *mentioned)]
    return [file for file in near if file in files]


def _dependencies(content: Mapping[str, Any]) -> str:
    """What of pyproject.toml says which packages are needed; its other tables are edited without making another lock."""
    project, tool = content.get("project", {}), content.get("tool", {})
    poetry = tool.get("poetry", {})
    counts = {
        "project": {
            key: project.get(key) for key in ("dependencies", "optional-dependencies", "requires-python", "dynamic")
        },
        "groups": content.get("dependency-groups"),
        "uv": tool.get("uv"),
        "poetry": {key: poetry.get(key) for key in ("dependencies", "group", "extras")},
    }
    return json.dumps(counts, sort_keys=True, default=str)


def read_uv(checkout: Checkout, name: str, wanted: Wanted) -> Locked:
    """uv.lock, as uv itself exports it."""
    folder = posixpath.dirname(name)
    beside = posixpath.join(folder, "pyproject.toml")
    found = read_pyproject(checkout, beside, wanted) if beside in checkout.files else Locked()
    found = Locked(
        files=[name], content=found.content, extras=found.extras, groups=found.groups, problems=found.problems
    )
    if beside not in checkout.files:
        found.problems.append(
            f"django_app_requirements: {name} needs the pyproject.toml that it was made from beside it."
        )
    if found.problems or not wanted.extras <= found.extras or not wanted.groups <= found.groups:
        return found
    options = [
        *(f"--extra={extra}" for extra in sorted(wanted.extras)),
        *(f"--group={group}" for group in sorted(wanted.groups)),
    ]
    exported = run_uv(
        *("export", "--frozen", "--offline", "--no-default-groups", "--no-annotate", "--no-header"),
        *("--format=requirements.txt", f"--project={folder or '.'}", *options),
        cwd=checkout.folder,
        what=name,
    )
    take_lines(found, lines_in(exported))
    return found


def read_poetry(checkout: Checkout, name: str, wanted: Wanted) -> Locked:
    """poetry.lock of Poetry 2, which says of each package what it is for, or an older one beside its pyproject.toml."""
    lock = table(checkout.files, name)
    packages = lock.get("package", [])
    found = Locked(files=[name], extras=set(map(canonicalize_name, lock.get("extras", {}))))
    beside = posixpath.join(posixpath.dirname(name), "pyproject.toml")
    project = table(checkout.files, beside)
    in_files = lock.get("metadata", {}).get("files", {})
    if not any("groups" in package for package in packages):
        return _older_poetry(found, lock, project, beside, wanted)
    for package in packages:
        groups = set(map(canonicalize_name, package.get("groups", [])))
        found.groups |= groups - {"main"}
        chosen = groups & {"main", *wanted.groups}
        marker = package.get("markers", "")
        if isinstance(marker, Mapping):
            of_group = {canonicalize_name(group): text for group, text in marker.items()}
            texts = [of_group.get(group, "") for group in sorted(chosen)]
            marker = "" if "" in texts else " or ".join(f"({text})" for text in dict.fromkeys(texts))
        marker = _without_extras(marker, wanted)
        if chosen and marker != NEVER:
            _take(found, package, marker, _hashes(package.get("files") or in_files.get(package["name"], [])))
    return found


def _older_poetry(
    found: Locked, lock: Mapping[str, Any], project: Mapping[str, Any], beside: str, wanted: Wanted
) -> Locked:
    """A lock that tells neither groups nor markers: pyproject.toml says what is needed, the lock in which version."""
    poetry = project.get("tool", {}).get("poetry", {})
    found.content = _dependencies(project)
    found.files.append(beside)
    if "dependencies" not in poetry:
        found.problems.append(
            f"django_app_requirements: {found.files[0]} needs the pyproject.toml that it was made from beside it."
        )
        return found
    in_files = lock.get("metadata", {}).get("files", {})
    versions: dict[str, list[Pin]] = {}
    placed: dict[str, str] = {}
    for package in lock.get("package", []):
        single = Locked()
        _take(single, package, "", _hashes(package.get("files") or in_files.get(package["name"], [])))
        found.problems += single.problems
        found.indexes += single.indexes
        for pin in single.pins:
            versions.setdefault(pin.name, []).append(pin)
        placed |= {canonicalize_name(package["name"]): source for source in single.sources}
    # Which of several versions is for whom, pyproject.toml's own conditions say; its hashes are known for each.
    found.known = [pin for pins in versions.values() for pin in pins]
    groups = poetry.get("group", {})
    found.groups = set(map(canonicalize_name, groups))
    tables = [poetry["dependencies"]]
    tables += [
        group.get("dependencies", {}) for name, group in groups.items() if canonicalize_name(name) in wanted.groups
    ]
    by_extra = {canonicalize_name(extra): names for extra, names in poetry.get("extras", {}).items()}
    asked = names_in(name for extra in wanted.extras for name in by_extra.get(extra, []))
    for dependencies in tables:
        for name, given in dependencies.items():
            key = canonicalize_name(name)
            for one in given if isinstance(given, list) else [given]:
                details = one if isinstance(one, Mapping) else {}
                if key == "python" or (details.get("optional") and key not in asked):
                    continue
                if key in versions or key in placed:
                    found.names.add(key)
                found.roots.append(
                    placed.get(key) or _poetry_requirement(name, one, several=len(versions.get(key, [])) > 1)
                )
    return found


def _poetry_requirement(name: str, given: Any, *, several: bool) -> str:
    """A dependency of Poetry's as a requirement. Its version is left to the lock, unless that holds several."""
    details = given if isinstance(given, Mapping) else {"version": given}
    extras = f"[{','.join(details['extras'])}]" if details.get("extras") else ""
    markers = [details["markers"]] if details.get("markers") else []
    if details.get("python"):
        either = [
            " and ".join(f"python_full_version {part.operator} '{part.version}'" for part in one)
            for one in alternatives(details["python"])
        ]
        markers.append(" or ".join(either))
    version = str(alternatives(details.get("version", "*"))[0]) if several else ""
    return f"{name}{extras}{version}" + (f" ; {' and '.join(f'({marker})' for marker in markers)}" if markers else "")


def read_pdm(checkout: Checkout, name: str, wanted: Wanted) -> Locked:
    """pdm.lock, in which extras are groups too."""
    lock = table(checkout.files, name)
    metadata, packages = lock.get("metadata", {}), lock.get("package", [])
    offered = set(map(canonicalize_name, metadata.get("groups", []))) - {"default"}
    found = Locked(files=[name], extras=offered, groups=offered)
    if packages and not any("groups" in package for package in packages):
        found.problems.append(
            f"django_app_requirements: {name} does not say what its packages are for. Lock it again: "
            "`pdm lock --strategy inherit_metadata`."
        )
    for package in packages:
        groups = set(map(canonicalize_name, package.get("groups", [])))
        if groups & {"default", *wanted.extras, *wanted.groups}:
            _take(found, package, package.get("marker", ""), _hashes(package.get("files", [])))
    return found


def read_pipfile(checkout: Checkout, name: str, wanted: Wanted) -> Locked:
    """Pipfile.lock, whose groups are its sections."""
    lock = table(checkout.files, name)
    sections = {canonicalize_name(section): section for section in lock if section not in ("_meta", "default")}
    sources = lock.get("_meta", {}).get("sources", [])
    found = Locked(files=[name], groups=set(sections))
    found.indexes = [source["url"] for source in sources if source.get("name") != "pypi"]
    for section in ("default", *(sections[group] for group in sorted(wanted.groups & set(sections)))):
        for package, given in lock.get(section, {}).items():
            marker = given.get("markers", "")
            if not {"version", "git", "path", "file"} & set(given):
                # Pipenv leaves the version out where the machine that locked did not need the package.
                found.roots.append(package + (f" ; {marker}" if marker else ""))
                continue
            entry = {"name": package, **given, "version": given.get("version", "").removeprefix("==")}
            _take(found, entry, marker, tuple(given.get("hashes", [])))
    return found


def read_pylock(checkout: Checkout, name: str, wanted: Wanted) -> Locked:
    """pylock.toml, the format that all tools share."""
    lock = table(checkout.files, name)
    found = Locked(
        files=[name],
        extras=set(map(canonicalize_name, lock.get("extras", []))),
        groups=set(map(canonicalize_name, lock.get("dependency-groups", []))),
    )
    default = frozenset(map(canonicalize_name, lock.get("default-groups", [])))
    for package in lock.get("packages", []):
        marker = _without_extras(package.get("marker", ""), Wanted(wanted.extras, wanted.groups | default))
        if marker == NEVER:
            continue
        files = [*package.get("wheels", []), *filter(None, [package.get("sdist"), package.get("archive")])]
        hashes = tuple(f"sha256:{file['hashes']['sha256']}" for file in files if "sha256" in file.get("hashes", {}))
        source = {"vcs": "git", "directory": "path"}
        entry = {"name": package["name"], "version": package.get("version", "")}
        for key, kind in source.items():
            if key in package:
                place = package[key]
                entry |= {kind: place.get("url") or place.get("path", ""), "revision": place.get("commit-id", "")}
        if "archive" in package:
            entry["url"] = package["archive"].get("url", "")
        _take(found, entry, marker, hashes)
    return found


def _hashes(files: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    return tuple(file["hash"] for file in files if "hash" in file)


def _without_extras(marker: str, wanted: Wanted) -> str:
    """A marker with its questions after extras and groups answered; NEVER for a package that nobody has asked for."""
    if not marker:
        return ""

    def answer(yes: bool) -> str:
        return ALWAYS if yes else NEVER

    def by_equality(found: re.Match[str]) -> str:
        return answer((canonicalize_name(found[3]) in wanted.extras) == (found[1] == "=="))

    def by_membership(found: re.Match[str]) -> str:
        members = wanted.extras if found[4] == "extras" else wanted.groups
        return answer((canonicalize_name(found[2]) in members) != bool(found[3]))

    text = re.sub(r"""extra\s*(==|!=)\s*(['"])(.+?)\2""", by_equality, marker)
    text = re.sub(r"""(['"])([^'"]+)\1\s+(not\s+)?in\s+(extras|dependency_groups)""", by_membership, text)
    return _simple(text) if text != marker else marker


def _simple(marker: str) -> str:
    """A marker without the answers of `_without_extras` in it, where they decide."""
    before = ""
    yes, no = re.escape(ALWAYS), re.escape(NEVER)
    while marker != before:
        before = marker
        marker = re.sub(rf"\(\s*({yes}|{no})\s*\)", r"\1", marker)
        marker = re.sub(rf"({yes}) (?:and|or) \1", r"\1", marker)
        marker = re.sub(rf"({no}) (?:and|or) \1", r"\1", marker)
        marker = re.sub(rf"{yes} and {no}|{no} and {yes}", NEVER, marker)
        marker = re.sub(rf"{yes} or {no}|{no} or {yes}", ALWAYS, marker)
    if " or " not in marker:
        parts = [part for part in marker.split(" and ") if part != ALWAYS]
        return NEVER if NEVER in parts else " and ".join(parts)
    if " and " not in marker:
        parts = [part for part in marker.split(" or ") if part != NEVER]
        return "" if ALWAYS in parts else " or ".join(parts)
    return marker


def _take(found: Locked, package: Mapping[str, Any], marker: str, hashes: tuple[str, ...]) -> None:
    """Add a package of a lock to what was found, wherever it comes from."""
    source = package.get("source", {})
    kind, url = source.get("type", ""), source.get("url", "")
    git = package.get("git") or (url if kind == "git" else "")
    path = package.get("path") or package.get("file") or (url if kind in ("directory", "file") else "")
    direct = package.get("url") or (url if kind == "url" else "")
    name = canonicalize_name(package["name"])
    found.names.add(name)
    if kind == "legacy":
        # Poetry's word for an index that is not the usual one.
        found.indexes.append(url)
    if git:
        commit = package.get("revision") or package.get("ref") or source.get("resolved_reference", "")
        take_source(found, f"{name} @ git+{git.removeprefix('git+')}@{commit}")
    elif path:
        take_source(found, path)
    else:
        pin = Pin(name=name, version=package.get("version", ""), hashes=hashes, marker=marker, url=direct)
        if pin not in found.pins:
            found.pins.append(pin)
        if not hashes:
            found.problems.append(
                f"django_app_requirements: {found.files[0] if found.files else 'the lock'} has no hash for {name}. "
                "Lock it again with hashes."
            )


def take_lines(found: Locked, lines: Iterable[str]) -> None:
    """Add what uv has written to what was found."""
    for line in lines:
        pin = pin_of(line)
        if pin and pin.hashes:
            found.pins.append(pin)
            found.names.add(pin.name)
        elif not line.startswith("--"):
            if pin:
                found.names.add(pin.name)
            take_source(found, line)


def take_source(found: Locked, text: str) -> None:
    """Add what has no hashes: a repository at a commit, which is as good as one, or a folder of the project."""
    if "git+" in text:
        if LOGIN.search(text):
            found.problems.append(
                f"django_app_requirements: {LOGIN.sub(r'git+https://', text)} has a login in its address, which would stand in the lock and "
                "on the servers. Publish the package on an index (django_app_extra_index_urls), or give the repository one that needs none."
            )
        elif not re.search(r"@[0-9a-f]{40}(?=$|[\s#;])", text):
            found.problems.append(
                f"django_app_requirements: {text} names no commit: a branch or tag may be another tomorrow. Lock it with a "
                "tool that writes the commit down, or write the whole commit, `…@<40 digits>`."
            )
        elif "git+https://" not in text:
            found.problems.append(
                f"django_app_requirements: servers have no keys for {text}. Give it an https address that needs no login, "
                "or publish the package on an index."
            )
        else:
            found.sources.append(text)
        return
    folder = re.sub(r"^(-e|--editable)\s+|^\S+ @ |^file://", "", text).partition(" ;")[0].strip()
    inside = posixpath.normpath(folder)
    if inside == ".":
        # The project itself: it runs from its folder, unless django_app_install_project says otherwise.
        return
    if inside.startswith(("/", "..")) or not folder:
        found.problems.append(
            f"django_app_requirements: {text} is outside manage.py's folder, so no server gets it. Move it inside, or publish "
            "it on an index."
        )
    else:
        found.sources.append(f"./{inside}")


READERS: dict[str, Reader] = {
    "uv.lock": read_uv,
    "poetry.lock": read_poetry,
    "pdm.lock": read_pdm,
    "Pipfile.lock": read_pipfile,
    "pylock.toml": read_pylock,
    "pylock.*.toml": read_pylock,
    "pyproject.toml": read_pyproject,
    "*.txt": read_requirements_file,
    "*.in": read_requirements_file,
}
