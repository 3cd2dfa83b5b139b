"""Reads a Django project and writes the configuration to deploy it with. None of its code is run."""

from __future__ import annotations

import posixpath
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.stockpot.stack.plugins.plugin_utils.project.archive import Entry, entries_of
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.source import (
    GIT_ADDRESS,
    ProjectError,
    find_source,
    git,
    said,
)

from . import building, celery, connections, packages, processes, project
from .evaluate import Evaluator, Scope
from .findings import FOUND, GUESS, OPEN, Template, Value, found, guess, leaves, unknown
from .tree import Tree
from .writing import environment_files, hosts_text, variables_text, write_environment

CACHE = Path("~/.cache/stockpot")


@dataclass
class Adopted:
    """What was read of a project.

    Attributes:
        sections: the variables to write, by the title that stands above them.
        without: groups of the inventory that stay empty, with the reason.
        seconds: how long it took.
    """

    sections: dict[str, list[Value]]
    without: dict[str, str]
    seconds: float = 0

    def of(self, state: str) -> list[Value]:
        """All values in a state: FOUND, GUESS or OPEN."""
        return leaves((value for values in self.sections.values() for value in values), state)


def adopt(root: Path, environment: str, *, source: str, version: str = "", cache: Path = CACHE) -> Adopted:
    """Read a project and write `inventories/<environment>` and `group_vars/<environment>`.

    Args:
        root: the checkout that they are written to.
        environment: the environment's name.
        source: a folder, or a git address.
        version: tag, branch or commit; empty takes a folder as it lies there, and a repository's default branch.
        cache: folder for fetched repositories.

    Raises:
        EnvironmentRefused: the environment is there already, or has no name.
        ProjectError: the source cannot be read.
        NoProject: it holds no Django project.
    """
    began = time.monotonic()
    environment_files(root, environment)
    is_guessed = bool(GIT_ADDRESS.match(source)) and not version
    if is_guessed:
        version = default_branch(source)
    if not GIT_ADDRESS.match(source):
        source = str(Path(source).expanduser().absolute())
    cache = cache.expanduser()
    cache.mkdir(parents=True, exist_ok=True)
    place = find_source(source=source, version=version, subdirectory="", cache=cache)
    adopted = read(entries_of(place, cache), environment, source=_shown(source, root))
    where = [found("django_app_source", adopted.sections["The project"].pop(0).value, "SOURCE")]
    if version:
        where.append(
            guess("django_app_version", version, "its default branch")
            if is_guessed
            else found("django_app_version", version, "VERSION")
        )
    adopted.sections["The project"][1:1] = where
    write_environment(
        root,
        environment,
        hosts=hosts_text(environment, without=adopted.without),
        variables=variables_text(_header(environment), adopted.sections),
    )
    adopted.seconds = time.monotonic() - began
    return adopted


def environment(root: Path, name: str) -> list[Path]:
    """Write the two files of an environment for a project like the reference application.

    Raises:
        EnvironmentRefused: the environment is there already, or has no name.
    """
    sections = {
        "The site": [_site_names()],
        "The application": [
            Value("app_name", name.replace("_", "-"), "names its system user, folders and units"),
            Value("app_environment", {}, "variables beside app_connections of group_vars/all/app.yml", entries=[]),
        ],
    }
    header = [f"What {name} has of its own; everything else is in group_vars/all. Secrets: `make secrets ENV={name}`."]
    return write_environment(root, name, hosts=hosts_text(name), variables=variables_text(header, sections))


def _header(environment: str) -> list[str]:
    return [
        f"{environment}, as `make adopt` read it from the project. FILL_IN is to be written, what is a guess to be looked at.",
        f"Secrets: `make secrets ENV={environment}`. Every other setting: group_vars/all.",
    ]


def _shown(source: str, root: Path) -> str:
    """A source as it is written: relative to the inventory where it is inside the checkout."""
    if GIT_ADDRESS.match(source) or not Path(source).is_relative_to(root):
        return source
    return Template(Path("{{ inventory_dir }}/../..", Path(source).relative_to(root)))


def default_branch(address: str) -> str:
    """The branch that a repository has out.

    Raises:
        ProjectError: it cannot be reached, or says none.
    """
    try:
        told = git("ls-remote", "--symref", "--", address, "HEAD").decode(errors="replace")
    except subprocess.CalledProcessError as error:
        raise ProjectError(f"django_app_source: git cannot read {address}: {said(error)}") from error
    except subprocess.TimeoutExpired as error:
        raise ProjectError(f"django_app_source: {address} did not answer git in time.") from error
    if branch := re.search(r"^ref: refs/heads/(\S+)\s+HEAD$", told, re.MULTILINE):
        return branch[1]
    raise ProjectError(
        f"django_app_version is empty, and {address} has no default branch. Name a tag, branch or commit."
    )


def read(files: Mapping[str, Entry], environment: str, *, source: str) -> Adopted:
    """What a project's files say.

    Args:
        files: those of the whole source.
        environment: the environment's name, which the application gets.
        source: what is written as django_app_source.

    Raises:
        NoProject: they hold no Django project.
    """
    top, manage = project.subdirectory_of(files)
    tree = Tree(files, top)
    modules = project.settings_modules(tree)
    settings = project.settings_value(tree, modules)
    modules = project.readable(tree, modules)
    evaluator = Evaluator(tree)
    scope = (evaluator.module(modules[0].name) if modules else None) or Scope("the settings")
    own = project.worker_settings(tree, modules)
    of_workers = evaluator.module(own.name) if own else scope
    reads = list(evaluator.reads)
    required, is_choice = packages.requirement_files(tree)
    names = packages.package_names(files, required)
    ran = processes.processes_of(tree)
    application = celery.find_application(tree, evaluator, of_workers if modules else None)
    # What Celery's module and the servers' read, too; what else is evaluated is not started.
    reads += [
        one
        for one in evaluator.reads
        if one not in reads and application and one.where.startswith(application.where.partition(":")[0])
    ]
    config, places = (application.config, application.places) if application else ({}, {})
    variables = connections.variables_of(reads, scope, config)
    if modules and settings.state != OPEN:
        settings = _mended(settings, modules[0].name, connections.mends(scope, variables))
    servers = project.server_values(tree, scope, names, ran)
    is_asgi = any(value.name == "django_app_asgi" for value in servers)
    beat, no_beat = celery.beat_values(application, ran, names) if application else ([], "")
    folders = _folders(tree, scope, variables)
    commands = {value.name: value for value in processes.command_values(tree, ran)}
    release = _release(tree, scope, commands.pop("django_app_release_commands", None))
    layout = project.layout_values(tree, manage)
    words = next((value.value for value in layout if value.name == "django_app_manage"), ["python", "manage.py"])
    sections = {
        "The project": [
            Value("django_app_source", source),
            Value("app_name", environment.replace("_", "-"), "names its system user, folders and units"),
            *layout,
            settings,
            *servers,
            celery.application_value(application, ran),
        ],
        "Its packages and Python": [
            *packages.package_values(tree, required, is_choice, names, is_asgi=is_asgi),
            packages.python_value(tree, required, names),
        ],
        "What is built and run": [
            *_merged(
                building.build_values(tree, words, packages.compiled_packages(tree, required, names)),
                building.compiled_values(tree, scope, words),
            ),
            release,
            *commands.values(),
        ],
        "Folders and pages": [*folders, project.health_value(tree, scope)],
        "The site": [_site_names()],
        "PostgreSQL and Redis": [
            *building.extension_values(tree),
            *connections.prefix_values(variables, scope, config, places),
        ],
        "Its environment": connections.connection_values(variables, config, places, evaluator.choices),
        "Web server and workers": [
            *processes.web_values(tree, ran, is_asgi=is_asgi),
            *(celery.worker_values(tree, application, ran) if application else []),
            *beat,
            *(
                [
                    guess(
                        "celery_environment",
                        {"DJANGO_SETTINGS_MODULE": own.name},
                        f"{own.where} is the workers' by its name",
                    )
                ]
                if own
                else []
            ),
        ],
    }
    return Adopted(sections, {"beat": no_beat} if no_beat else {})


def _mended(settings: Value, module: str, wrong: list[str]) -> Value:
    """The settings module; open where no variable can change what is wrong with it."""
    if not wrong:
        return settings
    what, why = f"a settings module {', and '.join(wrong)}", f"{settings.comment}: it would be {module}"
    return unknown("django_app_settings_module", what, why)


def _folders(tree: Tree, scope: Scope, variables: Mapping[str, connections.Variable]) -> list[Value]:
    """Static files, shared folders, and where uploads are kept."""
    folders = project.folder_values(tree, scope)
    if any(value.name == "django_app_media_root" for value in folders):
        return folders
    if any(connections.meaning_of(variable)[0] == "django_app_media_root" for variable in variables.values()):
        path = Template("/srv/{{ app_name }}/media")
        return [*folders, Value("django_app_media_root", path, "MEDIA_ROOT is bound to it below")]
    return [*folders, *_media_inside(folders)]


def _release(tree: Tree, scope: Scope, named: Value | None) -> Value:
    """What runs after the migrations of a release: those of the reference application are its own."""
    value = named or Value("django_app_release_commands", [], "", entries=[])
    tables = [
        found("", command, scope.where.get("CACHES", scope.file)) for command in building.cache_table_values(scope)
    ]
    value.entries = [*tables, *(value.entries or [])]
    if own := building.own_commands(tree):
        value.optional.append(f"Its own commands: {', '.join(own)}")
    return value


def _site_names() -> Value:
    value = unknown("site_names", "the site's host names, the main one first", "only you know them")
    value.value = [value.value]
    return value


def _media_inside(folders: list[Value]) -> list[Value]:
    """Uploads that the project keeps inside its source."""
    shared = next((value for value in folders if value.name == "django_app_shared_paths"), None)
    inside = (
        [path for path in shared.value if posixpath.basename(path) in ("media", "uploads", "mediafiles")]
        if shared
        else []
    )
    if not inside:
        return [
            unknown("django_app_media_root", "where uploads are kept, or an empty text", "MEDIA_ROOT could not be told")
        ]
    path = Template(f"/srv/{{{{ app_name }}}}/shared/{inside[0]}")
    return [guess("django_app_media_root", path, "where the shared folder of that name is")]


def _merged(*several: list[Value]) -> list[Value]:
    """Values, those of one name as one."""
    by_name: dict[str, Value] = {}
    for value in (value for values in several for value in values):
        if value.name in by_name and value.entries is not None:
            kept = by_name[value.name].entries or []
            kept += [entry for entry in value.entries if entry.value not in [one.value for one in kept]]
        else:
            by_name[value.name] = value
    return list(by_name.values())


__all__ = ["FOUND", "GUESS", "OPEN", "Adopted", "adopt", "environment", "read"]
