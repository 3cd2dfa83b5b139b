"""How workers are drained: what each is to be told next, by how it is now; what an operator sees of it, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.stockpot.stack.plugins.plugin_utils.processes import instances

# How long a worker that was started has until it has to consume; seconds.
START_TIMEOUT = 90
# A drain keeps the watch off for so much longer than it may take; seconds.
MARK_MARGIN = 180
# So many looks without an answer are no message that was late.
SILENT_LOOKS = 2
# What a worker in a phase has been told.
TOLD = {"draining": "to take no more", "stopping": "to stop", "starting": "to start"}
# Of the table.
HEADINGS = ("worker", "running", "ended", "given back", "seconds", "outcome")


class Task(NamedTuple):
    """A task that runs; with `acknowledged`, its message is gone from the broker."""

    id: str
    name: str
    seconds: int
    acknowledged: bool = False


class Seen(NamedTuple):
    """A worker at one moment.

    Attributes:
        active: its unit's ActiveState.
        answers: whether it answered.
        tasks: those that run.
        waiting: messages that it has taken ahead.
        scheduled: tasks with a time of their own that it keeps.
        queues: what it consumes.
    """

    active: str
    answers: bool = False
    tasks: tuple[Task, ...] = ()
    waiting: int = 0
    scheduled: int = 0
    queues: frozenset[str] = frozenset()

    @property
    def is_down(self) -> bool:
        """Whether nothing runs and nothing is about to."""
        return self.active in ("inactive", "failed")


@dataclass
class Worker:
    """A worker on its way down, and up again.

    Attributes:
        name: as Celery's nodes have it before the @.
        queues: what it is to consume.
        stop_timeout: seconds that its tasks have until it is stopped, and again from then on.
        start: whether it is to be started again.
        began: when its drain began, in seconds of a clock that only goes forward.
        stopped: when it was told to stop.
        phase: draining, stopping, starting or done.
        outcome: what came of it.
    """

    name: str
    queues: frozenset[str]
    stop_timeout: int
    start: bool
    began: float
    phase: str = "draining"
    outcome: str = ""
    last: Seen | None = None
    running: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    given_back: int = 0
    lost: int = 0
    silent: int = 0
    stopped: float = 0.0
    down_after: float = 0.0
    was_cut: bool = False
    started: float = 0.0

    @property
    def ended(self) -> int:
        """How many of the tasks that were seen came to their end."""
        cut = {task.id for task in self.last.tasks} if self.last and self.was_cut else set()
        return len(self.known - cut)

    def left(self, now: float) -> int:
        """Seconds that its tasks have left: until it is stopped, then until who runs it has them given back."""
        since = self.stopped if self.phase == "stopping" else self.began
        return max(0, round(since + self.stop_timeout - now))

    def next(self, seen: Seen, now: float) -> str:
        """What it is to be told: cancel, stop, start, or nothing ("").

        Args:
            seen: how it is.
            now: in seconds of the clock of `began`.
        """
        return {"draining": self._drain, "stopping": self._stop, "starting": self._start}[self.phase](seen, now)

    def _drain(self, seen: Seen, now: float) -> str:
        if self.last is None:
            self.running = {task.id for task in seen.tasks}
        if seen.is_down:
            self.outcome = "was not running" if self.last is None else "ended by itself"
            return self._down(now)
        self.silent = 0 if seen.answers else self.silent + 1
        if seen.answers or self.last is None:
            self.last = seen
        self.known |= {task.id for task in seen.tasks}
        is_idle = seen.answers and not (seen.tasks or seen.waiting or seen.queues)
        if is_idle or self.silent >= SILENT_LOOKS or not self.left(now):
            self.phase, self.stopped = "stopping", now
            return "stop"
        # It has missed it, has not come to it yet, or was started again since.
        return "cancel" if seen.answers and seen.queues else ""

    def _stop(self, seen: Seen, now: float) -> str:
        if seen.is_down:
            return self._down(now)
        # It had just ended when it was told, and was started again.
        return "" if seen.active == "deactivating" else "stop"

    def _down(self, now: float) -> str:
        self.down_after = now - self.began
        # The signal after which it gives back what runs is sent by its stop; it answers no more by then.
        self.was_cut = self.phase == "stopping" and now - self.stopped >= self.stop_timeout
        if last := self.last:
            cut = last.tasks if self.was_cut else ()
            self.lost = sum(task.acknowledged for task in cut)
            self.given_back = len(cut) - self.lost + last.waiting + last.scheduled
        said = self.outcome or ("stopped" if not self.silent else "stopped, without having answered")
        if self.lost:
            said += f"; up to {self.lost} cut whose message was acknowledged: lost"
        self.outcome = said
        self.phase, self.started = ("starting", now) if self.start else ("done", 0.0)
        return "start" if self.start else ""

    def _start(self, seen: Seen, now: float) -> str:
        if seen.answers and seen.queues >= self.queues:
            self.outcome += ", consumes again"
            self.phase = "done"
        elif now - self.started > START_TIMEOUT:
            self.outcome += f", DOES NOT CONSUME after {START_TIMEOUT} s"
            self.phase = "done"
        return ""

    @property
    def failed(self) -> bool:
        """Whether it is not as it was to be."""
        return "DOES NOT CONSUME" in self.outcome

    def line(self, now: float) -> str:
        """What an operator sees of it meanwhile."""
        if self.phase == "starting":
            return f"{self.name}: down after {self.down_after:.0f} s, comes up again"
        last = self.last or Seen("")
        tasks = ", ".join(f"{task.name} {task.id} since {task.seconds} s" for task in last.tasks)
        if self.silent:
            what = "does not answer"
        elif not last.tasks:
            what = "nothing runs"
        else:
            what = f"{len(last.tasks)} running: {tasks}"
        if last.waiting:
            what += f"; {last.waiting} taken ahead"
        return f"{self.name}: {'being stopped, ' if self.phase == 'stopping' else ''}{self.left(now)} s left; {what}"

    def row(self) -> dict[str, Any]:
        """Its line of the table."""
        return {
            "worker": self.name,
            "running": len(self.running),
            "ended": self.ended,
            "given back": self.given_back,
            "seconds": round(self.down_after),
            "outcome": self.outcome,
        }


# Tells some workers something and returns how all that are named are now: `tell({"cancel": [...]}, names)`.
Tell = Callable[[Mapping[str, list[str]], list[str]], Mapping[str, Seen]]


def drain(
    workers: list[Worker],
    tell: Tell,
    show: Callable[[str], None],
    *,
    poll_seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Takes workers down, and up again where they are to be, side by side.

    Args:
        workers: all of one host's that are meant.
        tell: asks and tells the host.
        show: gets a line for each worker with each look.
        poll_seconds: between two looks.
        clock: that of the workers' `began`.
    """
    todo: dict[str, list[str]] = {"cancel": [worker.name for worker in workers]}
    while waiting := [worker for worker in workers if worker.phase != "done"]:
        seen = tell(todo, [worker.name for worker in waiting])
        now = clock()
        todo = {}
        goes_on = False
        for worker in waiting:
            phase = worker.phase
            if told := worker.next(seen[worker.name], now):
                todo.setdefault(told, []).append(worker.name)
                goes_on |= worker.phase != phase
            if worker.phase != "done":
                show(worker.line(now))
        # What is told once more can wait.
        if not goes_on and any(worker.phase != "done" for worker in workers):
            time.sleep(poll_seconds)


def broken_off(workers: Iterable[Worker], host: str) -> str:
    """What workers have been told whose drain did not come to its end, and what to do; "" when there are none.

    Args:
        workers: all of one host's that were meant.
        host: its name in the inventory.
    """
    left = [worker for worker in workers if worker.phase != "done"]
    told = {phase: [worker.name for worker in left if worker.phase == phase] for phase in TOLD}
    said = "; ".join(f"{', '.join(names)} {TOLD[phase]}" for phase, names in told.items() if names)
    if not said:
        return ""
    names = ",".join(worker.name for worker in left)
    return f"Told by then, as far as it arrived: {said}. Mend that, then: make restart WORKERS={names} HOSTS={host}, with the same ENV."


def chosen(wanted: Iterable[str], workers: Iterable[Mapping[str, Any]]) -> tuple[set[str], str]:
    """Which instances of workers some names mean, and what is wrong with the names.

    Args:
        wanted: names of workers, or of their instances; none for all.
        workers: all of the fleet, complete.
    """
    known = {worker["name"]: {one["name"] for one in instances([worker])} for worker in workers}
    single = {name: {name} for names in known.values() for name in names}
    wanted = list(wanted)
    unknown = [name for name in wanted if name not in {**single, **known}]
    if unknown:
        names = sorted({*known, *single})
        return set(), f"WORKERS names {', '.join(unknown)}, which is no worker. Known are: {', '.join(names)}."
    return set().union(*({**single, **known}[name] for name in wanted or known)), ""


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows of all hosts in columns."""
    lines = [list(HEADINGS), *([str(row[heading]) for heading in HEADINGS] for row in rows)]
    name, *numbers = [max(map(len, column)) for column in list(zip(*lines, strict=True))[:-1]]
    return "\n".join("  ".join([line[0].ljust(name), *map(str.rjust, line[1:-1], numbers), line[-1]]) for line in lines)
