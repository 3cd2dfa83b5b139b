"""The files of an environment: never over one that is there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from .findings import Template, Value

WIDTH = 140  # characters; a longer comment stands above its line
# Groups of an inventory that mean something else.
GROUPS = ("redis", "rabbitmq", "postgresql", "web", "workers", "beat", "flower", "proxy")
RESERVED = ("all", "ungrouped", *GROUPS)


class EnvironmentRefused(Exception):
    """The environment cannot be written; the message says why."""


def environment_files(root: Path, environment: str) -> tuple[Path, Path]:
    """Where an environment's hosts and variables stand.

    Args:
        root: the checkout.
        environment: its name, which is a group's in the inventory.

    Raises:
        EnvironmentRefused: it is no name, or there is something already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", environment) or environment in RESERVED:
        raise EnvironmentRefused(
            f"ENV is {environment!r}: name the environment with lower-case letters, digits and underscores, a letter first, "
            f"and none of {', '.join(RESERVED)}. As: ENV=shop"
        )
    hosts, variables = root / "inventories" / environment / "hosts.yml", root / "group_vars" / environment / "main.yml"
    for path in (hosts.parent, variables.parent):
        if os.path.lexists(path):
            raise EnvironmentRefused(
                f"ENV: {path.relative_to(root)} is there already and is left as it is. Take another name, or move it away first."
            )
    return hosts, variables


def write_environment(root: Path, environment: str, *, hosts: str, variables: str) -> list[Path]:
    """Write an environment's two files, and the link by which its inventory finds group_vars.

    Raises:
        EnvironmentRefused: as `environment_files`.
    """
    paths = environment_files(root, environment)
    for path, text in zip(paths, (hosts, variables), strict=True):
        path.parent.mkdir(parents=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    (paths[0].parent / "group_vars").symlink_to("../../group_vars")
    return list(paths)


def hosts_text(environment: str, *, without: Mapping[str, str] | None = None) -> str:
    """An inventory of one server that does everything.

    Args:
        environment: its name.
        without: groups that stay empty, with the reason.
    """
    server = f"{environment.replace('_', '-')}-1"
    lines = [
        "---",
        f"# {environment}: one server for everything. Fill in its address; it may be several servers, by function, as in",
        "# inventories/production/hosts.yml.",
        f"{environment}:",
        "  hosts:",
        f"    {server}: {{ansible_host: FILL_IN, ansible_user: root}}",
        "  children:",
    ]
    for group in GROUPS:
        if why := (without or {}).get(group):
            lines += [f"    # {plain(why)}", f"    {group}: {{hosts: {{}}}}"]
        else:
            lines.append(f"    {group}: {{hosts: {{{server}: {{}}}}}}")
    return "\n".join(lines) + "\n"


def variables_text(header: Iterable[str], sections: Mapping[str, Iterable[Value]]) -> str:
    """The environment's variables, each below or before the comment that says where it comes from."""
    lines = ["---", *(f"# {plain(line)}" for line in header)]
    for title, values in sections.items():
        written = [line for value in values for line in lines_of(value)]
        if written:
            lines += ["", f"# {title}", *written]
    return "\n".join(lines) + "\n"


def lines_of(value: Value) -> list[str]:
    """A variable's lines."""
    if value.entries is None:
        return with_comment(f"{value.name}: {scalar(value.value)}", value.comment, "")
    optional = [f"  # {part}" for line in value.optional for part in wrapped(plain(line), WIDTH, "  ")]
    if not value.entries:
        empty = "[]" if isinstance(value.value, list) else "{}"
        return [*with_comment(f"{value.name}: {empty}", value.comment, ""), *optional]
    lines = with_comment(f"{value.name}:", value.comment, "")
    for entry in value.entries:
        start = f"  {entry.name}: " if entry.name else "  - "
        lines += with_comment(f"{start}{scalar(entry.value)}", entry.comment, "  ")
    return lines + optional


def with_comment(line: str, comment: str, indent: str) -> list[str]:
    """A line with its comment behind it, or above it where that is too long."""
    written = wrapped(line, WIDTH + 10, f"{indent}    ")
    if not comment:
        return written
    comment = plain(comment)
    if len(written) == 1 and len(line) + len(comment) + 4 <= WIDTH:
        return [f"{line}  # {comment}"]
    return [*(f"{indent}# {part}" for part in wrapped(comment, WIDTH - 4, "")), *written]


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """A text in lines that are not longer, but for a word that is; YAML reads the break as the space that was there."""
    lines = [""]
    for word in re.split(r"(?<=\S) (?=\S)", text):
        if lines[-1].strip() and len(lines[-1]) + len(word) + 1 > width:
            lines.append(indent + word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def plain(text: str) -> str:
    """A text that ends no comment: on one line."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def scalar(value: Any) -> str:
    """A value on one line of YAML. A text of the project's that looks like a template is never computed."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(str(key))}: {scalar(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(scalar, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: '""'}[value]
    if not isinstance(value, str):
        return str(value)
    if re.fullmatch(r"[A-Za-z_/]([\w./:+-]*[\w/.])?", value, re.ASCII) and yaml.safe_load(value) == value:
        return value
    quoted = json.dumps(str(value), ensure_ascii=True)
    is_foreign = not isinstance(value, Template) and re.search(r"\{[{%#]", value)
    return f"!unsafe {quoted}" if is_foreign else quoted
