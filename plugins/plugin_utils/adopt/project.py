"""Where a Django project keeps its parts: manage.py or a command of its own, settings, WSGI and ASGI, folders and pages."""

from __future__ import annotations

import ast
import configparser
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.project.tables import table

from .evaluate import UNKNOWN, Evaluator, Made, Place, Read, Scope
from .findings import Value, found, guess, unknown
from .processes import Process
from .tree import Tree

PRODUCTION = re.compile(r"(^|[._])(prod|production|live|deploy|deployed|server|heroku)($|[._])")
ELSEWHERE = re.compile(
    r"(^|[._])(dev|devel|development|local|test|tests|testing|ci|base|common|defaults|staging|stage|build)($|[._])"
)
SETS_MODULE = re.compile(r"DJANGO_SETTINGS_MODULE[\"']?\s*[=:,\s]\s*[\"']?([A-Za-z_][\w.]*)")
HEALTH = re.compile(
    r"^(health|healthz|health-?check|healthcheck|readyz?|readiness|livez|alive|ping|status|up|_health|heartbeat)[_-]?/?$"
)


ASGI_SERVERS = ("uvicorn", "daphne", "hypercorn", "granian")


class NoProject(Exception):
    """There is no Django project; the message says what was looked for."""


@dataclass
class Module:
    """A settings module that a file names, or that stands among the others."""

    name: str
    where: str
    weight: int


def subdirectory_of(files: Any) -> tuple[str, str]:
    """The folder of manage.py, and manage.py's path; both empty without one.

    Raises:
        NoProject: there is neither manage.py nor a word of Django.
    """
    tree = Tree(files)
    names = [
        name
        for name in tree.sources
        if posixpath.basename(name) == "manage.py" and "execute_from_command_line" in tree.text(name)
    ]
    if names:
        return posixpath.dirname(names[0]), names[0]
    if not any(
        "DJANGO_SETTINGS_MODULE" in tree.text(name) or "get_wsgi_application" in tree.text(name)
        for name in tree.sources
    ):
        raise NoProject(
            "SOURCE holds no Django project: no manage.py, and no Python file that names DJANGO_SETTINGS_MODULE or calls "
            "get_wsgi_application. Name its folder or repository."
        )
    described = [name for name in files if posixpath.basename(name) in ("pyproject.toml", "setup.py", "setup.cfg")]
    return posixpath.dirname(min(described, key=lambda name: (name.count("/"), name), default="")), ""


def settings_modules(tree: Tree) -> list[Module]:
    """Every settings module that is named, the one to deploy with first; and its siblings."""
    modules: dict[str, Module] = {}
    sources = set(tree.sources)
    weights = {"wsgi.py": 40, "asgi.py": 38, "celery.py": 30, "manage.py": 20}
    for name in tree.files:
        base = posixpath.basename(name)
        is_source = name in sources
        is_told = base in ("Dockerfile", "Procfile") or base.endswith((".service", ".env.example"))
        if not is_source and not is_told:
            continue
        for number, line in enumerate(tree.text(name).splitlines(), 1):
            if line.lstrip().startswith("#") or not (said := SETS_MODULE.search(line)):
                continue
            module = Module(said[1], f"{name}:{number}", weights.get(base, 35 if is_told else 10))
            if said[1] not in modules or modules[said[1]].weight < module.weight:
                modules[said[1]] = module
    for module in list(modules.values()):
        if not (file := tree.file_of(module.name)):
            continue
        folder, stem = posixpath.split(file)
        for sibling in tree.files:
            base = posixpath.basename(sibling)
            if not base.endswith(".py") or base == "__init__.py":
                continue
            inside = file.endswith("__init__.py") or "settings" in posixpath.basename(folder)
            beside = posixpath.dirname(sibling) == folder and (
                inside or base.startswith(stem.removesuffix(".py") + "_")
            )
            if beside and PRODUCTION.search(base.removesuffix(".py")):
                name = tree.module_of(sibling)
                modules.setdefault(name, Module(name, sibling, 0))
    return sorted(modules.values(), key=lambda module: (-_fitness(module), module.name))


def _fitness(module: Module) -> int:
    last = module.name.rpartition(".")[2]
    return module.weight + (100 if PRODUCTION.search(last) else -100 if ELSEWHERE.search(last) else 0)


def readable(tree: Tree, modules: list[Module]) -> list[Module]:
    """Those that are in the project; for one that is not, an example that stands beside where it would be."""
    found = []
    for module in modules:
        examples = (
            f"{module.name}_example",
            f"{module.name}_sample",
            f"example_{module.name}",
            f"{module.name}_docker",
        )
        name = next((name for name in (module.name, *examples) if tree.file_of(name)), "")
        if name:
            found.append(Module(name, module.where, module.weight))
    return found


def worker_settings(tree: Tree, modules: list[Module]) -> Module | None:
    """A settings module beside the one to deploy with that is the workers' by its name."""
    folder = posixpath.dirname(tree.file_of(modules[0].name)) if modules else ""
    for name in sorted(tree.files) if "settings" in posixpath.basename(folder) else ():
        if posixpath.dirname(name) == folder and posixpath.basename(name) in ("worker.py", "workers.py", "celery.py"):
            return Module(tree.module_of(name), name, 0)
    return None


def settings_value(tree: Tree, modules: list[Module]) -> Value:
    """The settings module to deploy with."""
    if not modules:
        return unknown(
            "django_app_settings_module", "the settings module, such as config.settings", "no file names one"
        )
    modules, absent = (
        [one for one in modules if tree.file_of(one.name)],
        [one for one in modules if not tree.file_of(one.name)],
    )
    if absent and (not modules or absent[0].weight > modules[0].weight):
        return unknown(
            "django_app_settings_module",
            f"{absent[0].name}, which is not in the project: write it and place it with django_app_files, or name another",
            absent[0].where,
        )
    first, *others = modules
    named = [other.name for other in others]
    if not others:
        return found("django_app_settings_module", first.name, first.where)
    if PRODUCTION.search(first.name.rpartition(".")[2]) and first.weight >= 35:
        return found("django_app_settings_module", first.name, f"{first.where}; there are also {', '.join(named)}")
    return guess(
        "django_app_settings_module",
        first.name,
        f"the one most like production ({first.where}); there are also {', '.join(named)}",
    )


def console_command(tree: Tree) -> tuple[str, str]:
    """The project's own command that runs manage commands, and where it is declared; both empty without one."""
    prefix = f"{tree.top}/" if tree.top else ""
    scripts: dict[str, str] = {}
    content = table(tree.files, f"{prefix}pyproject.toml")
    scripts |= content.get("project", {}).get("scripts", {})
    scripts |= {
        name: one
        for name, one in content.get("tool", {}).get("poetry", {}).get("scripts", {}).items()
        if isinstance(one, str)
    }
    where = f"{prefix}pyproject.toml"
    if not scripts and f"{prefix}setup.cfg" in tree.files:
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read_string(tree.text(f"{prefix}setup.cfg"))
        lines = parser.get("options.entry_points", "console_scripts", fallback="").splitlines()
        scripts = {name.strip(): one.strip() for name, _, one in (line.partition("=") for line in lines) if one}
        where = f"{prefix}setup.cfg"
    if not scripts and f"{prefix}setup.py" in tree.files:
        scripts = dict(re.findall(r"[\"']([\w-]+)\s*=\s*([\w.]+:\w+)[\"']", tree.text(f"{prefix}setup.py")))
        where = f"{prefix}setup.py"
    for command, target in scripts.items():
        file = tree.file_of(target.partition(":")[0])
        if file and re.search(r"execute_from_command_line|call_command", tree.text(file)):
            return command, f"{where}: {command}"
    return "", ""


def layout_values(tree: Tree, manage: str) -> list[Value]:
    """How manage commands are run, and in which folder."""
    values = []
    if tree.top:
        values.append(found("django_app_subdirectory", tree.top, manage or "pyproject.toml"))
    if manage:
        return values
    command, where = console_command(tree)
    if command:
        values.append(found("django_app_manage", [command], where))
    else:
        values.append(
            guess("django_app_manage", ["python", "-m", "django"], "there is no manage.py and no command of its own")
        )
    return [
        *values,
        guess("django_app_install_project", True, "there is no manage.py: it is found as an installed package"),
    ]


def server_values(tree: Tree, scope: Scope | None, packages: set[str], processes: list[Process]) -> list[Value]:
    """The WSGI application; the ASGI one where the project needs it."""
    wsgi = _application(tree, scope, "WSGI_APPLICATION", "get_wsgi_application")
    asgi = _application(tree, scope, "ASGI_APPLICATION", "get_asgi_application")
    values = [found("django_app_wsgi", *wsgi)] if wsgi else []
    if asgi:
        text = tree.text(tree.file_of(asgi[0].partition(":")[0]))
        served = next(
            (one for one in processes if one.name == "web" and posixpath.basename(one.words[0]) in ASGI_SERVERS), None
        )
        needed = next((word for word in ("ProtocolTypeRouter", "websocket") if word in text), "")
        needed = needed or ("channels" if "channels" in packages else "") or (served.where if served else "")
        if needed:
            values.append(found("django_app_asgi", asgi[0], f"{asgi[1]}: {needed}"))
        elif not wsgi:
            values.append(guess("django_app_asgi", asgi[0], f"{asgi[1]}: there is no WSGI application"))
        if not wsgi:
            values.insert(0, found("django_app_wsgi", "", "no file makes one; the ASGI application is served"))
    return values or [
        unknown("django_app_wsgi", "the WSGI application, such as config.wsgi:application", "no file makes one")
    ]


def _application(tree: Tree, scope: Scope | None, setting: str, maker: str) -> tuple[str, str] | None:
    """The application as module:callable, and where it was found."""
    named = scope.names.get(setting) if scope else None
    if scope and isinstance(named, str) and "." in named:
        module, _, name = named.rpartition(".")
        if tree.file_of(module):
            return f"{module}:{name}", scope.where.get(setting, scope.file)
    for file in tree.sources:
        if maker not in tree.text(file) or not (parsed := tree.parsed(file)):
            continue
        names = [
            (target.id, node.lineno)
            for node in parsed.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and isinstance(node.value, ast.Call)
        ]
        wanted = [one for one in names if one[0] == "application"] or names[-1:]
        if wanted:
            return f"{tree.module_of(file)}:{wanted[0][0]}", f"{file}:{wanted[0][1]}"
    return None


def folder_values(tree: Tree, scope: Scope) -> list[Value]:
    """Static files, uploads, and what else the project writes inside its source."""
    values = []
    static, where = _setting(scope, "STATIC_ROOT")
    inside = _relative(tree, static)
    if isinstance(static, Read):
        inside, where = _relative(tree, static.default), static.where
    if inside:
        values.append(found("django_app_static_root", inside, where))
    elif static in (None, "", UNKNOWN) and "STATIC_ROOT" not in scope.names:
        values.append(guess("django_app_static_root", "", f"{scope.file} sets no STATIC_ROOT: nothing is collected"))
    elif isinstance(static, Read):
        values.append(guess("django_app_static_root", "staticfiles", f"{where}: {static.name} says it"))
    else:
        values.append(
            unknown(
                "django_app_static_root",
                "STATIC_ROOT, relative to manage.py's folder and inside it",
                where or scope.file,
            )
        )
    return [*values, *media_values(tree, scope), *_url_values(scope), *_shared(tree, scope)]


def media_values(tree: Tree, scope: Scope) -> list[Value]:
    """Where uploads are kept."""
    media, where = _setting(scope, "MEDIA_ROOT")
    if isinstance(media, Read):
        return []
    if isinstance(media, str) and media.startswith("/"):
        return [found("django_app_media_root", media.rstrip("/"), where)]
    if "MEDIA_ROOT" not in scope.names or media in (None, ""):
        return [guess("django_app_media_root", "", f"{scope.file} sets no MEDIA_ROOT: no uploads")]
    return []


def _url_values(scope: Scope) -> list[Value]:
    """What of the site's addresses differs from the usual."""
    values = []
    for setting, usual, name in (
        ("STATIC_URL", "/static/", "nginx_static_url"),
        ("MEDIA_URL", "/media/", "nginx_media_url"),
    ):
        url, where = _setting(scope, setting)
        if isinstance(url, str) and url and "//" not in url and f"/{url.strip('/')}/" != usual:
            values.append(found(name, f"/{url.strip('/')}/", where))
    return values


def _shared(tree: Tree, scope: Scope) -> list[Value]:
    """Folders below the source that the project names and that are no part of it: it writes there."""
    top = f"{tree.top}/" if tree.top else ""
    known = {"STATIC_ROOT", "BASE_DIR", "ROOT_DIR", "PROJECT_ROOT", "PROJECT_DIR", "APPS_DIR", "ROOT"}
    known |= {"STATICFILES_DIRS", "TEMPLATES", "LOCALE_PATHS", "FIXTURE_DIRS", "DATABASES"}
    places: dict[str, str] = {}
    for name, value in scope.names.items():
        # Uploads whose folder the environment says are kept elsewhere.
        if name in known or not name.isupper() or (name == "MEDIA_ROOT" and isinstance(value, Read)):
            continue
        for place in _places(value):
            path = _relative(tree, place)
            if not path:
                continue
            # A log file's folder is meant.
            path = posixpath.dirname(path) if re.search(r"\.\w+$", path) else path
            held = [file for file in tree.files if file.startswith(f"{top}{path}/")]
            is_own = any(
                posixpath.basename(file) not in (".gitkeep", ".gitignore", ".keep", "README.md") for file in held
            )
            if path and not is_own and f"{top}{path}" not in tree.files:
                places.setdefault(path, scope.where.get(name, scope.file))
    if not places:
        return []
    return [
        guess(
            "django_app_shared_paths",
            list(places),
            "folders that it writes inside its source: " + ", ".join(places.values()),
        )
    ]


def _places(value: Any) -> Iterator[Place]:
    if isinstance(value, Place):
        yield value
    elif isinstance(value, Read):
        yield from _places(value.default)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _places(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _places(one)


def _setting(scope: Scope, name: str) -> tuple[Any, str]:
    return scope.names.get(name, UNKNOWN), scope.where.get(name, scope.file)


def _relative(tree: Tree, value: Any) -> str:
    """A path below manage.py's folder, relative to it; empty for another one."""
    if isinstance(value, str) and value and not value.startswith(("/", "..")):
        return posixpath.normpath(value)
    if not isinstance(value, Place):
        return ""
    relative = posixpath.relpath(value.path, tree.top or ".")
    return "" if relative.startswith("..") or relative == "." else relative


def health_value(tree: Tree, scope: Scope) -> Value:
    """A page that tells whether the site works, by its address."""
    # Views lead to the whole project, and say nothing about addresses.
    evaluator = Evaluator(tree, follows_imports=False)
    module = scope.names.get("ROOT_URLCONF")
    pages = []
    for path, where in _addresses(tree, evaluator, module if isinstance(module, str) else "", "", 0):
        if "<" not in path and HEALTH.match(path.rstrip("/").rpartition("/")[2]):
            # Whether it is ready says more than whether it lives.
            pages.append(("ready" not in path, f"/{path}", where))
    if not pages:
        return guess("site_health_path", "", "no address of the project looks like a health page: none is asked")
    _, path, where = min(pages, key=lambda page: page[0])
    return guess("site_health_path", path, f"{where} looks like it")


def _addresses(tree: Tree, evaluator: Evaluator, module: str, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    scope = evaluator.module(module) if module and depth < 5 else None
    patterns = scope.names.get("urlpatterns") if scope else None
    for one in patterns if isinstance(patterns, list) else []:
        if not isinstance(one, Made) or not one.arguments or not isinstance(one.arguments[0], str):
            continue
        address = re.sub(r"^\^|\$$|\\Z$", "", one.arguments[0])
        target = one.arguments[1] if len(one.arguments) > 1 else None
        if isinstance(target, Made) and target.name.endswith("include") and target.arguments:
            inner = target.arguments[0]
            inner = inner[0] if isinstance(inner, list) and inner else inner
            if isinstance(inner, str) and tree.file_of(inner):
                yield from _addresses(tree, evaluator, inner, prefix + address, depth + 1)
                continue
        yield prefix + address, one.where
