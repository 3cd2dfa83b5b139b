"""What an app says of itself: the queues that it sends tasks to, its tasks' limits, and how long its broker waits for them.

As a program it runs with the release's Python, as the application's user, in the project's folder, before the release takes effect. Its one
argument is JSON: app. Prints JSON, or a sentence and exit status 1 when the app cannot be loaded.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import ssl
import sys
from typing import Any


def routed(app: Any) -> dict[str, str]:
    """The queues that the app sends tasks to, each with how that is known."""
    queues = {app.conf.task_default_queue: "the app's task_default_queue"}
    for name in own_tasks(app):
        queues.setdefault(queue_of(app, name), f"the task {name} goes there")
    routes = app.conf.task_routes or {}
    for table in routes if isinstance(routes, (list, tuple)) else [routes]:
        for pattern, route in pairs(table):
            queue = route.get("queue") if isinstance(route, dict) else route
            if queue:
                said = getattr(pattern, "pattern", pattern)
                queues.setdefault(getattr(queue, "name", queue), f"task_routes sends {said} there")
    return queues


def pairs(table: Any) -> list[Any]:
    """Patterns of names with their routes, of one element of task_routes; a function has none that could be listed."""
    if isinstance(table, dict):
        return list(table.items())
    if not isinstance(table, (list, tuple)):
        return []
    return [table] if table and not isinstance(table[0], (list, tuple)) else list(table)


def own_tasks(app: Any) -> list[str]:
    """The names of the tasks that are not Celery's own."""
    return sorted(name for name in app.tasks if not name.startswith("celery."))


def queue_of(app: Any, name: str) -> str:
    """The queue that a task goes to where its call names none."""
    task = app.tasks[name]
    route = app.amqp.router.route(dict(task._get_exec_options()), name, task_type=task)
    queue = route.get("queue") or app.conf.task_default_queue
    return getattr(queue, "name", queue)


def facts(app: Any) -> dict[str, Any]:
    """What `contracts` is given."""
    import celery

    options = app.conf.broker_transport_options or {}
    queues = routed(app)
    connection = app.connection_for_write()
    transport = connection.transport
    # That of RabbitMQ has none before it is connected.
    of_transport = getattr(transport, "Channel", None)
    return {
        "queues": queues,
        "tasks": [
            {
                "name": name,
                "queue": queue_of(app, name),
                "time_limit": app.tasks[name].time_limit,
                "soft_time_limit": app.tasks[name].soft_time_limit,
                "acks_late": bool(app.tasks[name].acks_late),
                "priority": app.tasks[name].priority,
            }
            for name in own_tasks(app)
        ],
        "time_limit": app.conf.task_time_limit,
        "soft_time_limit": app.conf.task_soft_time_limit,
        "broker": transport.driver_type,
        "broker_is_known": is_known(connection),
        "visibility_timeout": options.get("visibility_timeout", getattr(of_transport, "visibility_timeout", None)),
        "retry_on_timeout": bool(options.get("retry_on_timeout")),
        "celery": celery.__version__,
        "quorum_queues": sorted(name for name in queues if arguments_of(app, name).get("x-queue-type") == "quorum"),
        "priority_queues": sorted(name for name in queues if arguments_of(app, name).get("x-max-priority")),
        "detects_quorum_queues": bool(getattr(app.conf, "worker_detect_quorum_queues", False)),
    }


def is_known(connection: Any) -> bool:
    """Whether a broker that is reached by amqps has to show a certificate of its own; any would do otherwise."""
    given = connection.ssl
    if not given or connection.transport.driver_type != "amqp":
        return True
    return isinstance(given, dict) and given.get("cert_reqs") == ssl.CERT_REQUIRED and "server_hostname" in given


def arguments_of(app: Any, queue: str) -> dict[str, Any]:
    """What the app declares a queue with, as RabbitMQ is told."""
    return app.amqp.queues[queue].queue_arguments or {}


def main() -> None:
    """Print it."""
    name = json.loads(sys.argv[1])["app"]
    sys.path.insert(0, "")
    # What the app itself prints may hold anything, so it is not passed on.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            from celery.app.utils import find_app

            app = find_app(name)
            # As a worker does: it loads the tasks.
            app.loader.import_default_modules()
            said = json.dumps(facts(app))
        except (Exception, SystemExit) as error:
            problem = re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1********@", f"{type(error).__name__}: {error}")
        else:
            problem = ""
    print(problem or said)
    sys.exit(1 if problem else 0)


if __name__ == "__main__":
    main()
