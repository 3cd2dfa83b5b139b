"""Whether a project holds the parts that an operator names: its settings, its WSGI callable, its Celery app. Nothing of it is run."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from .archive import Entry

# Where an import looks, relative to manage.py's folder; the second for a project that is installed as a package.
ROOTS = ("", "src/")
ANY = "*"
# Stands for the source of a module that is only known on the servers: it may bind any name.
UNKNOWN = b"def __getattr__(name): ..."
SETTINGS = re.compile(r"^INSTALLED_APPS\b", re.MULTILINE)
GATEWAYS = {"wsgi": re.compile(r"\bget_wsgi_application\("), "asgi": re.compile(r"\bget_asgi_application\(")}
CELERY = re.compile(r"\bCelery\(")
NAMES_SHOWN = 4


@dataclass(frozen=True)
class Parts:
    """What an operator says that a project consists of; empty for what is not looked at.

    Attributes:
        settings: the settings module.
        wsgi: module:callable.
        asgi: module:callable.
        celery: what `celery -A` is given.
        static_root: folder that collectstatic fills, relative to manage.py's.
    """

    settings: str = ""
    wsgi: str = ""
    asgi: str = ""
    celery: str = ""
    static_root: str = ""


class Modules:
    """A project's own Python modules, by dotted name."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        """Takes the project's files by name, relative to manage.py's folder."""
        self._text: dict[str, bytes] = {}
        self.packages: set[str] = set()
        for root in reversed(ROOTS):
            for name, entry in entries.items():
                if name.startswith(root) and name.endswith(".py") and not entry.link:
                    self._add(name.removeprefix(root).removesuffix(".py").split("/"), entry)

    def _add(self, parts: list[str], entry: Entry) -> None:
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts and all(part.isidentifier() for part in parts):
            self._text[".".join(parts)] = entry.data
            # A folder without __init__.py is a package too.
            self.packages.update(".".join(parts[:length]) for length in range(1, len(parts)))

    def __contains__(self, name: object) -> bool:
        return name in self._text or name in self.packages

    def text(self, name: str) -> str:
        """A module's source; empty when there is none."""
        return self._text.get(name, b"").decode(errors="replace")

    def matching(self, pattern: re.Pattern[str]) -> list[str]:
        """The modules whose source holds the pattern, sorted; what tests hold is no answer."""
        return [
            name
            for name in sorted(self._text)
            if not re.search(r"(^|\.)(tests?|conftest|test_\w+)(\.|$)", name) and pattern.search(self.text(name))
        ]

    def names(self, module: str, seen: frozenset[str] = frozenset()) -> set[str]:
        """The names that a module binds; `*` is among them where that is not to be known without running it.

        Args:
            module: its dotted name.
            seen: the modules that lead here by `import *`.
        """
        try:
            tree = ast.parse(self.text(module))
        except (SyntaxError, ValueError):
            return {ANY}
        found = set(_bound(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and any(alias.name == ANY for alias in node.names):
                source = self._imported(module, node)
                if source in self._text and source not in seen:
                    found |= self.names(source, seen | {module})
                elif source not in seen:
                    found.add(ANY)
        return found

    def made(self, module: str) -> set[str]:
        """The names that a module gives values to itself, in capitals none."""
        tree = ast.parse(self.text(module))
        targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
        defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        return {target.id for target in targets if isinstance(target, ast.Name) and not target.id.isupper()} | set(
            defined
        )

    def _imported(self, module: str, node: ast.ImportFrom) -> str:
        """The module that a statement in another one imports from."""
        # A package is the parent of what stands in its __init__.py.
        parents = f"{module}.".split(".") if module in self.packages else module.split(".")
        base = parents[: -node.level] if node.level else []
        return ".".join([*base, *filter(None, [node.module])])

    @cached_property
    def settings(self) -> list[str]:
        """The modules that look like settings: those with INSTALLED_APPS, and those beside them that take all from another."""
        found = self.matching(SETTINGS)
        folders = {name.rpartition(".")[0] for name in found} - {""}
        beside = [
            name
            for name in self.matching(re.compile(r"^from \S+ import \*", re.MULTILINE))
            if name.rpartition(".")[0] in folders and "settings" in name
        ]
        return sorted({*found, *beside})


def part_problems(entries: Mapping[str, Entry], parts: Parts) -> list[str]:
    """What an operator names and the project does not hold; a sentence each.

    A module that the project does not hold may come with an installed package. It is refused where the project holds its
    first word, or another one that would do.

    Args:
        entries: the project's files by name, relative to manage.py's folder.
        parts: what was named.
    """
    modules = Modules(entries)
    return [
        *_settings(modules, parts),
        *_callable(modules, "django_app_wsgi", parts.wsgi, GATEWAYS["wsgi"]),
        *_callable(modules, "django_app_asgi", parts.asgi, GATEWAYS["asgi"]),
        *_celery(modules, parts.celery),
    ]


def _settings(modules: Modules, parts: Parts) -> list[str]:
    name = parts.settings
    if not name:
        return []
    if name not in modules:
        return _missing(modules, "django_app_settings_module", name, modules.settings)
    if not parts.static_root or _sets_static_root(modules, name):
        return []
    return [
        f"django_app_static_root is {parts.static_root}, but no module of the project sets STATIC_ROOT, so there is nothing to collect "
        "static files into: set it in the settings, or django_app_static_root to ''."
    ]


def _sets_static_root(modules: Modules, settings: str) -> bool:
    """Whether some module of the project mentions it, or the settings take names from what is no part of the project."""
    if modules.matching(re.compile(r"\bSTATIC_ROOT\b")):
        return True
    package = settings.rpartition(".")[0]
    beside = [name for name in modules.settings if name.rpartition(".")[0] == package]
    return any(ANY in modules.names(name) for name in {settings, *beside})


def _callable(modules: Modules, variable: str, named: str, pattern: re.Pattern[str]) -> list[str]:
    module, _, attribute = named.partition(":")
    if not module:
        return []
    if module not in modules:
        return _missing(modules, variable, named, [f"{name}:application" for name in modules.matching(pattern)])
    wanted = attribute.partition("(")[0]
    return _unbound(modules, variable, named, module, wanted)


def _celery(modules: Modules, named: str) -> list[str]:
    module, _, attribute = named.partition(":")
    if not module:
        return []
    apps = modules.matching(CELERY)
    if module not in modules:
        # celery -A also takes module.attribute.
        parent, _, last = module.rpartition(".")
        if parent in modules and last in modules.names(parent):
            return []
        return _missing(modules, "celery_app", named, apps)
    if attribute:
        return _unbound(modules, "celery_app", named, module, attribute)
    # What `celery -A` looks for in a module, and below a package.
    bound = modules.names(module)
    if {"app", "celery", ANY} & bound or module in apps or f"{module}.celery" in modules:
        return []
    return _refused("celery_app", named, f"{module} holds no Celery app", apps)


def _unbound(modules: Modules, variable: str, named: str, module: str, attribute: str) -> list[str]:
    bound = modules.names(module)
    if not attribute or {attribute, ANY} & bound:
        return []
    made = [f"{module}:{name}" for name in sorted(modules.made(module)) if not name.startswith("_")]
    return _refused(variable, named, f"{module} has no {attribute}", made)


def _missing(modules: Modules, variable: str, named: str, others: list[str]) -> list[str]:
    """A module that is not there; no sentence where it can only come with an installed package."""
    module = named.partition(":")[0]
    if module.partition(".")[0] not in modules and not others:
        return []
    return _refused(variable, named, f"the project has no module {module}", others)


def _refused(variable: str, named: str, why: str, others: list[str]) -> list[str]:
    nearest = difflib.get_close_matches(named, others, n=NAMES_SHOWN, cutoff=0) if len(others) > NAMES_SHOWN else others
    instead = f"It has {', '.join(nearest)}." if nearest else "Name the one it has."
    return [f"{variable} is {named}, but {why}. {instead}"]


def _bound(tree: ast.Module) -> Iterator[str]:
    """The names bound at the top of a module, in whatever branch."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            # A module's own __getattr__ may answer for any name.
            yield ANY if node.name == "__getattr__" else node.name
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names if alias.name != ANY)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("globals", "exec"):
            yield ANY
        waiting.extend(ast.iter_child_nodes(node))
