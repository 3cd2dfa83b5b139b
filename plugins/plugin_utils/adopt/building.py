"""What has to be there or done before a project runs: of its Dockerfile, its package.json, its migrations."""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Iterator, Mapping

from .evaluate import Place, Read, Scope
from .findings import Value, found, guess
from .processes import commands_in, managed_by
from .tree import Tree, dotted

# What a build of an image needs, and a server has or does not.
NOT_ON_SERVERS = re.compile(
    r"build-essential|gcc|g\+\+|make|curl|wget|ca-certificates|gnupg2?|nodejs|npm|yarn|python3?(-dev|-pip|-venv)?|postgresql-client.*|"
    r"apt-transport-https|lsb-release|sudo|supervisor|nginx|redis-server|redis-tools|netcat.*|vim|nano|less|procps|tini|dumb-init|git"
)
FRONT_END = ("npm", "yarn", "pnpm", "npx", "bun")
# Django's own operations, by their names.
EXTENSIONS = {
    "BloomExtension": "bloom",
    "BtreeGinExtension": "btree_gin",
    "BtreeGistExtension": "btree_gist",
    "CITextExtension": "citext",
    "CryptoExtension": "pgcrypto",
    "HStoreExtension": "hstore",
    "TrigramExtension": "pg_trgm",
    "UnaccentExtension": "unaccent",
    "VectorExtension": "vector",
}


def _dockerfile(tree: Tree) -> str:
    names = (
        "Dockerfile",
        "docker/Dockerfile",
        "compose/production/django/Dockerfile",
        "deploy/Dockerfile",
        "Dockerfile.prod",
    )
    tops = (tree.top, "") if tree.top else ("",)
    return next(
        (posixpath.join(top, name) for top in tops for name in names if posixpath.join(top, name) in tree.files), ""
    )


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """A Dockerfile's line numbers, instructions and what follows them."""
    number, waiting, began = 0, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (not line.strip() and not waiting):
            continue
        began = began if waiting else number
        if line.rstrip().endswith("\\"):
            waiting += line.rstrip()[:-1] + " "
            continue
        word, _, rest = (waiting + line).strip().partition(" ")
        waiting = ""
        yield began, word.upper(), rest.strip()


def build_values(tree: Tree, manage: list[str], compiled: Mapping[str, str]) -> list[Value]:
    """Debian packages and commands that build the project, as a Dockerfile or package.json has them.

    Args:
        tree: the project.
        manage: the words before a manage command.
        compiled: packages that its own are compiled with, each with the reason.
    """
    name = _dockerfile(tree)
    packages: dict[str, str] = dict(compiled)
    builds: list[Value] = []
    on_hosts: list[Value] = []
    folder = top = ""
    for number, instruction, rest in _instructions(tree.text(name)):
        where = f"{name}:{number}"
        if instruction == "FROM":
            folder = top = ""
        if instruction == "WORKDIR":
            folder = posixpath.normpath(posixpath.join(folder or "/", rest))
            top = top or folder
        if instruction != "RUN":
            continue
        text = re.sub(r"^(--\w+=\S+\s+)+", "", rest)
        inside = folder
        for words in commands_in(text):
            if words[0] in ("apt-get", "apt") and "install" in words:
                for word in filter(_is_package, words[words.index("install") + 1 :]):
                    packages.setdefault(word.partition("=")[0], where)
            elif words[0] in FRONT_END:
                builds.append(guess("", _in_folder(tree, words, inside), where))
            elif (managed := managed_by(words)) and managed[0] not in ("collectstatic", "migrate", "check"):
                on_hosts.append(guess("", [*manage, *managed], where))
    builds = [build for build in builds if build.value] or _front_end(tree)
    values = []
    if packages:
        values.append(guess("django_app_packages", list(packages), ", ".join(dict.fromkeys(packages.values()))))
    if builds:
        values.append(Value("django_app_build_commands", [], "", entries=builds))
    if on_hosts:
        values.append(Value("django_app_host_build_commands", [], "", entries=on_hosts))
    return values


def _is_package(word: str) -> bool:
    word = word.partition("=")[0]
    return bool(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", word)) and not NOT_ON_SERVERS.fullmatch(word)


def _in_folder(tree: Tree, words: list[str], folder: str) -> dict[str, object]:
    """A front end's command with its folder relative to manage.py's: that of the package.json that the image's folder ends with."""
    homes = _package_homes(tree)
    ends = [home for home in homes if home and (folder == f"/{home}" or folder.endswith(f"/{home}"))]
    home = max(ends, key=len, default="") or ("" if "" in homes else homes[0] if homes else "")
    return _command(tree, words, home)


def _command(tree: Tree, words: list[str], home: str) -> dict[str, object]:
    where = posixpath.relpath(home or ".", tree.top or ".")
    return {"command": words} if where == "." else {"command": words, "directory": where}


def _package_homes(tree: Tree) -> list[str]:
    return sorted(
        (
            posixpath.dirname(name)
            for name in tree.files
            if posixpath.basename(name) == "package.json" and "node_modules" not in name
        ),
        key=lambda name: name.count("/"),
    )


def _front_end(tree: Tree) -> list[Value]:
    """A package.json that builds something, without a Dockerfile that says how."""
    for home in _package_homes(tree):
        name = posixpath.join(home, "package.json")
        try:
            scripts = json.loads(tree.text(name)).get("scripts", {})
        except (ValueError, AttributeError):
            continue
        if "build" in scripts:
            locked = posixpath.join(home, "package-lock.json") in tree.files
            first = _command(tree, ["npm", "ci" if locked else "install"], home)
            return [guess("", first, name), guess("", _command(tree, ["npm", "run", "build"], home), name)]
    return []


def compiled_values(tree: Tree, scope: Scope, manage: list[str]) -> list[Value]:
    """Commands of the project that make a folder which its static files are collected from, and which is not in its source."""
    folders = scope.names.get("STATICFILES_DIRS")
    commands: dict[str, str] = {}
    for place in folders if isinstance(folders, list | tuple) else ():
        if not isinstance(place, Place) or any(name.startswith(f"{place.path}/") for name in tree.files):
            continue
        word = posixpath.basename(place.path)
        for name in tree.sources:
            if "/management/commands/" in name and re.search(rf"[\"']{re.escape(word)}[\"'/]", tree.text(name)):
                commands.setdefault(
                    posixpath.basename(name).removesuffix(".py"), f"{name} makes {word}, which is in STATICFILES_DIRS"
                )
    if not commands:
        return []
    return [
        Value(
            "django_app_host_build_commands",
            [],
            "",
            entries=[guess("", [*manage, command], why) for command, why in commands.items()],
        )
    ]


def extension_values(tree: Tree) -> list[Value]:
    """The extensions of PostgreSQL that migrations create."""
    extensions: dict[str, str] = {}
    for name in tree.sources:
        if (
            "/migrations/" not in name
            or not re.search("extension", tree.text(name), re.I)
            or not (parsed := tree.parsed(name))
        ):
            continue
        for node in ast.walk(parsed):
            if isinstance(node, ast.Call):
                called = dotted(node.func).rpartition(".")[2]
                first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
                if called in EXTENSIONS:
                    extensions.setdefault(EXTENSIONS[called], f"{name}:{node.lineno}")
                elif called == "CreateExtension" and isinstance(first, str):
                    extensions.setdefault(first, f"{name}:{node.lineno}")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                for said in re.finditer(
                    r'create\s+extension\s+(?:if\s+not\s+exists\s+)?"?([\w-]+)"?', node.value, re.I
                ):
                    extensions.setdefault(said[1].lower(), f"{name}:{node.lineno}")
    if not extensions:
        return []
    return [
        found("postgresql_extensions", sorted(extensions), ", ".join(extensions[key] for key in sorted(extensions)))
    ]


def cache_table_values(scope: Scope) -> list[list[str]]:
    """The command that makes the tables of caches in the database, if there are any."""
    caches = scope.names.get("CACHES")
    kept = [one for one in caches.values() if isinstance(one, dict)] if isinstance(caches, dict) else []
    in_database = any(
        str(one.get("BACKEND", "")).endswith("DatabaseCache")
        for one in kept
        if not isinstance(one.get("BACKEND"), Read)
    )
    return [["createcachetable"]] if in_database else []


def own_commands(tree: Tree) -> list[str]:
    """The manage commands that the project brings."""
    names = (name for name in tree.sources if "/management/commands/" in f"/{name}")
    return sorted({base.removesuffix(".py") for base in map(posixpath.basename, names) if not base.startswith("_")})
