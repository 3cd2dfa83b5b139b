"""The files of a project, its Python modules among them, read and never run."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Mapping
from functools import cached_property

from ansible_collections.stockpot.stack.plugins.plugin_utils.project.archive import Entry, target_of

# Folders and files that say nothing about what is deployed.
ASIDE = {"test", "tests", "testing", "test_project", "docs", "doc", "examples", "example", "node_modules"}


class Tree:
    """A project's files by name, and its modules by theirs."""

    def __init__(self, files: Mapping[str, Entry], top: str = "") -> None:
        """Takes the files of the whole source, and the folder that modules are imported from."""
        self.files = files
        self.top = top
        self._parsed: dict[str, ast.Module | None] = {}

    def text(self, name: str) -> str:
        """A file's text, empty without the file; a link to another file is followed."""
        visited: set[str] = set()
        while name in self.files and self.files[name].link and name not in visited:
            visited.add(name)
            name = target_of(name, self.files[name])
        return self.files[name].data.decode(errors="replace") if name in self.files else ""

    def parsed(self, name: str) -> ast.Module | None:
        """A Python file's syntax tree; none for what this Python cannot read."""
        if name not in self._parsed:
            try:
                self._parsed[name] = ast.parse(self.text(name))
            except (SyntaxError, ValueError):
                self._parsed[name] = None
        return self._parsed[name]

    @cached_property
    def sources(self) -> list[str]:
        """The Python files that belong to what is deployed, those of the top folders first."""
        found = []
        for name in sorted(self.files, key=lambda name: (name.count("/"), name)):
            folders = name.split("/")[:-1]
            base = posixpath.basename(name)
            if name.endswith(".py") and not ASIDE & set(folders) and not base.startswith(("test_", "conftest")):
                found.append(name)
        return found

    @cached_property
    def _ends(self) -> dict[str, list[str]]:
        """Python files by every end of their paths."""
        ends: dict[str, list[str]] = {}
        for name in self.files:
            if name.endswith(".py"):
                parts = name.split("/")
                for index in range(len(parts)):
                    ends.setdefault("/".join(parts[index:]), []).append(name)
        return ends

    def module_of(self, name: str) -> str:
        """The module that a file is, as the project imports it."""
        for top in self._tops():
            if name.startswith(top):
                return name.removeprefix(top).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def file_of(self, module: str) -> str:
        """The file of a module of the project; empty for a module of another one."""
        path = module.replace(".", "/")
        for name in (f"{path}.py", f"{path}/__init__.py"):
            for top in self._tops():
                if top + name in self.files:
                    return top + name
            # A manage.py that adds a folder to the module path.
            if "/" in path and len(elsewhere := self._ends.get(name, [])) == 1:
                return elsewhere[0]
        return ""

    def _tops(self) -> list[str]:
        prefix = f"{self.top}/" if self.top else ""
        return [f"{prefix}src/", prefix] if f"{prefix}src/__init__.py" not in self.files else [prefix]


def dotted(node: ast.AST) -> str:
    """A name with its attributes, such as `os.environ.get`; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""
