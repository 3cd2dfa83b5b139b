"""The packages and the Python that a project asks for, and what its lock lacks."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.project.archive import Entry
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.python import (
    HINTS,
    KNOWN,
    VERSION,
    requires_python,
)
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.requirements import (
    lines_of,
    names_in,
    pin_of,
    read_requirements,
)
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.resolve import absent
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.source import ProjectError
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.tables import table
from packaging.specifiers import InvalidSpecifier
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from .findings import Value, found, guess, unknown
from .tree import Tree

LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml")
REQUIREMENTS = (
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements-production.txt",
    "requirements-prod.txt",
    "requirements/base.txt",
    "requirements.in",
)
# Beside requirements.txt: more that production needs.
MORE = re.compile(r"requirements[-_.](private|internal|extra|extras|deploy|server)\.txt")
FOR_PRODUCTION = re.compile(
    r"prod|production|deploy|server|postgres|postgresql|psycopg|pg|redis|celery|gunicorn|asgi|channels"
)
DEBIANS = {"12": "3.11", "13": "3.13"}
OVERLAY = ("gunicorn", "psycopg[binary]")


def requirement_files(tree: Tree) -> tuple[list[str], bool]:
    """The files that say which packages the project needs, relative to the source, and whether others could be meant."""
    folders = [tree.top]
    while folders[-1]:
        folders.append(posixpath.dirname(folders[-1]))
    for folder in folders:
        for name in LOCKS:
            if posixpath.join(folder, name) in tree.files:
                return [posixpath.join(folder, name)], False
        there = [posixpath.join(folder, name) for name in REQUIREMENTS if posixpath.join(folder, name) in tree.files]
        # What requirements.txt was made from.
        there = [name for name in there if not (name.endswith(".in") and name[:-2] + "txt" in there)]
        better = [name for name in there if "prod" in name]
        if there:
            more = [
                name
                for name in tree.files
                if posixpath.dirname(name) == folder and MORE.fullmatch(posixpath.basename(name))
            ]
            return [(better or there)[0], *sorted(more)], len(there) > 1 or bool(more)
        content = table(tree.files, posixpath.join(folder, "pyproject.toml"))
        if content.get("project", {}).get("dependencies") is not None or content.get("tool", {}).get("poetry"):
            return [posixpath.join(folder, "pyproject.toml")], False
    return [], False


def package_names(files: Mapping[str, Entry], names: Iterable[str]) -> set[str]:
    """The packages that these files hold, normalised."""
    held: set[str] = set()
    for name in names:
        if name.endswith((".txt", ".in")):
            held |= names_in(read_requirements(files, name).lines)
            continue
        content = table(files, name)
        packages = content.get("package") or content.get("packages") or []
        held |= {canonicalize_name(one["name"]) for one in packages if isinstance(one, dict) and "name" in one}
        if name.endswith("Pipfile.lock"):
            held |= set(map(canonicalize_name, content.get("default", {})))
        held |= names_in(one for one in content.get("project", {}).get("dependencies", []) if isinstance(one, str))
        held |= set(map(canonicalize_name, content.get("tool", {}).get("poetry", {}).get("dependencies", {})))
    return held


def package_values(tree: Tree, files: list[str], is_choice: bool, names: set[str], *, is_asgi: bool) -> list[Value]:
    """Which files, extras and groups are installed, and what is added to them."""
    relative = [posixpath.relpath(name, tree.top or ".") for name in files]
    if not files:
        return [
            unknown(
                "django_app_requirements", "the file that says which packages it needs", "there is none that is known"
            )
        ]
    shown = relative[0] if len(relative) == 1 else relative
    lacking = absent(OVERLAY, names)
    lacking += ["uvicorn-worker"] if is_asgi and "uvicorn-worker" not in names else []
    note = (
        f"{', '.join(files)}; it lacks {', '.join(lacking)}, which the deployment adds" if lacking else ", ".join(files)
    )
    values = [
        guess("django_app_requirements", shown, f"of several: {note}")
        if is_choice
        else found("django_app_requirements", shown, note)
    ]
    values += _chosen(tree, files) + index_values(tree, files)
    needed = [name for name in ("celery", "redis") if name not in names and not _brought(tree, files, name)]
    if needed:
        overlay = [*OVERLAY, *("celery[redis]" if name == "celery" else name for name in needed)]
        values.append(guess("django_app_overlay", overlay, f"{', '.join(files)} has no {' and no '.join(needed)}"))
    return values


def compiled_packages(tree: Tree, files: list[str], names: set[str]) -> dict[str, str]:
    """The Debian packages that a PostgreSQL driver without wheels is compiled with, each with the reason."""
    in_c = any(re.search(r"psycopg[^\n]*\[[^]]*\bc\b", tree.text(file)) for file in _with_project(tree, files))
    driver = "psycopg[c]" if in_c or "psycopg-c" in names else "psycopg2" if "psycopg2" in names else ""
    why = f"{driver} has no wheel and is compiled on the servers"
    return dict.fromkeys(("gcc", "libpq-dev", "python3-dev"), why) if driver else {}


def index_values(tree: Tree, files: list[str]) -> list[Value]:
    """Package indexes beside the public one; which login they want is not known."""
    where: dict[str, str] = {}
    for name in files:
        if name.endswith((".txt", ".in")):
            where |= dict.fromkeys(read_requirements(tree.files, name).indexes, name)
    tools = table(tree.files, posixpath.join(posixpath.dirname(files[0]), "pyproject.toml")).get("tool", {})
    several = [
        *tools.get("poetry", {}).get("source", []),
        *tools.get("uv", {}).get("index", []),
        *tools.get("pdm", {}).get("source", []),
    ]
    where |= {
        one["url"]: "pyproject.toml" for one in several if isinstance(one, dict) and isinstance(one.get("url"), str)
    }
    addresses = [address for address in where if not re.match(r"https?://pypi\.org/", address) and "://" in address]
    private = [name for name in files if re.search(r"private|internal", posixpath.basename(name))]
    shown = [re.sub(r"(?<=://)[^/\s]*@", "", address) for address in addresses]
    if not shown and not private:
        return []
    value = unknown(
        "django_app_extra_index_urls",
        "the index's address, with a login from the vault as in group_vars/all/app.yml",
        "",
    )
    value.comment = ", ".join(dict.fromkeys([*(where[address] for address in addresses), *private]))
    value.comment += (
        f" names {', '.join(shown)}"
        if shown
        else " names packages that no public index may have; [] if they are public"
    )
    value.value = [value.value]
    return [value]


def _brought(tree: Tree, files: list[str], name: str) -> bool:
    """Whether an extra brings a package, such as celery[redis]."""
    return any(
        re.search(rf"celery[\"']?\s*(=\s*\{{.*)?\[[^]]*\b{name}\b", tree.text(file), re.I)
        for file in _with_project(tree, files)
    )


def _with_project(tree: Tree, files: list[str]) -> list[str]:
    read = [
        file for name in files if name.endswith((".txt", ".in")) for file in read_requirements(tree.files, name).files
    ]
    return [*files, *read, *(posixpath.join(posixpath.dirname(name), "pyproject.toml") for name in files)]


def _chosen(tree: Tree, files: list[str]) -> list[Value]:
    """Extras and groups whose names say that production needs them."""
    values = []
    content = table(tree.files, posixpath.join(posixpath.dirname(files[0]), "pyproject.toml"))
    if files[0].endswith((".txt", ".in")):
        return []
    poetry = content.get("tool", {}).get("poetry", {})
    offered: dict[str, dict[str, Any]] = {
        "django_app_extras": {
            **content.get("project", {}).get("optional-dependencies", {}),
            **poetry.get("extras", {}),
        },
        "django_app_dependency_groups": {**content.get("dependency-groups", {}), **poetry.get("group", {})},
    }
    for variable, names in offered.items():
        if chosen := [name for name in names if FOR_PRODUCTION.fullmatch(name)]:
            values.append(guess(variable, chosen, f"by their names, of {', '.join(names)}"))
    return values


def python_value(tree: Tree, files: list[str], names: set[str]) -> Value:
    """Which Python runs it on the servers."""
    beside = posixpath.join(tree.top, "")
    near = {name.removeprefix(beside): entry for name, entry in tree.files.items() if name.startswith(beside)}
    try:
        required = requires_python({**tree.files, **near}, [posixpath.relpath(name, tree.top or ".") for name in files])
    except ProjectError:
        required = []
    said = "; ".join(f"{one.where} {one.words}" for one in required)
    try:
        fitting = [version for version in KNOWN if all(one.allows(version) for one in required)]
    except (InvalidSpecifier, InvalidVersion):
        return unknown("django_app_python", "a version of Python in quotes, or an empty text", said)
    django = _pinned(tree, files, "django")
    if django and Version(django) < Version("4.2") and "3.13" in fitting:
        # django.http reads forms with the module cgi.
        fitting = [version for version in fitting if Version(version) < Version("3.13")]
        said = f"Django {django} imports cgi, which Python 3.13 has not"
    if all(version in fitting for version in DEBIANS.values()):
        return found(
            "django_app_python",
            "",
            f"{said or 'no file requires one'}: the servers' own fits, on Debian 12 (3.11) and 13 (3.13)",
        )
    if not fitting:
        return unknown("django_app_python", "the path of an interpreter on the servers", said)
    hint = next((held[0] for name in HINTS if (held := VERSION.search(tree.text(posixpath.join(tree.top, name))))), "")
    hint = ".".join(hint.split(".")[:2])
    chosen = hint if hint in fitting else fitting[-1]
    own = [f"Debian {debian}'s" for debian, version in DEBIANS.items() if version in fitting]
    why = (
        f"{said}; {' and '.join(own)} own fits too, with an empty text" if own else f"{said}; neither Debian's own fits"
    )
    return guess("django_app_python", chosen, why)


def _pinned(tree: Tree, files: list[str], package: str) -> str:
    """The version that a package is held at, or held below; empty if neither is known."""
    for name in files:
        if name.endswith((".txt", ".in")):
            for file in read_requirements(tree.files, name).files:
                for line in lines_of(tree.files, file):
                    if names_in([line]) == {package}:
                        pin = pin_of(line)
                        below = re.search(r"<\s*([\d.]+)|[~=]=\s*([\d.]+)", line)
                        return pin.version if pin else next((one for one in below.groups() if one), "") if below else ""
            continue
        content = table(tree.files, name)
        for one in content.get("package") or content.get("packages") or []:
            if isinstance(one, dict) and canonicalize_name(str(one.get("name", ""))) == package:
                return str(one.get("version", ""))
    return ""
