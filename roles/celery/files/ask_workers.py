"""Asks this host's workers what they do, and tells those that are drained to take no more.

Runs with the release's Python, as the application's user, in the project's folder. Its one argument is JSON: app, workers (their names),
cancel (the names of those that are to take nothing more from their queues). Prints JSON: by name, of those that answer, `tasks` (id, name,
seconds since it began, whether its message is acknowledged already), `waiting` (messages taken ahead), `scheduled` (tasks with a time of
their own) and the `queues` that it consumes, once it was told.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import time
from typing import Any

# How long workers have to answer; those that all did end the wait.
ANSWER_SECONDS = 3.0


def ask(control: Any, nodes: dict[str, str], cancel: list[str]) -> dict[str, dict[str, Any]]:
    """What each worker says.

    Args:
        control: the app's.
        nodes: the workers' names, by node.
        cancel: the names of those that are to take no more.
    """
    found = consumed(control, list(nodes))
    if told := [node for node in found if nodes[node] in cancel]:
        for node in told:
            for queue in found[node]:
                control.cancel_consumer(queue, destination=[node], reply=True, timeout=ANSWER_SECONDS)
        # An answer to that, or none, is no proof.
        found = {**{node: queues for node, queues in found.items() if node not in told}, **consumed(control, told)}
    if not found:
        return {}
    inspect = control.inspect(destination=list(found), timeout=ANSWER_SECONDS)
    active, reserved, scheduled = (
        question() or {} for question in (inspect.active, inspect.reserved, inspect.scheduled)
    )
    return {
        nodes[node]: {
            "tasks": [task(one) for one in active[node]],
            "waiting": len(reserved.get(node, [])),
            "scheduled": len(scheduled.get(node, [])),
            "queues": queues,
        }
        for node, queues in found.items()
        if node in active
    }


def consumed(control: Any, nodes: list[str]) -> dict[str, list[str]]:
    """The names of the queues that each node consumes, of those that answer."""
    answers = control.inspect(destination=nodes, timeout=ANSWER_SECONDS).active_queues() or {}
    return {node: [queue["name"] for queue in queues] for node, queues in answers.items()}


def task(found: dict[str, Any]) -> dict[str, Any]:
    """A running task, without its arguments, which may be secret."""
    began = found.get("time_start") or time.time()
    return {
        "id": found["id"],
        "name": found["name"],
        "seconds": max(0, round(time.time() - began)),
        "acknowledged": bool(found.get("acknowledged")),
    }


def main() -> None:
    """Print what they say; exit status 1 with a sentence when nobody could be asked."""
    config = json.loads(sys.argv[1])
    sys.path.insert(0, "")
    # What the app itself prints may hold anything, so it is not passed on.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            from celery.app.utils import find_app
            from celery.utils.nodenames import host_format

            app = find_app(config["app"])
            app.loader.import_default_modules()
            nodes = {host_format(f"{name}@%h"): name for name in config["workers"]}
            answer = ask(app.control, nodes, config["cancel"])
        except Exception as error:
            problem = re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1********@", f"{type(error).__name__}: {error}")
        else:
            problem = ""
    print(problem or json.dumps(answer))
    sys.exit(1 if problem else 0)


if __name__ == "__main__":
    main()
