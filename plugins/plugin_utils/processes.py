"""What an application runs, as definitions for process_manager: web server, workers, Beat, Flower, processes of its own.

Each function takes a role's arguments by their full names, as `arguments.collect` gives them. A definition has the keys of
`process_manager_definitions` (roles/process_manager/meta/argument_specs.yml) that differ from the defaults there.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import ROLES
from ansible_collections.stockpot.stack.plugins.plugin_utils.placed import file_paths, shared_folders
from ansible_collections.stockpot.stack.plugins.plugin_utils.units import environment_files, place
from packaging.version import Version

# Without any time limit a task gets this long to end when its worker is stopped; seconds.
STOP_TIMEOUT = 600
# Above a task's own limit, so that the limit and not the stop ends it; seconds.
STOP_MARGIN = 30
# How Beat is made to answer pings, and the first Celery that knows it.
ANSWERS = "--enable-remote-control"
BEAT_REMOTE_CONTROL = Version("5.7.0rc1")
# What looks at workers and Beat, as the role celery installs it.
LOOKING = "/usr/local/lib/stockpot/celery"
# The watch's times beside its patience, in seconds: from one look to the next, for an answer, for a worker that starts, for one that
# lost its broker (Celery tries again after 30 at most), for one that is deaf again and again, and for a look, which then hangs.
WATCH_TIMES = {
    "interval": 10,
    "answer": 3,
    "start_patience": 120,
    "reconnect": 35,
    "longest_patience": 600,
    "longest_look": 60,
}
# What a pool takes no notice of, or does not start with (Celery 5.7, celery/concurrency).
_PROCESSES_ONLY = ("max_tasks_per_child", "max_memory_per_child", "soft_time_limit")
NO_USE_IN_POOL = {
    "prefork": (),
    "threads": (*_PROCESSES_ONLY, "time_limit", "autoscale"),
    "solo": (*_PROCESSES_ONLY, "time_limit", "autoscale", "concurrency"),
    "gevent": _PROCESSES_ONLY,
}


def django_app(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The web server where the host serves the site, and the project's own processes.

    Args:
        given: the arguments of django_app, `django_app_release_path`, and `inventory_hostname`, which is looked up in a process's `hosts`.
    """
    name, release = given["django_app_name"], given["django_app_release_path"]
    programs = f"{release}/venv/bin"
    common = {
        "user": name,
        "directory": f"{release}/source",
        "environment_files": [f"/etc/{name}/environment"],
        "state_directory": name,
        "writable_paths": _writable_paths(given),
        "read_paths": file_paths([*given["django_app_files"], *given["django_app_deployment_files"]], name),
    }
    definitions = []
    if given["django_app_web"]:
        definitions.append(
            _definition(
                **common,
                name="web",
                phase="web",
                **(_web_command(given) if given["django_app_web_command"] else _gunicorn(given)),
                environment=given["django_app_web_environment"],
                # What it gives its requests, and a little to end in.
                stop_timeout=given["django_app_web_timeout"] + 10,
                **_limits(given, "django_app_web_"),
                socket=given["django_app_bind"],
                socket_group=given["django_app_socket_group"],
            )
        )
    host = given["inventory_hostname"]
    for extra in given["django_app_processes_extra"] if given["django_app_run"] else []:
        if host not in extra.get("hosts", [host]):
            continue
        without_hosts = {key: value for key, value in extra.items() if key != "hosts"}
        own = {"phase": "workers", "description": f"Process of {name}", "stop_timeout": 60, **without_hosts}
        definitions.append(_definition(**common | own | {"command": _in(programs, extra["command"])}))
    return definitions


def _gunicorn(given: Mapping[str, Any]) -> dict[str, Any]:
    """gunicorn, which takes systemd's socket by itself and tells when it is up."""
    name, bind, timeout = given["django_app_name"], given["django_app_bind"], given["django_app_web_timeout"]
    asgi, on_socket = given["django_app_asgi"], bind.startswith("/")
    # Whoever may connect to the socket file is the proxy. gunicorn takes it for one by itself, and uvicorn trusts nobody without an address.
    trusted = "*" if asgi and on_socket else ",".join(given["django_app_trusted_proxies"])
    configuration = f"/etc/{name}/gunicorn.conf.py"
    # One file holds both. Each connection reads it, and an ASGI worker when it starts.
    certificate = given["django_app_web_certificate"] if given["django_app_web_tls"] and not on_socket else ""
    return {
        "description": f"gunicorn of {name}",
        "command": [
            f"{given['django_app_release_path']}/venv/bin/gunicorn",
            f"--config={configuration}",
            f"--bind={'unix:' if on_socket else ''}{bind}",
            *([f"--certfile={certificate}", f"--keyfile={certificate}"] if certificate else []),
            f"--workers={given['django_app_web_workers']}",
            *([] if asgi else [f"--threads={given['django_app_web_threads']}"]),
            f"--timeout={timeout}",
            f"--graceful-timeout={timeout}",
            f"--max-requests={given['django_app_web_max_requests']}",
            f"--forwarded-allow-ips={trusted}",
            asgi or given["django_app_wsgi"],
        ],
        "configuration_files": [configuration],
        "type": "notify",
    }


def _web_command(given: Mapping[str, Any]) -> dict[str, Any]:
    """Another server: until it accepts connections, they wait in the socket."""
    return {
        "description": f"Web server of {given['django_app_name']}",
        "command": _in(f"{given['django_app_release_path']}/venv/bin", given["django_app_web_command"]),
    }


def _in(programs: str, command: Sequence[str]) -> list[str]:
    """A command whose program is looked up in a folder, unless it is an absolute path."""
    return [posixpath.join(programs, *command[:1]), *command[1:]]


def _writable_paths(given: Mapping[str, Any]) -> list[str]:
    shared = shared_folders(given["django_app_shared_paths"], given["django_app_name"])
    return list(dict.fromkeys(path for path in [given["django_app_media_root"], *shared] if path))


def celery(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """This host's workers, Beat where it runs here, and the watch over them.

    Args:
        given: the arguments of celery, and `inventory_hostname`, which is looked up in a worker's `hosts`.
    """
    release = given["celery_release_path"]
    common = {
        "user": given["celery_user"],
        "directory": f"{release}/source",
        "environment_files": [given["celery_environment_file"]],
        "writable_paths": list(given["celery_writable_paths"]),
        "read_paths": list(given["celery_read_paths"]),
        "state_directory": given["celery_state_directory"],
    }
    # `python -m` puts the project's folder on the module path for any project, where the `celery` program does it for Django alone.
    program = [f"{release}/venv/bin/python", "-m", "celery", "-A", given["celery_app"]]
    definitions = [
        _definition(
            **common,
            name=f"worker-{worker['name']}",
            phase="workers",
            description=f"{given['celery_application']}: Celery worker {worker['name']} ({', '.join(worker['queues'])})",
            command=[*program, "worker", *_worker_options(worker)],
            environment={**given["celery_environment"], **worker.get("environment", {})},
            # SIGTERM is a warm shutdown: no more work is taken, what runs ends; SIGQUIT gives back what is not acknowledged.
            stop_timeout=stop_timeout(worker),
            quit_signal="SIGQUIT",
            **_limits(worker),
        )
        for worker in instances(complete_workers(given))
        if given["celery_run_workers"]
        and given["inventory_hostname"] in worker.get("hosts", [given["inventory_hostname"]])
    ]
    if given["celery_beat"]:
        scheduler, state = given["celery_beat_scheduler"], given["celery_state_directory"]
        answers = [ANSWERS, "--hostname", "celerybeat@%h"]
        definitions.append(
            _definition(
                **common,
                name="beat",
                phase="scheduler",
                description=f"{given['celery_application']}: Celery Beat",
                command=[
                    *program,
                    "beat",
                    *(["--scheduler", scheduler] if scheduler else []),
                    *(answers if given["celery_beat_remote_control"] and knows_beat_remote_control(given) else []),
                    # Celery's own scheduler keeps a file, and may not write beside the source; the others do not look at it.
                    *(["--schedule", f"/var/lib/{state}/celerybeat-schedule"] if state else []),
                    # systemd runs one; a pidfile that outlives a power cut would stop Beat from starting.
                    "--pidfile=",
                    *("--loglevel", given["celery_beat_loglevel"]),
                ],
                environment={**given["celery_environment"], **given["celery_beat_environment"]},
                stop_timeout=30,
                **_limits(given, "celery_beat_"),
            )
        )
    if definitions and given["celery_watch"]:
        definitions.append(_watch(given, common, definitions))
    return definitions


def _watch(given: Mapping[str, Any], common: Mapping[str, Any], watched: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The watch, which has the environment of what it looks at first."""
    application, metrics = given["celery_application"], given["celery_watch_metrics_file"]
    backend = given["celery_process_manager"]
    look = celery_canary(
        watched, given["celery_workers"], given["celery_worker_defaults"], application, backend=backend
    )
    config = {
        **{key: look[key] for key in ("workers", "beat_unit", "beat_remote_control")},
        **WATCH_TIMES,
        "app": given["celery_app"],
        "application": application,
        "patience": given["celery_watch_patience"],
        "metrics_file": metrics,
    }
    folder, state = posixpath.dirname(metrics), f"/var/lib/{given['celery_state_directory']}"
    return _definition(
        **common | {"writable_paths": [folder] if metrics and folder != state else []},
        name="watch",
        phase="workers",
        description=f"{application}: watch over Celery's workers and Beat",
        command=[
            f"{given['celery_release_path']}/venv/bin/python",
            f"{LOOKING}/watch.py",
            json.dumps(config, sort_keys=True),
        ],
        configuration_files=[f"{LOOKING}/{name}" for name in ("stockpot_beats.py", "stockpot_units.py", "watch.py")],
        environment=watched[0].get("environment", {}),
        stop_timeout=10,
        memory_max=given["celery_watch_memory_max"],
    )


def knows_beat_remote_control(given: Mapping[str, Any]) -> bool:
    """Whether the Celery that is installed, as far as that is known, can let Beat answer; the others refuse the option."""
    version = given["celery_version"]
    return bool(version) and Version(version) >= BEAT_REMOTE_CONTROL


def celery_nodes(
    workers: Iterable[Mapping[str, Any]], worker_defaults: Mapping[str, Any], hosts: Mapping[str, str]
) -> list[str]:
    """The names by which a fleet's workers are known to Celery, sorted.

    Args:
        workers: `celery_workers`.
        worker_defaults: `celery_worker_defaults`.
        hosts: what each host that runs workers calls itself, by its name in the inventory.
    """
    complete = complete_workers({"celery_workers": workers, "celery_worker_defaults": worker_defaults})
    return sorted(
        f"{worker['name']}@{nodename}"
        for worker in instances(complete)
        for host, nodename in hosts.items()
        if host in worker.get("hosts", [host])
    )


def complete_workers(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All workers of the fleet, each with those of `celery_worker_defaults` that it does not replace.

    A worker's own concurrency replaces a default autoscale, and the other way round. Defaults that its pool has no use for are left out.
    """
    workers = []
    for own in given["celery_workers"]:
        worker = {**given["celery_worker_defaults"], **own}
        no_use = set(NO_USE_IN_POOL[pool_of(worker)])
        no_use |= {other for key, other in (("concurrency", "autoscale"), ("autoscale", "concurrency")) if key in own}
        workers.append({key: value for key, value in worker.items() if key in own or key not in no_use})
    return workers


def instances(workers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Workers as they run: one with several `instances` is as many, each with its number after the name."""
    running = []
    for worker in workers:
        count, name = worker.get("instances", 1), worker["name"]
        names = [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]
        running += [{**worker, "name": one} for one in names]
    return running


def messages_ahead(worker: Mapping[str, Any]) -> int:
    """How many messages one of a worker's processes may be handed by RabbitMQ at once: so many of each queue."""
    return max(worker.get("prefetch_multiplier", 1), 1) * len(worker["queues"])


def pool_of(worker: Mapping[str, Any]) -> str:
    """How a worker runs its tasks side by side."""
    return worker.get("pool", "prefork")


def stop_timeout(worker: Mapping[str, Any]) -> int:
    """Seconds that a complete worker's tasks have when it is stopped."""
    limit = max(worker.get("time_limit", 0), worker.get("soft_time_limit", 0))
    return worker.get("stop_timeout", int(limit) + STOP_MARGIN if limit else STOP_TIMEOUT)


def _worker_options(worker: Mapping[str, Any]) -> list[str]:
    options = [
        *("--hostname", f"{worker['name']}@%h"),
        *("--queues", ",".join(worker["queues"])),
        *("--pool", pool_of(worker)),
        *("--prefetch-multiplier", str(worker.get("prefetch_multiplier", 1))),
        # A task goes to a process that is free, never behind a long one.
        *("-O", "fair"),
        # Workers need nothing from each other; without these two they start sooner and chat less. Heartbeats stay: Flower shows
        # by them who is alive.
        *("--without-mingle", "--without-gossip"),
        *("--loglevel", worker.get("loglevel", "INFO")),
    ]
    if "autoscale" in worker:
        options += ["--autoscale", ",".join(map(str, worker["autoscale"]))]
    for key in ("concurrency", "max_tasks_per_child", "max_memory_per_child", "time_limit", "soft_time_limit"):
        if key in worker:
            value = worker[key]
            # 1800.0 seconds are written as 1800.
            options += [f"--{key.replace('_', '-')}", str(int(value) if value == int(value) else value)]
    return [*options, *worker.get("options", [])]


def flower(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Flower.

    Its folder is named by what is in it: another lock, configuration or Python is installed beside the running one, and the unit
    changes with it.

    Args:
        given: the arguments of flower, and `ansible_facts` with the host's Python.
    """
    application = given["flower_application"]
    content = b"".join((ROLES / "flower/files" / name).read_bytes() for name in ("requirements.txt", "celeryconfig.py"))
    python = given["ansible_facts"]["python"]["version"]
    named = hashlib.sha256(content + f"{python['major']}.{python['minor']}".encode())
    folder = f"/opt/flower/{named.hexdigest()[:12]}"
    return [
        _definition(
            name="flower",
            phase="web",
            description=f"{application}: Flower",
            command=[f"{folder}/venv/bin/python", "-m", "celery", "--config=celeryconfig", "flower"],
            user=given["flower_user"],
            directory=folder,
            environment_files=[f"/etc/{application}/flower.environment"],
            environment=given["flower_environment"],
            stop_timeout=30,
            **_limits(given, "flower_"),
            state_directory=f"{application}-flower",
        )
    ]


def celery_canary(
    definitions: Iterable[Mapping[str, Any]],
    workers: Iterable[Mapping[str, Any]],
    worker_defaults: Mapping[str, Any],
    application: str,
    only: Sequence[str] | None = None,
    backend: str = "systemd",
) -> dict[str, Any]:
    """What the canary has to find on this host.

    Args:
        definitions: what `celery` returns.
        workers: `celery_workers`.
        worker_defaults: `celery_worker_defaults`.
        application: `celery_application`.
        only: names of workers, where nothing but them is looked at; none for all.
        backend: `celery_process_manager`.

    Returns:
        `workers` with name, unit, queues, pool and stop_timeout of each, `beat_unit`, which is empty where Beat does not run, `beat_remote_control`,
        whether it answers, `routes`, whether the queues that the app sends to are looked at, and `environment_files`, those of the host's first
        worker or of its Beat: the canary reads what they read.
    """
    definitions = list(definitions)
    complete = complete_workers({"celery_workers": workers, "celery_worker_defaults": worker_defaults})
    units = {definition["name"]: place(definition, application, backend) for definition in definitions}
    return {
        "workers": [
            {
                "name": worker["name"],
                "unit": units[f"worker-{worker['name']}"],
                "queues": worker["queues"],
                "pool": pool_of(worker),
                "stop_timeout": stop_timeout(worker),
            }
            for worker in instances(complete)
            if f"worker-{worker['name']}" in units and (not only or worker["name"] in only)
        ],
        "routes": not only,
        "beat_unit": units.get("beat", "") if not only else "",
        "beat_remote_control": any(ANSWERS in definition["command"] for definition in definitions),
        "environment_files": environment_files(definitions[0], application) if definitions else [],
    }


def _definition(**keys: Any) -> dict[str, Any]:
    """A definition without the keys that say nothing."""
    return {key: value for key, value in keys.items() if value not in ("", [], {}) and (key, value) != ("nice", 0)}


def _limits(given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What a process may take; the names of what is given begin with the prefix."""
    none = {"memory_max": "", "cpu_max": "", "nice": 0}
    return {name: given.get(f"{prefix}{name}", default) for name, default in none.items()}
