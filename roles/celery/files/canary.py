"""Looks at an application's workers and Beat from inside its own environment, and sends a task through every queue.

Runs with the release's Python, as the application's user, in the project's folder, from which the app is loaded. Its one argument is JSON:
app, workers (name, unit, queues, pool), beat_unit, beat_remote_control, routes, routed_queues, foreign_queues,
timeout (seconds).
Prints sentences, those about what is wrong first and with the fix; then the exit status is 1.
Needs nothing from the application: celery.accumulate is built into every Celery app.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import traceback
import uuid
from pathlib import Path
from typing import Any

import stockpot_app
import stockpot_units as units

POLL_SECONDS = 0.3
# Built into every Celery app.
TASK = "celery.accumulate"
# How long nodes that are not named have to answer; those that are named end the wait when the last one did.
BROADCAST_SECONDS = 1.0
# So many starts in vain while it is looked at are no start that takes its time.
RESTARTS = 2


class Canary:
    """One look at everything, with one deadline."""

    def __init__(self, app: Any, config: dict[str, Any]) -> None:
        from celery.utils.nodenames import host_format

        self.app = app
        self.config = config
        self.workers = {host_format(f"{worker['name']}@%h"): worker for worker in config["workers"]}
        self.deadline = time.monotonic() + config["timeout"]
        self.problems: list[str] = []
        self.notes: list[str] = []

    def remaining(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.deadline - time.monotonic())

    def run(self) -> None:
        """Everything; what is wrong ends up in `problems`."""
        before = self.check_workers()
        self.send_tasks(before)
        if self.config["routes"]:
            self.check_routes()
        self.check_beat()

    def check_workers(self) -> dict[str, Any]:
        """That each worker answers, consumes its queues and is its unit's process. Returns the statistics by node."""
        nodes = list(self.workers)
        watched = [worker["unit"] for worker in self.workers.values()]
        looks: dict[str, list[units.State]] = {unit: [] for unit in watched}
        while nodes:
            inspect = self.app.control.inspect(destination=nodes, timeout=2.0)
            stats = inspect.stats() or {}
            queues = {
                node: {queue["name"] for queue in found} for node, found in (inspect.active_queues() or {}).items()
            }
            now = units.states(watched)
            for unit in watched:
                looks[unit].append(now[unit])
            problems = {
                node: problem
                for node, worker in self.workers.items()
                if (problem := worker_problem(node, worker, stats, queues, now[worker["unit"]]))
            }
            down = [unit for unit in watched if is_down(unit, now[unit]) or ends_again_and_again(looks[unit])]
            if not problems:
                return stats
            # What is not even starting will not come up by waiting.
            if down or not self.remaining():
                for node, problem in problems.items():
                    (self.notes if self._may_be_at_work(node, stats, now) else self.problems).append(problem)
                return stats
            time.sleep(POLL_SECONDS)
        return {}

    def _may_be_at_work(self, node: str, stats: dict[str, Any], now: dict[str, units.State]) -> bool:
        """Whether a worker that does not answer need not be hung: in the pool solo the task runs where it would answer."""
        worker = self.workers[node]
        return worker["pool"] == "solo" and node not in stats and now[worker["unit"]].active == "active"

    def send_tasks(self, before: dict[str, Any]) -> None:
        """A task through every queue of this host's workers, and its result back."""
        from celery.backends.base import DisabledBackend

        consumers: dict[str, list[str]] = {}
        for node, worker in self.workers.items():
            # What does not answer was reported already.
            if node in before:
                for queue in worker["queues"]:
                    consumers.setdefault(queue, []).append(node)
        if isinstance(self.app.backend, DisabledBackend):
            self._send_without_results(consumers, before)
            return
        sent = {}
        started = time.monotonic()
        for queue in consumers:
            token = uuid.uuid4().hex
            sent[queue] = (token, self._send(queue, token))
        for queue, (token, result) in sent.items():
            self._receive(queue, token, result, consumers[queue], before, started)

    def _send(self, queue: str, token: str) -> Any:
        expires = self.config["timeout"]
        return self.app.send_task(
            TASK, args=[token], kwargs={"index": 0}, queue=queue, expires=expires, ignore_result=False
        )

    def _send_without_results(self, consumers: dict[str, list[str]], before: dict[str, Any]) -> None:
        """One queue after the other, as the only trace of a task is how many of its name the workers have run."""
        others = {
            node: {queue["name"] for queue in found}
            for node, found in (self.app.control.inspect(timeout=BROADCAST_SECONDS).active_queues() or {}).items()
        }
        for queue, own in consumers.items():
            # Another host's worker may take it.
            nodes = sorted({*own, *(node for node, queues in others.items() if queue in queues)})
            started, count = time.monotonic(), self._run_by(nodes)
            self._send(queue, uuid.uuid4().hex)
            taken = False
            # A look always, so that a queue is not blamed when another one used up the time.
            while not (taken := self._run_by(nodes) > count) and (self.remaining() or time.monotonic() - started < 1):
                time.sleep(POLL_SECONDS)
            if taken:
                self.notes.append(
                    f"The queue {queue}: taken in {time.monotonic() - started:.3f} s; the app keeps no results."
                )
            else:
                self._missed(queue, own, before)

    def _run_by(self, nodes: list[str]) -> int:
        """How many of the canary's tasks workers have begun since they were started."""
        stats = self.app.control.inspect(destination=nodes, timeout=2.0).stats() or {}
        return sum(found.get("total", {}).get(TASK, 0) for found in stats.values())

    def _missed(self, queue: str, nodes: list[str], before: dict[str, Any]) -> None:
        """Say of a task that nothing was heard of: that its workers are busy, or that something is wrong."""
        if working := self._at_work(nodes, before):
            self.notes.append(
                f"The queue {queue}: {working} is busy with other tasks; the canary's had no turn in time."
            )
            return
        own = [self.workers[node]["unit"] for node in nodes]
        self.problems.append(
            f"A task sent through the queue {queue} did not come back in {self.config['timeout']} s, though {', '.join(own)} says "
            f"it consumes it and is not busy. Look at: {units.log_command(own[0])}; {units.mend_by_killing(own)}"
        )

    def _receive(
        self, queue: str, token: str, result: Any, nodes: list[str], before: dict[str, Any], started: float
    ) -> None:
        from celery.exceptions import TimeoutError as NoResult

        try:
            # Something always, so that results that are there are taken when another queue used up the time.
            answer = result.get(timeout=max(self.remaining(), 1.0), propagate=False, interval=0.1)
        except NoResult:
            self._missed(queue, nodes, before)
            return
        if answer != token:
            self.problems.append(f"A task sent through the queue {queue} came back wrong: {str(answer)[:200]!r}.")
        else:
            self.notes.append(f"The queue {queue}: there and back in {time.monotonic() - started:.3f} s.")
        # Not every backend can.
        with contextlib.suppress(NotImplementedError):
            result.forget()

    def _at_work(self, nodes: list[str], before: dict[str, Any]) -> str:
        """The first of the workers whose processes are all taken, or that finished tasks since the first look."""
        inspect = self.app.control.inspect(destination=nodes, timeout=2.0)
        now, active = inspect.stats() or {}, inspect.active() or {}
        for node in nodes:
            size = now.get(node, {}).get("pool", {}).get("max-concurrency", 1)
            finished = sum(now.get(node, {}).get("total", {}).values()) - sum(before[node].get("total", {}).values())
            if len(active.get(node, [])) >= size or finished > 0:
                return self.workers[node]["name"]
        return ""

    def check_routes(self) -> None:
        """That some worker of the fleet consumes every queue the app sends tasks to."""
        missing = stockpot_app.routed(self.app)
        missing.update((queue, "it is in celery_routed_queues") for queue in self.config["routed_queues"])
        for queue in self.config["foreign_queues"]:
            missing.pop(queue, None)
        for worker in self.workers.values():
            for queue in worker["queues"]:
                missing.pop(queue, None)
        # Other hosts' workers may just be coming up.
        while missing:
            for found in (self.app.control.inspect(timeout=BROADCAST_SECONDS).active_queues() or {}).values():
                for queue in found:
                    missing.pop(queue["name"], None)
            if not missing or not self.remaining() or self.problems:
                break
            time.sleep(POLL_SECONDS)
        self.problems += [
            f"No worker consumes the queue {queue} ({why}): its tasks would wait for ever. Add it to a worker's `queues` in celery_workers."
            for queue, why in sorted(missing.items())
        ]

    def check_beat(self) -> None:
        """That Beat runs here, ticks, and is the only one."""
        unit = self.config["beat_unit"]
        if not unit:
            return
        look = f"Look at: {units.log_command(unit)}"
        nodes: list[str] = []
        looks: list[units.State] = []
        while True:
            looks.append(units.states([unit])[unit])
            state = looks[-1].active
            if is_down(unit, looks[-1]) or (state == "inactive" and not self.remaining()):
                self.problems.append(
                    f"Beat ({unit}) is {state}, so no schedule fires. {look}; start it with: {units.start_command(unit)}"
                )
                return
            if ends_again_and_again(looks):
                self.problems.append(
                    f"Beat ({unit}) does not stay up: its process ends and is started again ({starts(looks)} times so far). {look}"
                )
                return
            if self.config["beat_remote_control"]:
                replies = self.app.control.ping(timeout=BROADCAST_SECONDS) or []
                nodes = [node for reply in replies for node in reply if node.startswith("celerybeat@")]
            if state == "active" and (nodes or not self.config["beat_remote_control"]):
                break
            if not self.remaining():
                self.problems.append(
                    f"Beat ({unit}) is {state} but does not answer; its schedule may stand still. {look}"
                )
                return
            time.sleep(POLL_SECONDS)
        if len(nodes) > 1:
            self.problems.append(
                f"{len(nodes)} Beats run ({', '.join(sorted(nodes))}): every schedule fires that often. "
                f"Stop all but this host's {unit}, and let no other host run Beat."
            )


def worker_problem(
    node: str,
    worker: dict[str, Any],
    stats: dict[str, Any],
    queues: dict[str, set[str]],
    state: units.State,
) -> str:
    """What is wrong with a worker, with the fix; empty when nothing is.

    Args:
        node: its name among the workers.
        worker: as in the configuration.
        stats: what each node that answers says of itself.
        queues: what each node that answers consumes.
        state: its unit's.
    """
    unit = worker["unit"]
    name = f"The worker {worker['name']} ({unit})"
    look = f"Look at: {units.log_command(unit)}"
    if state.active == "activating":
        return f"{name} does not get up: its process ends and is started again ({state.restarts} times so far). {look}"
    if state.active != "active":
        listed = ", ".join(worker["queues"])
        return f"{name} is {state.active}, so nothing here consumes {listed}. {look}; start it with: {units.start_command(unit)}"
    if node not in stats or node not in queues:
        if worker["pool"] == "solo":
            return f"{name} does not answer as {node}, as is usual in the pool solo while a task runs. {look}"
        return f"{name} runs but does not answer as {node}; it may be hung or have lost its broker. {look}; {units.mend_by_killing([unit])}"
    if stats[node].get("pid") != state.pid:
        return (
            f"{name}: {node} is the process {stats[node].get('pid')}, but the unit's is {state.pid}: a second worker of that name "
            f"runs outside {units.manager(unit)}. Stop it."
        )
    if queues[node] != set(worker["queues"]):
        return (
            f"{name} consumes {', '.join(sorted(queues[node])) or 'nothing'} instead of {', '.join(sorted(worker['queues']))}. "
            f"Mend with: {units.restart_command(unit)}"
        )
    return ""


def is_down(unit: str, state: units.State) -> bool:
    """Whether nothing runs and nothing is going to: supervisor's next try is not to be seen, it may come."""
    return state.active == "failed" or (state.active == "inactive" and not units.program(unit))


def starts(looks: list[units.State]) -> int:
    """How often a unit's process was seen to be started again, or systemd says so, since the first look."""
    runs = {state.invocation for state in looks if state.invocation}
    return max(looks[-1].restarts - looks[0].restarts, len(runs) - 1)


def ends_again_and_again(looks: list[units.State]) -> bool:
    """Whether a unit's process has ended, and was started again, too often to expect it to stay up."""
    return starts(looks) >= RESTARTS


def look(config: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What is wrong, and what else there is to say."""
    from celery.app.utils import find_app

    try:
        canary = Canary(find_app(config["app"]), config)
        # As a worker does: it sets Django up, which a result backend in the database needs.
        canary.app.loader.import_default_modules()
    except (Exception, SystemExit) as error:
        return [f"The app {config['app']} cannot be loaded: {error!r}"], []
    try:
        canary.run()
    except (*canary.app.connection_for_write().connection_errors, OSError) as error:
        canary.problems.append(
            f"The broker cannot be reached: {error}. Is it up, and is its address in the environment file right?"
        )
    except Exception as error:
        # kombu may wrap what Redis said.
        if "NoPermissionError" not in (type(error).__name__, type(error.__cause__).__name__):
            raise
        canary.problems.append(
            f"Redis refuses what Celery does: {error}. The keys it uses begin with another prefix than redis_celery_key_prefix says: make "
            "that what the project uses ('' where it sets none), or give both broker_transport_options and "
            "result_backend_transport_options that global_keyprefix."
        )
    return canary.problems, canary.notes


def main() -> None:
    """Print what was found; exit status 1 when something is wrong."""
    config = json.loads(sys.argv[1])
    if not config["workers"] and not config["beat_unit"]:
        print("No worker and no Beat runs here.")
        return
    # The project's modules in place of those beside this file.
    sys.path[:] = ["", *(path for path in sys.path if path not in ("", str(Path(__file__).parent)))]
    # What the app itself prints may hold anything, so it is not passed on.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            problems, notes = look(config)
        except Exception:
            problems, notes = ["The canary itself failed:\n" + traceback.format_exc()], []
    print(units.redacted("\n".join([*problems, *notes])))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
