"""A project's Celery application: its name, its configuration, its queues, its schedule."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .evaluate import UNKNOWN, Evaluator, External, Made, Read, Scope, Table
from .findings import Value, found, guess, unknown
from .processes import Process
from .tree import Tree, dotted

# What Celery called its settings before it had names in lower case.
OLD = {
    "broker_url": ("BROKER_URL",),
    "broker_transport_options": ("BROKER_TRANSPORT_OPTIONS",),
    "result_backend": ("CELERY_RESULT_BACKEND",),
    "result_backend_transport_options": ("CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS",),
    "task_routes": ("CELERY_ROUTES",),
    "task_queues": ("CELERY_QUEUES",),
    "task_default_queue": ("CELERY_DEFAULT_QUEUE",),
    "task_time_limit": ("CELERYD_TASK_TIME_LIMIT",),
    "task_soft_time_limit": ("CELERYD_TASK_SOFT_TIME_LIMIT",),
    "beat_schedule": ("CELERYBEAT_SCHEDULE",),
    "beat_scheduler": ("CELERYBEAT_SCHEDULER",),
    "worker_pool": ("CELERYD_POOL",),
    "worker_concurrency": ("CELERYD_CONCURRENCY",),
}
SENDS = {
    "apply_async",
    "shared_task",
    "task",
    "set",
    "send_task",
    "signature",
    "Signature",
    "periodic_task",
    "subtask",
    "s",
    "si",
}
POOLS = ("prefork", "threads", "solo", "gevent")


@dataclass
class Application:
    """A Celery application.

    Attributes:
        name: what `celery -A` is given.
        where: `file:line`.
        config: its settings, by their names in lower case.
        places: where each is set.
    """

    name: str
    where: str
    config: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)


def find_application(tree: Tree, evaluator: Evaluator, settings: Scope | None) -> Application | None:
    """The application that workers run; none without one."""
    for file in sorted(tree.sources, key=lambda name: (posixpath.basename(name) != "celery.py", name.count("/"), name)):
        if not re.search(r"\bCelery\s*[(\[]", tree.text(file)) or not (parsed := tree.parsed(file)):
            continue
        module = tree.module_of(file)
        scope = evaluator.module(module)
        if not scope:
            continue
        for name, value in list(scope.names.items()):
            if (
                isinstance(value, Made)
                and value.name in ("celery.Celery", "celery.app.Celery", "celery.app.base.Celery")
                and "." not in name
            ):
                # Imported from elsewhere it is that module's.
                if name not in scope.where or not scope.where[name].startswith(f"{file}:"):
                    continue
                application = Application(argument_of(module, name), scope.where[name])
                _configure(application, name, value, parsed, scope, settings, evaluator)
                return application
    return None


def argument_of(module: str, name: str) -> str:
    """What `celery -A` finds an application by."""
    if name not in ("app", "celery"):
        return f"{module}:{name}"
    return module.removesuffix(".celery") if module.endswith(".celery") else module


def _configure(
    application: Application,
    name: str,
    made: Made,
    parsed: ast.Module,
    scope: Scope,
    settings: Scope | None,
    evaluator: Evaluator,
) -> None:
    for keyword, setting in (("broker", "broker_url"), ("backend", "result_backend")):
        if keyword in made.keywords:
            application.config[setting] = made.keywords[keyword]
            application.places[setting] = application.where
    for node in ast.walk(parsed):
        if isinstance(node, ast.Call) and dotted(node.func) == f"{name}.config_from_object" and node.args:
            given = evaluator.value(node.args[0], scope)
            prefix = next((evaluator.value(one.value, scope) for one in node.keywords if one.arg == "namespace"), "")
            _from_object(application, given, prefix if isinstance(prefix, str) else "", settings, evaluator)
    for key, value in scope.names.items():
        if key.startswith(f"{name}.conf."):
            setting = key.removeprefix(f"{name}.conf.")
            application.config[setting.lower()] = value
            application.places[setting.lower()] = scope.where.get(key, scope.file)


def _from_object(
    application: Application, given: Any, prefix: str, settings: Scope | None, evaluator: Evaluator
) -> None:
    """What an object holds: a module's names, or a dictionary's entries."""
    held: Mapping[str, Any] = {}
    where: Mapping[str, str] = {}
    if isinstance(given, External) and given.name == "django.conf.settings":
        given = "django.conf:settings"
    if isinstance(given, str):
        module, _, name = given.partition(":")
        scope = settings if module == "django.conf" else evaluator.module(module)
        inner = scope.names.get(name) if scope and name and module != "django.conf" else None
        if isinstance(inner, Table):
            held, where = inner, inner.where
        elif scope:
            held, where = scope.names, scope.where
    elif isinstance(given, Scope):
        held, where = given.names, given.where
    elif isinstance(given, Table):
        held, where = given, given.where
    start = f"{prefix}_" if prefix else ""
    for key in held:
        if not isinstance(key, str) or not key.startswith(start):
            continue
        setting = key.removeprefix(start).lower()
        old = next((new for new, names in OLD.items() if key in names), "")
        if (key.isupper() or key.islower()) and setting not in application.config:
            application.config[old or setting] = held[key]
            application.places[old or setting] = where.get(key, "")
    for new, names in OLD.items():
        for name in names:
            if name in held and new not in application.config:
                application.config[new], application.places[new] = held[name], where.get(name, "")


def application_value(application: Application | None, processes: list[Process]) -> Value:
    """`celery_app`."""
    said = next((process for process in processes if process.celery and process.application), None)
    if application:
        return found("celery_app", application.name, application.where)
    if said:
        return found("celery_app", said.application, said.where)
    return unknown("celery_app", "what `celery -A` is given", "no file makes a Celery application")


def queues_of(tree: Tree, application: Application) -> dict[str, str]:
    """The queues that the project names, each with where."""
    queues: dict[str, str] = {}
    config, places = application.config, application.places
    for setting, read in (("task_queues", _declared), ("task_routes", _routed)):
        for queue in read(config.get(setting)):
            queues.setdefault(queue, places.get(setting, ""))
    default = config.get("task_default_queue")
    queues = {
        default if isinstance(default, str) else "celery": places.get("task_default_queue", "Celery's own"),
        **queues,
    }
    for queue, where in _sent(tree):
        queues.setdefault(queue, where)
    return {queue: where for queue, where in queues.items() if re.fullmatch(r"[^\s,]+", queue)}


def _declared(queues: Any) -> Iterator[str]:
    if isinstance(queues, Mapping):
        yield from (key for key in queues if isinstance(key, str))
    for one in queues if isinstance(queues, list | tuple) else ():
        if isinstance(one, str):
            yield one
        elif isinstance(one, Made) and one.name.endswith("Queue"):
            name = one.arguments[0] if one.arguments else one.keywords.get("name")
            if isinstance(name, str):
                yield name


def _routed(routes: Any) -> Iterator[str]:
    if isinstance(routes, list | tuple):
        # Pairs of a pattern and its route, or routers after each other.
        if len(routes) == 2 and isinstance(routes[0], str) and isinstance(routes[1], str | Mapping):
            routes = {routes[0]: routes[1]}
        else:
            for one in routes:
                yield from _routed(one)
            return
    for route in routes.values() if isinstance(routes, Mapping) else ():
        queue = route.get("queue") if isinstance(route, Mapping) else route
        if isinstance(queue, str):
            yield queue
        elif isinstance(queue, Made):
            yield from _declared([queue])


def _sent(tree: Tree) -> Iterator[tuple[str, str]]:
    """Queues named beside a task or where it is sent."""
    for file in tree.sources:
        if "queue" not in tree.text(file) or not (parsed := tree.parsed(file)):
            continue
        for node in ast.walk(parsed):
            if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in SENDS | {""}:
                for one in node.keywords:
                    if one.arg == "queue" and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str):
                        yield one.value.value, f"{file}:{node.lineno}"
            elif isinstance(node, ast.ClassDef) and any("Task" in dotted(base) for base in node.bases):
                for line in node.body:
                    match line:
                        case ast.Assign(targets=[ast.Name(id="queue")], value=ast.Constant(value=str() as queue)):
                            yield queue, f"{file}:{line.lineno}"


def worker_values(tree: Tree, application: Application, processes: list[Process]) -> list[Value]:
    """`celery_workers`, and how long tasks may take."""
    queues = queues_of(tree, application)
    config, places = application.config, application.places
    common: dict[str, Any] = {}
    for key, setting in (("time_limit", "task_time_limit"), ("soft_time_limit", "task_soft_time_limit")):
        limit = config.get(setting)
        limit = limit.default if isinstance(limit, Read) else limit
        if isinstance(limit, int | float) and not isinstance(limit, bool) and limit:
            common[key] = limit
    pool = config.get("worker_pool")
    if isinstance(pool, str) and pool in POOLS and pool != "prefork":
        common["pool"] = pool
        common = {key: one for key, one in common.items() if pool == "gevent" or key == "pool"}
    if isinstance(concurrency := config.get("worker_concurrency"), int):
        common["concurrency"] = concurrency
    entries, taken = [], set()
    for process in processes:
        if process.celery != "worker":
            continue
        own = {key: one for key, one in process.worker.items() if one}
        mine = own.pop("queues", None) or [queue for queue in queues if not _named(processes, queue)]
        worker = {"name": process.name, "queues": mine, **common, **own}
        if worker.get("pool") in ("threads", "solo"):
            worker.pop("time_limit", None), worker.pop("soft_time_limit", None)
        entries.append(Value("", worker, process.where))
        taken |= set(mine)
    if rest := [queue for queue in queues if queue not in taken]:
        name = "default" if not any(entry.value["name"] == "default" for entry in entries) else "others"
        named = ", ".join(dict.fromkeys(queues[queue] for queue in rest if queues[queue]))
        why = f"one worker for {'them all' if not taken else 'the rest'}; split it by how long tasks take ({named})"
        entries.append(guess("", {"name": name, "queues": rest, **common}, why))
    values = [Value("celery_workers", [], "", entries=entries)]
    if by_code := routers(application):
        values[0].optional.append(
            f"Routes are worked out by code, which was not run ({by_code}): add the queues that it names."
        )
    if "time_limit" not in common and not any("time_limit" in (entry.value or {}) for entry in entries):
        values[0].optional.append(
            "A task is told to end after 300 s and ended after 360 s (celery_worker_defaults): time_limit beside a worker says otherwise."
        )
    options = config.get("broker_transport_options")
    timeout = options.get("visibility_timeout") if isinstance(options, Mapping) else None
    if isinstance(timeout, int):
        values.append(found("celery_visibility_timeout", timeout, places.get("broker_transport_options", "")))
    return values


def _named(processes: list[Process], queue: str) -> bool:
    return any(queue in process.worker.get("queues", []) for process in processes)


def beat_values(application: Application, processes: list[Process], packages: set[str]) -> tuple[list[Value], str]:
    """Beat's scheduler, and why no host runs Beat; empty where one does."""
    config, places = application.config, application.places
    scheduler = next((process.scheduler for process in processes if process.scheduler), "")
    if scheduler:
        where = next(process.where for process in processes if process.scheduler)
        return [found("celery_beat_scheduler", scheduler, where)], ""
    if isinstance(said := config.get("beat_scheduler"), str):
        return [found("celery_beat_scheduler", said, places.get("beat_scheduler", ""))], ""
    if "django-celery-beat" in packages:
        return [
            guess(
                "celery_beat_scheduler",
                "django_celery_beat.schedulers:DatabaseScheduler",
                "the package django-celery-beat is there",
            )
        ], ""
    runs = next((process.where for process in processes if process.celery == "beat" or process.worker.get("beat")), "")
    if "beat_schedule" in config or runs:
        where = places.get("beat_schedule") or runs
        return [found("celery_beat_scheduler", "celery.beat:PersistentScheduler", f"{where}; Celery's own")], ""
    return [], "guess: the project has no schedule, so nobody runs Beat."


def routers(application: Application) -> str:
    """Where routes are worked out by code, which is not run; empty without one."""
    routes = application.config.get("task_routes")
    several = routes if isinstance(routes, list | tuple) else [routes]
    is_code = any(one is UNKNOWN or isinstance(one, str | Made) for one in several if one is not None) and not list(
        _routed(routes)
    )
    return application.places.get("task_routes", "") if is_code else ""
