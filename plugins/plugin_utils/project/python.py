"""Which Python a project requires, and whether the servers have it."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from .archive import Entry
from .tables import table, text_at

KNOWN = [f"3.{minor}" for minor in range(8, 15)]
VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
HINTS = (".python-version", "runtime.txt")


@dataclass(frozen=True)
class RequiresPython:
    """What a file of the project says, in its own words, and the same as alternatives that packaging understands."""

    words: str
    where: str

    def allows(self, version: str) -> bool:
        """Whether a Python does; a version of two numbers stands for its latest patch."""
        return any(_release(version) in alternative for alternative in alternatives(self.words))


def _release(version: str) -> str:
    return f"{version}.99" if version.count(".") == 1 else version


def alternatives(words: str) -> list[SpecifierSet]:
    """Versions as Python's or Poetry's files write them (`>=3.10,<4`, `^3.10`, `~3.11`, `3.11.*`, `a || b`).

    Raises:
        InvalidSpecifier: they are neither.
    """
    return [
        SpecifierSet(",".join(_plain(part) for part in re.split(r"\s*,\s*|\s+(?=[\^~<>=!\d])", one.strip()) if part))
        for one in re.split(r"\|\|?", re.sub(r"([\^~<>=!])\s+", r"\1", words))
    ]


def _plain(part: str) -> str:
    """One condition of Poetry's as PEP 440 writes it."""
    if part == "*":
        return ""
    if not (found := re.fullmatch(r"(\^|~(?!=))?(\d+(?:\.\d+)*)(\.\*)?", part)):
        return part
    sign, version, wildcard = found[1], found[2], found[3] or ""
    if not sign:
        return f"=={version}{wildcard}"
    numbers = [int(number) for number in version.split(".")]
    if sign == "~":
        kept = numbers[:2]
    else:
        significant = next((index for index, number in enumerate(numbers) if number), len(numbers) - 1)
        kept = numbers[: significant + 1]
    kept[-1] += 1
    return f">={version},<{'.'.join(map(str, kept))}"


def requires_python(files: Mapping[str, Entry], locks: list[str]) -> list[RequiresPython]:
    """What the project's own files require, and the locks that are used."""
    found = []
    project = table(files, "pyproject.toml")
    found.append((text_at(project, "project", "requires-python"), "pyproject.toml: requires-python"))
    poetry = text_at(project, "tool", "poetry", "dependencies", "python")
    found.append((poetry, "pyproject.toml: tool.poetry.dependencies.python"))
    if "setup.cfg" in files:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(files["setup.cfg"].data.decode(errors="replace"))
        except configparser.Error:
            parser.clear()
        words = parser.get("options", "python_requires", fallback="")
        found.append((words, "setup.cfg: python_requires"))
    for name in locks:
        kind = name.rpartition("/")[2]
        if not kind.endswith((".lock", ".toml")) or kind == "pyproject.toml":
            continue
        lock = table(files, name)
        if kind == "poetry.lock":
            found.append((text_at(lock, "metadata", "python-versions"), f"{name}: python-versions"))
        elif kind == "pdm.lock":
            targets = lock.get("metadata", {}).get("targets", [])
            words = " || ".join(filter(None, (target.get("requires_python", "") for target in targets)))
            found.append((words, f"{name}: requires_python"))
        elif kind == "Pipfile.lock":
            full, minor = (text_at(lock, "_meta", "requires", key) for key in ("python_full_version", "python_version"))
            found.append((f"=={full}" if full else f"=={minor}.*" if minor else "", f"{name}: requires"))
        else:
            found.append((text_at(lock, "requires-python"), f"{name}: requires-python"))
    return [RequiresPython(words, where) for words, where in found if words]


def python_problems(files: Mapping[str, Entry], locks: list[str], pythons: Mapping[str, str]) -> list[str]:
    """The servers whose Python does not fit, a sentence for each requirement with the versions that would do.

    Args:
        files: the project's files.
        locks: names of those that say which packages it needs.
        pythons: the version that each server would build it with.
    """
    found = []
    for required in requires_python(files, locks):
        try:
            wrong = {host: version for host, version in pythons.items() if not required.allows(version)}
            exact = re.findall(r"3\.\d+\.\d+", required.words)
            fitting = [version for version in (*KNOWN, *exact) if required.allows(version)]
        except (InvalidSpecifier, InvalidVersion):
            found.append(
                f"django_app_source: {required.where} is {required.words!r}, which names no versions. Mend it."
            )
            continue
        if wrong:
            has = ", ".join(f"{host} has {version}" for host, version in sorted(wrong.items()))
            quoted = [f'"{version}"' for version in fitting]
            advice = (
                f"set django_app_python to {' or '.join(quoted)}, or to the path of such an interpreter on the server"
                if fitting
                else "no version of Python that is known does"
            )
            found.append(
                f"django_app_python: the project requires Python {required.words} ({required.where}), but {has}: "
                f"{advice}.{_hint(files)}"
            )
    return found


def _hint(files: Mapping[str, Entry]) -> str:
    for name in HINTS:
        if name in files and (said := VERSION.search(files[name].data.decode(errors="replace"))):
            return f" The project's {name} says {said[0]}."
    return ""


def lowest(pythons: Mapping[str, str]) -> str:
    """The oldest of the servers' versions; empty without servers."""
    return min(pythons.values(), key=Version, default="")
