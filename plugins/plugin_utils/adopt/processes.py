"""What a Procfile, or the services of a Compose file, run."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from .findings import Value, found, guess
from .tree import Tree

COMPOSE = (
    "docker-compose.prod.yml",
    "docker-compose.production.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "compose.yml",
    "compose.yaml",
)
# What runs a command in its environment.
WRAPPERS = ({"poetry", "run"}, {"uv", "run"}, {"pipenv", "run"}, {"pdm", "run"}, {"hatch", "run"})
SERVERS = ("gunicorn", "uvicorn", "daphne", "hypercorn", "uwsgi", "granian", "waitress-serve")
OPTIONS = {
    "-A": "app",
    "--app": "app",
    "-Q": "queues",
    "--queues": "queues",
    "-c": "concurrency",
    "--concurrency": "concurrency",
    "-P": "pool",
    "--pool": "pool",
    "-S": "scheduler",
    "--scheduler": "scheduler",
    "-n": "",
    "--hostname": "",
    "-l": "",
    "--loglevel": "",
    "--max-tasks-per-child": "max_tasks_per_child",
    "--max-memory-per-child": "max_memory_per_child",
    "--time-limit": "time_limit",
    "--soft-time-limit": "soft_time_limit",
    "--prefetch-multiplier": "prefetch_multiplier",
    "--autoscale": "autoscale",
    "-f": "",
    "--logfile": "",
    "-O": "",
    "--pidfile": "",
    "-s": "",
    "--schedule": "",
    "--workdir": "",
    "-b": "",
    "--broker": "",
}
GUNICORN = {
    "-w": "django_app_web_workers",
    "--workers": "django_app_web_workers",
    "--threads": "django_app_web_threads",
    "-t": "django_app_web_timeout",
    "--timeout": "django_app_web_timeout",
}


@dataclass
class Process:
    """A process that a file names.

    Attributes:
        name: its own.
        where: `file:line`.
        words: the command, without what wraps it.
        celery: `worker`, `beat` or `flower`; empty for another program.
        application: what `-A` was given.
        worker: keys of a worker of `celery_workers`, and `beat` for one that schedules too.
        scheduler: Beat's.
    """

    name: str
    where: str
    words: list[str]
    celery: str = ""
    application: str = ""
    worker: dict[str, Any] = field(default_factory=dict)
    scheduler: str = ""


def processes_of(tree: Tree) -> list[Process]:
    """The processes of the Procfile; without one, those that run Celery in a Compose file."""
    for name in (posixpath.join(tree.top, "Procfile"), "Procfile"):
        if name in tree.files:
            return [process for process in _procfile(tree, name)]
    for name in COMPOSE:
        if name in tree.files:
            return [process for process in _compose(tree, name) if process.celery in ("worker", "beat")]
    return []


def _procfile(tree: Tree, name: str) -> Iterator[Process]:
    for number, line in enumerate(tree.text(name).splitlines(), 1):
        kind, colon, command = line.partition(":")
        if colon and re.fullmatch(r"[A-Za-z0-9_-]+", kind.strip()):
            for words in commands_in(command):
                yield understood(kind.strip(), f"{name}:{number}", words)


def _compose(tree: Tree, name: str) -> Iterator[Process]:
    try:
        services = yaml.safe_load(tree.text(name))["services"].items()
    except (yaml.YAMLError, TypeError, KeyError, AttributeError):
        return
    for service, said in services:
        command = said.get("command") if isinstance(said, dict) else None
        command = shlex.join(map(str, command)) if isinstance(command, list) else command
        for words in commands_in(command) if isinstance(command, str) else ():
            yield understood(str(service), f"{name}: {service}", words)


def commands_in(line: str) -> list[list[str]]:
    """The commands of a line of shell, as words; a change of folder is left out, as manage.py's is where commands run."""
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return []
    found: list[list[str]] = [[]]
    for word in words:
        if re.fullmatch(r"[&|;]+", word):
            found.append([])
        else:
            found[-1].append(word)
    commands = [unwrapped(one) for one in found]
    return [one for one in commands if one and one[0] not in ("cd", "set", "export", "echo")]


def unwrapped(words: list[str]) -> list[str]:
    """A command without variables before it and without what runs it in an environment."""
    while words and (
        re.fullmatch(r"[A-Z_][A-Z0-9_]*=.*", words[0]) or words[0] in ("exec", "env", "newrelic-admin", "run-program")
    ):
        words = words[1:]
    if set(words[:2]) in WRAPPERS:
        words = words[2:]
    if (
        words[:3]
        and re.fullmatch(r"python[0-9.]*", words[0])
        and words[1:2] == ["-m"]
        and words[2:3] in (["celery"], ["gunicorn"])
    ):
        words = words[2:]
    if words[:2] and words[0] in ("sh", "bash") and words[1] in ("-c", "-lc") and len(words) > 2:
        return next(iter(commands_in(words[2])), [])
    return words


def understood(name: str, where: str, words: list[str]) -> Process:
    """A command, with what it says of Celery."""
    process = Process(name, where, words)
    if posixpath.basename(words[0]) != "celery":
        return process
    options: dict[str, str] = {}
    rest = iter(words[1:])
    for word in rest:
        if word in ("worker", "beat", "flower") and not process.celery:
            process.celery = word
        elif word in ("-B", "--beat"):
            process.worker["beat"] = True
        elif (option := word.partition("=")[0]) in OPTIONS:
            options[OPTIONS[option]] = word.partition("=")[2] if "=" in word else next(rest, "")
        elif (short := word[:2]) in OPTIONS and not word.startswith("--") and len(word) > 2:
            options[OPTIONS[short]] = word[2:]
    process.application = options.get("app", "")
    process.scheduler = options.get("scheduler", "")
    if not re.fullmatch(r"[\w.:]*", process.application):
        process.application = ""
    queues = [queue for queue in options.get("queues", "").split(",") if queue]
    process.worker |= {"queues": queues} if queues else {}
    if options.get("pool") in ("prefork", "threads", "solo", "gevent"):
        process.worker["pool"] = options["pool"]
    for key in (
        "concurrency",
        "max_tasks_per_child",
        "max_memory_per_child",
        "time_limit",
        "soft_time_limit",
        "prefetch_multiplier",
    ):
        if options.get(key, "").isdigit():
            process.worker[key] = int(options[key])
    if re.fullmatch(r"\d+,\d+", options.get("autoscale", "")):
        process.worker["autoscale"] = [int(number) for number in options["autoscale"].split(",")]
    return process


def web_values(tree: Tree, processes: list[Process], *, is_asgi: bool) -> list[Value]:
    """gunicorn's numbers and its file, as the web process has them."""
    values = []
    config = posixpath.join(tree.top, "gunicorn.conf.py")
    if config in tree.files:
        values.append(
            guess("django_app_gunicorn_config", "gunicorn.conf.py", f"{config} is there; gunicorn reads it by itself")
        )
    for process in processes:
        if posixpath.basename(process.words[0]) != "gunicorn":
            continue
        rest = iter(process.words[1:])
        for word in rest:
            option, equals, given = word.partition("=")
            if option in GUNICORN:
                given = given if equals else next(rest, "")
                if given.isdigit() and int(given) and not (is_asgi and option == "--threads"):
                    values.append(found(GUNICORN[option], int(given), process.where))
        break
    return values


def command_values(tree: Tree, processes: list[Process]) -> list[Value]:
    """Commands of a release, and processes beside web server, workers and Beat."""
    release: list[Value] = []
    extra: list[Value] = []
    for process in processes:
        program = posixpath.basename(process.words[0])
        if process.celery or program in SERVERS:
            continue
        managed = managed_by(process.words)
        if process.name == "release":
            if managed and managed[0] not in ("migrate", "collectstatic", "check"):
                release.append(Value("", [word for word in managed if word != "--noinput"], process.where))
            elif not managed:
                release.append(
                    Value(
                        "",
                        f"FILL_IN the manage.py commands that {process.where} runs: {shlex.join(process.words)}",
                        process.where,
                        "open",
                    )
                )
        elif not managed or managed[0] != "runserver":
            name = re.sub(r"[^A-Za-z0-9_-]", "-", process.name)
            extra.append(
                Value(
                    "",
                    {"name": name, "command": process.words, "memory_max": "256M"},
                    f"guess: {process.where}",
                    "guess",
                )
            )
    values = []
    if release:
        values.append(Value("django_app_release_commands", [], "", entries=release))
    if extra:
        values.append(Value("django_app_processes_extra", [], "", entries=extra))
    return values


def managed_by(words: list[str]) -> list[str]:
    """A manage.py command of this command, without what runs it; empty for another program."""
    for index, word in enumerate(words[:3]):
        if posixpath.basename(word) in ("manage.py", "django-admin"):
            return words[index + 1 :]
    return []
