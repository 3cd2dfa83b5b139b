"""Watches this host's workers and Beat, and ends what is deaf: runs, but takes no work. Whoever runs it starts it again.

Runs for good, with the release's Python, as the workers' own user, in the project's folder. Its one argument is JSON:
app, application, workers (name, unit, queues, pool, stop_timeout), beat_unit, beat_remote_control, metrics_file (empty for none), and
the times, in seconds: interval between looks, answer, patience, start_patience, reconnect, longest_patience, longest_look.
The app's settings are read by a child process, which hands back how to reach the broker and ends: what stays is small.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stockpot_units as units
from stockpot_beats import SecondBeats

# What a connection to the broker, and asking workers through it, depends on.
SETTINGS = ("broker_", "control_", "accept_content", "result_accept_content", "event_", "beat_max_loop_interval")
# Seconds that the project may take to load.
LOAD_SECONDS = 120
# Bounds whatever the watch itself waits for at Redis; seconds.
SOCKET_SECONDS = 5
# Looks that have to agree, besides the time between the first and the last.
LOOKS = 3
# In the first a task that runs silences its worker, and the next may begin before it has answered: it is not judged by that. In the
# second a task may silence it, if it computes without a pause.
SILENT_AT_WORK, MAYBE_SILENT_AT_WORK = "solo", "gevent"
# Where a process that is being stopped on purpose is marked; the content is until when, in seconds since 1970.
MARKS = Path("/run/stockpot/stopping")
# Celery's own, where a scheduler says nothing else; seconds.
BEAT_SLEEP = 300
WHY = {
    "stopped": "its main process is stopped by a signal (state T)",
    "silent": "it does not answer, though the broker serves",
    "not-consuming": "it does not consume {queues}, though it was told to",
    "standing-still": "it has room and consumes {queues}, where messages wait, but takes none",
    "asleep": "its main process has not woken up for longer than any schedule lets it sleep",
}
# What only a broker that serves can tell.
HEARD = ("silent", "not-consuming", "standing-still")


@dataclass(frozen=True)
class Worker:
    """A worker or Beat of this host.

    Attributes:
        name: the worker's, or beat.
        node: its name among the nodes; empty for a Beat that answers nothing.
        patience: seconds that it may be silent before it is deaf; 0 for the watch's own, infinite where that says nothing.
    """

    name: str
    unit: str
    node: str
    queues: frozenset[str] = frozenset()
    patience: float = 0

    @property
    def is_beat(self) -> bool:
        """Whether it is Beat."""
        return not self.queues

    def __str__(self) -> str:
        """As it stands in a log line."""
        return f"{'Beat' if self.is_beat else f'The worker {self.name}'} ({self.unit})"


@dataclass
class Answers:
    """What one look heard; `waiting` are the messages in each queue, where the broker can tell, `primary` the server that Sentinels named."""

    stats: dict[str, Any] = field(default_factory=dict)
    queues: dict[str, set[str]] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    beats: set[str] = field(default_factory=set)
    primary: object = None


@dataclass
class History:
    """What is known of one process.

    Attributes:
        since: by what speaks against it, when that was last not so, or first seen; what no longer does is not in it.
        well: by what may speak against it, when it last did not.
        looks: by the same, how many looks in a row saw it.
        total: the tasks it has begun.
        held: seconds for which a rate limit of its tasks may keep it from beginning the next one.
        switches: how often its main thread has gone to sleep by itself, and when that number was first seen.
    """

    process: units.Process
    heard: bool = False
    since: dict[str, float] = field(default_factory=dict)
    well: dict[str, float] = field(default_factory=dict)
    looks: Counter[str] = field(default_factory=Counter)
    total: int | None = None
    held: float = 0
    switches: tuple[int, float] = (-1, 0.0)

    def note(self, reason: str, speaks: bool, now: float) -> None:
        """That something speaks against the process, or does not."""
        if speaks:
            self.since.setdefault(reason, self.well.get(reason, now))
            self.looks[reason] += 1
        else:
            self.forget((reason,))
            self.well[reason] = now

    def forget(self, reasons: Iterable[str]) -> None:
        """What was seen of some reasons, for and against it."""
        for reason in reasons:
            for seen in (self.since, self.looks, self.well):
                seen.pop(reason, None)


class Watch:
    """Looks again and again.

    Args:
        app: a Celery app with the project's broker.
        config: as in the module's description.
    """

    def __init__(self, app: Any, config: Mapping[str, Any]) -> None:
        from celery.utils.nodenames import host_format

        self.app = app
        self.config = config
        self.workers = [
            Worker(
                worker["name"],
                worker["unit"],
                host_format(f"{worker['name']}@%h"),
                frozenset(worker["queues"]),
                _patience(worker),
            )
            for worker in config["workers"]
        ]
        if config["beat_unit"]:
            node = host_format("celerybeat@%h") if config["beat_remote_control"] else ""
            self.workers.append(Worker("beat", config["beat_unit"], node))
        self.histories: dict[str, History] = {}
        self.backoff: dict[str, float] = {}
        self.well_since: dict[str, float] = {}
        self.ended: Counter[tuple[str, str]] = Counter()
        self.added: Counter[tuple[str, str]] = Counter()
        self.second_beats = SecondBeats(config["app"], config["beat_unit"])
        self.served_since: float | None = None
        self.primary: object = None
        self.last_look: float | None = None
        self.said: set[str] = set()

    def run(self) -> None:
        """Looks until it is ended itself; a look that hangs ends it, with a traceback."""
        while True:
            faulthandler.dump_traceback_later(self.config["longest_look"], exit=True)
            began = time.monotonic()
            try:
                self.look()
                self.said.discard("systemd")
            except subprocess.SubprocessError as error:
                # A host that boots, ends or has no processor left.
                self._say_once("systemd", f"systemd does not answer ({type(error).__name__}): nobody is judged.")
            faulthandler.cancel_dump_traceback_later()
            pause = self.config["interval"] / (2 if self.is_suspicious() else 1)
            time.sleep(max(0.0, pause - (time.monotonic() - began)))

    def is_suspicious(self) -> bool:
        """Whether something speaks against a process, so that the next look comes sooner."""
        return any(history.since for history in self.histories.values())

    def look(self) -> None:
        """One look at everything."""
        answers = self._ask()
        # Not before the answers: they were waited for.
        states = units.states([worker.unit for worker in self.workers])
        now = time.monotonic()
        if self.last_look is not None and now - self.last_look > self.config["longest_look"]:
            # The watch itself, or the host, stood still: nothing that was seen before counts.
            self._forget()
        self.last_look = now
        for worker in self.workers:
            self._look_at(worker, states[worker.unit], answers, now)
        for line in self.second_beats.end([worker.unit for worker in self.workers]):
            self._say(line)
        self._write_metrics()

    def _ask(self) -> Answers | None:
        """What the workers answer; None when the broker does not serve, and then nobody is judged by that."""
        nodes = [worker.node for worker in self.workers if worker.node]
        try:
            # Once more at once: a connection that was cut says nothing of the broker.
            for is_last in (False, True):
                try:
                    answers = self._asked(nodes)
                    break
                except (*self._connection_errors(), OSError):
                    if is_last:
                        raise
        except Exception as error:
            self._say_once("broker", f"The broker does not serve ({type(error).__name__}: {error}): nobody is judged.")
            self.served_since = None
            return None
        if "broker" in self.said:
            self._say("The broker serves again.")
            self.said.discard("broker")
        if self.served_since is None or answers.primary != self.primary:
            # The watch finds another primary sooner than a worker, which has to notice first that the one that it had says nothing.
            self.served_since, self.primary = time.monotonic(), answers.primary
        return answers

    def _connection_errors(self) -> tuple[type[BaseException], ...]:
        return tuple(self.app.connection_for_write().connection_errors)

    def _asked(self, nodes: list[str]) -> Answers:
        workers = [worker.node for worker in self.workers if worker.node and not worker.is_beat]
        answers = Answers()
        with self.app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=SOCKET_SECONDS)
            if workers:
                answers.stats = self._inspect(connection, workers).stats() or {}
                # Those that said nothing are not waited for once more.
                heard = list(answers.stats)
                queues = (self._inspect(connection, heard).active_queues() or {}) if heard else {}
                answers.queues = {node: {queue["name"] for queue in found or ()} for node, found in queues.items()}
                answers.waiting, answers.primary = self._waiting(connection)
            if beats := [node for node in nodes if node not in workers]:
                replies = self.app.control.ping(destination=beats, timeout=self.config["answer"], connection=connection)
                answers.beats = {node for reply in replies or () for node in reply}
        return answers

    def _inspect(self, connection: Any, nodes: list[str]) -> Any:
        return self.app.control.inspect(destination=nodes, timeout=self.config["answer"], connection=connection)

    def _waiting(self, connection: Any) -> tuple[dict[str, int], object]:
        """The messages in each queue, and the primary. Of Redis alone: others push, and may have reasons of their own not to."""
        if connection.transport.driver_type != "redis":
            return {}, None
        with connection.channel() as channel:
            queues = {queue for one in self.workers for queue in one.queues}
            waiting = {queue: channel._size(queue) for queue in queues}
            return waiting, getattr(channel.client.connection_pool, "master_address", None)

    def _look_at(self, worker: Worker, state: units.State, answers: Answers | None, now: float) -> None:
        process = units.Process.read(state.pid) if state.is_up else None
        if process is None or is_marked(worker.unit):
            # Not there, or being stopped.
            self.histories.pop(worker.unit, None)
            return
        history = self.histories.get(worker.unit)
        if history is None or history.process.started != process.started or history.process.pid != process.pid:
            history = self.histories[worker.unit] = History(process)
        history.note("stopped", process.state == "T", now)
        if worker.is_beat:
            self._note_sleep(history, now)
        if answers is None:
            history.forget(HEARD)
        elif worker.node:
            self._note_answers(worker, history, answers, now)
        self._judge(worker, history, now)

    def _note_answers(self, worker: Worker, history: History, answers: Answers, now: float) -> None:
        stats = answers.stats.get(worker.node)
        if stats is not None and stats["pid"] != history.process.pid:
            # Unless it was just started again.
            if units.Process.read(stats["pid"]):
                self._say_once(
                    f"second {worker.unit}",
                    f"{worker}: {worker.node} is the process {stats['pid']}, but the unit's is {history.process.pid}: a second worker "
                    "of that name runs. Stop it: until then nobody can tell how this one is.",
                )
            history.forget(HEARD)
            return
        answered = worker.node in answers.beats or (stats is not None and worker.node in answers.queues)
        self.said.discard(f"second {worker.unit}")
        history.heard |= answered
        history.note("silent", not answered and worker.patience < math.inf, now)
        if stats is None or not answered:
            return
        missing = worker.queues - answers.queues[worker.node]
        history.note("not-consuming", bool(missing), now)
        if missing:
            self._add_consumers(worker, sorted(missing), history)
        total = sum(stats.get("total", {}).values())
        waits = any(answers.waiting.get(queue) for queue in worker.queues)
        stands = waits and not missing and total == history.total and self._has_room(worker, stats, history)
        history.note("standing-still", stands, now)
        history.total = total

    def _add_consumers(self, worker: Worker, queues: list[str], history: History) -> None:
        """Tell a worker to consume its queues again, which cuts nothing. Not at first sight: it may just be connecting."""
        if history.looks["not-consuming"] < LOOKS - 1:
            return
        for queue in queues:
            with contextlib.suppress(Exception):
                # What does not help is seen by the next look.
                self.app.control.add_consumer(
                    queue, destination=[worker.node], reply=True, timeout=self.config["answer"]
                )
            self.added[worker.name, queue] += 1
            self._say(f"{worker} did not consume {queue}, which is its own: told it to.")

    def _has_room(self, worker: Worker, stats: Mapping[str, Any], history: History) -> bool:
        """Whether a worker would take a message if it could: not while its processes are taken, or it holds as many messages as it may.

        Those that it holds for a rate limit nobody sees; how long that may take is noted.
        """
        size, prefetch = stats.get("pool", {}).get("max-concurrency"), stats.get("prefetch_count", 0)
        try:
            with self.app.connection_for_write() as connection:
                inspect = self._inspect(connection, [worker.node])
                active, reserved, scheduled = (
                    len((answer or {})[worker.node])
                    for answer in (inspect.active(), inspect.reserved(), inspect.scheduled())
                )
                history.held = _held(inspect.registered("rate_limit")[worker.node])
        except Exception:
            # Without an answer it is judged by that.
            return False
        held = active + reserved
        return bool(size) and held < size and (not prefetch or held + scheduled < prefetch)

    def _note_sleep(self, history: History, now: float) -> None:
        """Beat wakes up by itself, whatever its scheduler: one that does not hangs in a call."""
        try:
            status = (units.PROC / str(history.process.pid) / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        switches = int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        if switches != history.switches[0]:
            history.switches = (switches, now)
        longest = 2 * (self.app.conf.beat_max_loop_interval or BEAT_SLEEP)
        history.note("asleep", now - history.switches[1] > longest, now)

    def _judge(self, worker: Worker, history: History, now: float) -> None:
        """End a process when something has spoken against it for long enough."""
        patience = self._patience(worker)
        if not history.since:
            self.well_since.setdefault(worker.unit, now)
            if now - self.well_since[worker.unit] >= patience:
                self.backoff.pop(worker.unit, None)
            return
        self.well_since.pop(worker.unit, None)
        for reason, since in sorted(history.since.items(), key=lambda item: item[1]):
            if history.looks[reason] < LOOKS or now - since < self._needed(reason, worker, history):
                continue
            if reason in HEARD and not self._may_judge_silence(now):
                continue
            self._end(worker, history, reason, now - since)
            return

    def _patience(self, worker: Worker) -> float:
        """Seconds of the watch's own patience: doubled whenever the worker is deaf again before it has been well for as long."""
        return min(self.backoff.get(worker.unit, self.config["patience"]), self.config["longest_patience"])

    def _needed(self, reason: str, worker: Worker, history: History) -> float:
        """Seconds for which something has to speak against a worker."""
        patience = self._patience(worker)
        if reason == "asleep":
            # It was long in coming.
            return 0
        if reason == "silent" and not history.heard:
            return max(patience, self.config["start_patience"])
        if reason == "standing-still":
            return patience + history.held
        return max(patience, worker.patience) if reason == "silent" else patience

    def _may_judge_silence(self, now: float) -> bool:
        """Whether workers have had the time to come back to a broker that was away, and the watch is heard at all."""
        if self.served_since is None or now - self.served_since < self.config["reconnect"]:
            return False
        if any(history.heard for history in self.histories.values()) or self.ended:
            return True
        self._say_once(
            "unheard",
            "Nobody has answered yet. Is remote control switched off? Until somebody does, nobody is judged by that.",
        )
        return False

    def _end(self, worker: Worker, history: History, reason: str, seconds: float) -> None:
        why = WHY[reason].format(queues=", ".join(sorted(worker.queues)))
        self.histories.pop(worker.unit, None)
        if not kill(history.process):
            return
        self.ended[worker.name, reason] += 1
        next_patience = min(self._patience(worker) * 2, self.config["longest_patience"])
        self.backoff[worker.unit] = next_patience
        self._say(
            f"{worker} is deaf: {why}, for {seconds:.0f} s. Its process {history.process.pid} is killed; {units.manager(worker.unit)} starts it "
            f"again. Should it be deaf again before it was well for {next_patience:.0f} s, it has {next_patience:.0f} s."
        )

    def _forget(self) -> None:
        for history in self.histories.values():
            history.forget(WHY)
            history.switches = (-1, 0.0)

    def _write_metrics(self) -> None:
        if not self.config["metrics_file"]:
            return
        path = Path(self.config["metrics_file"])
        new = path.with_name(f".{path.name}.new")
        try:
            new.write_text("".join(f"{line}\n" for line in self._metrics()))
            new.chmod(0o644)
            new.replace(path)
        except OSError as error:
            self._say_once("metrics", f"{path} cannot be written: {error}.")

    def _metrics(self) -> Iterator[str]:
        """Prometheus' text format."""
        application = f'application="{self.config["application"]}"'
        yield "# HELP celery_watch_last_look_timestamp_seconds When the watch last looked."
        yield "# TYPE celery_watch_last_look_timestamp_seconds gauge"
        yield f"celery_watch_last_look_timestamp_seconds{{{application}}} {time.time():.0f}"
        yield "# HELP celery_watch_broker_up Whether the broker serves the watch."
        yield "# TYPE celery_watch_broker_up gauge"
        yield f"celery_watch_broker_up{{{application}}} {int(self.served_since is not None)}"
        yield "# HELP celery_watch_ended_total Processes that were killed because they were deaf."
        yield "# TYPE celery_watch_ended_total counter"
        for worker in self.workers:
            for reason in sorted(WHY):
                labels = f'{application},worker="{worker.name}",reason="{reason}"'
                yield f"celery_watch_ended_total{{{labels}}} {self.ended[worker.name, reason]}"
        yield "# HELP celery_watch_consumers_added_total How often a worker was told to consume a queue again."
        yield "# TYPE celery_watch_consumers_added_total counter"
        for worker in self.workers:
            for queue in sorted(worker.queues):
                labels = f'{application},worker="{worker.name}",queue="{queue}"'
                yield f"celery_watch_consumers_added_total{{{labels}}} {self.added[worker.name, queue]}"
        yield "# HELP celery_watch_second_beats_total Beats beside the unit's that were ended."
        yield "# TYPE celery_watch_second_beats_total counter"
        yield f"celery_watch_second_beats_total{{{application}}} {self.second_beats.count}"

    def _say_once(self, key: str, text: str) -> None:
        if key not in self.said:
            self.said.add(key)
            self._say(text)

    @staticmethod
    def _say(text: str) -> None:
        print(units.redacted(text), file=sys.stderr, flush=True)


def _patience(worker: Mapping[str, Any]) -> float:
    """Seconds that a worker of a pool may be silent; 0 for the watch's own patience."""
    of_pool = {SILENT_AT_WORK: math.inf, MAYBE_SILENT_AT_WORK: worker["stop_timeout"]}
    return of_pool.get(worker["pool"], 0)


def _held(tasks: Iterable[str]) -> float:
    """Seconds between two runs of the task with the lowest rate limit, of a worker's tasks as they are registered: "mail.send [rate_limit=6/m]"."""
    from celery.utils.time import rate

    rates = [rate(found[1]) for task in tasks if (found := re.search(r"\[rate_limit=([^] ]+)", task))]
    return max((1 / a_second for a_second in rates if a_second), default=0.0)


def is_marked(unit: str) -> bool:
    """Whether a unit's process is being stopped on purpose, where its state does not show it."""
    try:
        return float((MARKS / unit.rpartition(".")[0]).read_text()) > time.time()
    except (OSError, ValueError):
        return False


def kill(process: units.Process) -> bool:
    """End a process and its group, if it is still the one that was looked at; says whether it was."""
    now = units.Process.read(process.pid)
    if now is None or now.started != process.started:
        return False
    (os.killpg if now.group == now.pid else os.kill)(now.pid, signal.SIGKILL)
    return True


def settings_of(app: str) -> dict[str, Any]:
    """What a project's app says of its connection; read by a child process, because that may take much memory.

    Raises:
        RuntimeError: the project could not be loaded.
    """
    command = [sys.executable, __file__, "--settings", app]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"it took longer than {LOAD_SECONDS} s") from error
    if done.returncode == -signal.SIGKILL:
        raise RuntimeError("it was killed, as by a memory limit: raise celery_watch_memory_max")
    if done.returncode != 0:
        # What the app itself prints may hold anything, so only the last line, the error, is passed on.
        raise RuntimeError(
            (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit {done.returncode}"])[-1]
        )
    return pickle.loads(done.stdout)  # noqa: S301  this program's own child wrote it


def print_settings(app: str) -> None:
    """Writes the settings to standard output, which the project may not use meanwhile."""
    from celery.app.defaults import NAMESPACES, flatten
    from celery.app.utils import find_app

    output = os.dup(1)
    os.dup2(2, 1)
    # Its settings alone: neither Django nor the tasks are needed.
    found = find_app(app)
    settings = {key: getattr(found.conf, key) for key, _option in flatten(NAMESPACES) if key.startswith(SETTINGS)}
    with os.fdopen(output, "wb") as file:
        pickle.dump(settings, file)


def bare_app(settings: Mapping[str, Any]) -> Any:
    """An app without tasks that reaches the project's broker, and waits for nothing without bound."""
    from celery import Celery

    app = Celery("watch", set_as_current=False)
    app.conf.update(settings)
    bounds = {
        "socket_timeout": SOCKET_SECONDS,
        "socket_connect_timeout": SOCKET_SECONDS,
        "retry_on_timeout": False,
    }
    transport = app.connection_for_write().transport.driver_type
    if transport == "redis":
        app.conf.broker_transport_options = {**settings["broker_transport_options"], **bounds}
    if transport == "amqp":
        # What RabbitMQ does not confirm, it did not take: then it does not serve.
        bounds = {"read_timeout": SOCKET_SECONDS, "write_timeout": SOCKET_SECONDS, "confirm_publish": True}
        app.conf.broker_transport_options = {**settings["broker_transport_options"], **bounds}
        refuse_to_wait()
    app.conf.broker_connection_timeout = SOCKET_SECONDS
    return app


def refuse_to_wait() -> None:
    """Ends connections that RabbitMQ blocks for want of memory or disk space, which py-amqp would wait for."""
    import amqp
    from kombu.exceptions import OperationalError

    def end(connection: amqp.Connection) -> None:
        connection.collect()
        raise OperationalError("RabbitMQ takes no messages: it lacks memory or disk space")

    amqp.Connection._on_blocked = end


def main() -> None:
    """Watches until it is ended."""
    sys.path[:] = ["", *(path for path in sys.path if path not in ("", str(Path(__file__).parent)))]
    if sys.argv[1] == "--settings":
        print_settings(sys.argv[2])
        return
    config = json.loads(sys.argv[1])
    while True:
        try:
            settings = settings_of(config["app"])
            break
        except RuntimeError as error:
            print(units.redacted(f"The app {config['app']} cannot be loaded: {error}"), file=sys.stderr, flush=True)
            time.sleep(config["patience"])
    Watch(bare_app(settings), config).run()


if __name__ == "__main__":
    main()
