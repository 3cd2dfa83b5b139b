"""Asks this host's workers what they do, and tells those that are drained to take no more.

Runs with the release's Python, as the application's user, in the project's folder. Its one argument is JSON: app, workers (their names),
cancel (whether they are to take nothing more from their queues). Prints JSON: by name, of those that answer, `tasks` (id, name, seconds
since it began, whether its message is acknowledged already), `waiting` (messages taken ahead), `scheduled` (tasks with a time of their own)
and `queues`.
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


def ask(app: Any, names: list[str], *, cancel: bool) -> dict[str, dict[str, Any]]:
    """What each worker says."""
    from celery.utils.nodenames import host_format

    nodes = {host_format(f"{name}@%h"): name for name in names}
    control = app.control
    inspect = control.inspect(destination=list(nodes), timeout=ANSWER_SECONDS)
    consumed = {node: [queue["name"] for queue in queues] for node, queues in (inspect.active_queues() or {}).items()}
    if cancel:
        for node, queues in consumed.items():
            for queue in queues:
                control.cancel_consumer(queue, destination=[node], reply=True, timeout=ANSWER_SECONDS)
        consumed = {node: [] for node in consumed}
    if not consumed:
        return {}
    inspect = control.inspect(destination=list(consumed), timeout=ANSWER_SECONDS)
    active, reserved, scheduled = (
        question() or {} for question in (inspect.active, inspect.reserved, inspect.scheduled)
    )
    return {
        nodes[node]: {
            "tasks": [task(found) for found in active[node]],
            "waiting": len(reserved.get(node, [])),
            "scheduled": len(scheduled.get(node, [])),
            "queues": queues,
        }
        for node, queues in consumed.items()
        if node in active
    }


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

            app = find_app(config["app"])
            app.loader.import_default_modules()
            answer = ask(app, config["workers"], cancel=config["cancel"])
        except Exception as error:
            problem = re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1********@", f"{type(error).__name__}: {error}")
        else:
            problem = ""
    print(problem or json.dumps(answer))
    sys.exit(1 if problem else 0)


if __name__ == "__main__":
    main()
