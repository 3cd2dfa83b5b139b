"""A host in small, for the tests of the watch: Redis, a Celery project's workers and Beat, kept running as a process manager does."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.plugin_utils import processes
from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import collect
from uv import find_uv_bin

FILES = Path(__file__).resolve().parent.parent / "roles/celery/files"
# Seconds until which everything has to have happened.
DEADLINE = 120
# The watch's, in seconds: much shorter than a server's.
TIMES = {
    "interval": 0.5,
    "answer": 1,
    "patience": 4,
    "start_patience": 60,
    "reconnect": 5,
    "longest_patience": 600,
    "longest_look": 30,
}
PROJECT = """
import json
import os
import time
from pathlib import Path

from celery import Celery
from celery.schedules import schedule
from celery.worker.control import control_command

folder = Path(os.environ["FOLDER"])
application = Celery("parcels")
application.conf.update(
    broker_url=os.environ["BROKER"],
    task_ignore_result=True,
    task_acks_late=True,
    task_default_queue="mail",
    broker_connection_retry_on_startup=True,
    **{"beat_max_loop_interval": 1, **json.loads(os.environ["SETTINGS"])},
)


@application.task(name="parcels.note")
def note(name):
    (folder / name).touch()


@application.task(name="parcels.hold", rate_limit=os.environ.get("RATE"))
def hold(name, seconds):
    (folder / name).touch()
    time.sleep(seconds)


@application.task(name="parcels.again")
def again(name, seconds):
    again.apply_async(args=[name, seconds], queue="mail")
    hold(name, seconds)


@application.task(name="parcels.tick")
def tick():
    pass


@control_command()
def stand_still(state):
    '''Take no message any more, and say nothing of it.'''
    state.consumer.task_consumer.channel.qos.can_consume = lambda: False


class Sometimes(schedule):
    '''Every second; while there is a file, its look at the clock does not end.'''

    def is_due(self, last_run_at):
        if (folder / "hang").exists():
            (folder / "hanging").touch()
            time.sleep(600)
        return super().is_due(last_run_at)


application.conf.beat_schedule = {"tick": {"task": "parcels.tick", "schedule": Sometimes(1)}}
"""
# systemd lies outside: its answers stand in a file.
WATCH = """
import json, subprocess, sys
from pathlib import Path
files, folder = sys.argv[1:3]
del sys.argv[1:3]
sys.path.insert(0, files)
import stockpot_units, watch

def states(units):
    try:
        known = json.loads(Path(folder, "states.json").read_text())
    except FileNotFoundError:
        raise subprocess.CalledProcessError(1, "systemctl")
    return {unit: stockpot_units.State(*known.get(unit, ["inactive"])) for unit in units}

stockpot_units.states = states
watch.MARKS = Path(folder, "marks")
watch.main()
"""


def virtualenv(folder: Path, *requirements: str) -> Path:
    """A virtualenv with what is required."""
    uv = (find_uv_bin(), "--quiet")
    subprocess.run([*uv, "venv", f"--python={sys.executable}", str(folder)], check=True)
    subprocess.run([*uv, "pip", "install", f"--python={folder}/bin/python", *requirements], check=True)
    return folder


def until(condition: Callable[[], Any], what: Callable[[], str]) -> Any:
    """Waits until a condition holds, and gives what it gave."""
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)
    return found


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Redis:
    """A Redis of one's own, whose data stand in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.folder.mkdir()
        self.start()

    def start(self) -> None:
        """Returns when it answers."""
        options = ["--port", str(self.port), "--dir", str(self.folder), "--enable-protected-configs", "yes"]
        log = (self.folder.parent / "redis.log").open("a")
        self.process = subprocess.Popen(
            ["redis-server", *options, "--save", "", "--appendonly", "yes"], stdout=log, stderr=log
        )
        until(lambda: self.cli("PING").stdout.strip() == "PONG", lambda: (self.folder.parent / "redis.log").read_text())

    def stop(self) -> None:
        """At once; what it has is on its disk."""
        self.process.kill()
        self.process.wait()

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What redis-cli says."""
        return subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True, check=False)


class Sentinel:
    """Says which of two servers is the primary, by that name; the second one becomes the first one's replica."""

    def __init__(self, folder: Path, port: int, first: Redis, second: Redis) -> None:
        self.port, self.second = port, second
        second.cli("REPLICAOF", "127.0.0.1", str(first.port))
        folder.mkdir()
        configuration = folder / "sentinel.conf"
        lines = [f"port {port}", f"dir {folder}", f"sentinel monitor primary 127.0.0.1 {first.port} 1"]
        configuration.write_text(
            "\n".join(
                [*lines, "sentinel down-after-milliseconds primary 1000", "sentinel failover-timeout primary 10000", ""]
            )
        )
        command = ["redis-server", str(configuration), "--sentinel", "--logfile", str(folder.parent / "sentinel.log")]
        self.process = subprocess.Popen(command)
        until(lambda: "slave\n" in self._ask("REPLICAS", "primary"), lambda: self._ask("REPLICAS", "primary"))

    def __enter__(self) -> Sentinel:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    def names_the_second(self) -> bool:
        """Whether that one is the primary."""
        return str(self.second.port) in self._ask("GET-MASTER-ADDR-BY-NAME", "primary").split()

    def _ask(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(self.port), "SENTINEL", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout


class Relay:
    """A way to Redis that can be made to swallow what is sent on it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"redis://127.0.0.1:{self.listener.getsockname()[1]}/1"
        self.port = 0
        self._swallowing: set[socket.socket] = set()
        self._open: list[socket.socket] = []

    def __enter__(self) -> Relay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        for one in [self.listener, *self._open]:
            one.close()

    def swallow(self) -> None:
        """From now on nothing passes on what is connected; new connections are not concerned."""
        self._swallowing.update(self._open)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = self.listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.port))
                except ConnectionRefusedError:
                    near.close()
                    continue
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source not in self._swallowing:
                    target.sendall(data)
            for one in (source, target):
                one.shutdown(socket.SHUT_RDWR)


class Host:
    """The processes of one host. What ends is started again at once.

    Args:
        folder: empty.
        venv: with the Celery to use.
        workers: as `celery_workers`.
        broker: the workers' way to Redis; the watch has its own.
        settings: of the project's app.
        changes: further arguments of the role celery.
    """

    def __init__(
        self,
        folder: Path,
        venv: Path,
        workers: list[dict[str, Any]],
        *,
        version: str = "5.7.0",
        settings: Mapping[str, Any] | None = None,
        broker: str = "",
        environment: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> None:
        self.folder = folder
        for name in ("source", "marks"):
            (folder / name).mkdir()
        (folder / "venv").symlink_to(venv)
        (folder / "source/parcels.py").write_text(PROJECT)
        self.redis = Redis(folder / "redis")
        self.broker = f"redis://127.0.0.1:{self.redis.port}/1"
        self.environment = {
            **os.environ,
            "FOLDER": str(folder),
            "BROKER": self.broker,
            "SETTINGS": json.dumps(settings or {}),
            **(environment or {}),
        }
        variables = {
            "celery_application": "parcels",
            "celery_app": "parcels:application",
            "celery_version": version,
            "celery_release_path": str(folder),
            "celery_user": "parcels",
            "celery_state_directory": "",
            "celery_environment_file": "/etc/parcels/environment",
            "celery_workers": workers,
            "celery_beat_scheduler": "celery.beat:PersistentScheduler",
            "celery_watch_metrics_file": str(folder / "watch.prom"),
            "inventory_hostname": "one",
            **changes,
        }
        given, problems = collect("celery", variables, DataLoader())
        assert problems == []
        self.definitions = {f"parcels-{one['name']}.service": one for one in processes.celery(given)}
        (watch,) = [unit for unit in self.definitions if unit.endswith("-watch.service")]
        self.config = json.loads(self.definitions.pop(watch)["command"][-1])
        # A server's.
        self.times = {name: self.config[name] for name in TIMES}
        self.config |= TIMES
        self.own_broker = broker
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.restarts: dict[str, int] = {}
        self.others: list[subprocess.Popen[bytes]] = []
        self.watch: subprocess.Popen[bytes] | None = None
        self._is_over = threading.Event()
        self._manager = threading.Thread(target=self._manage, daemon=True)

    def start(self, **times: float) -> None:
        """Everything; returns when the workers consume and the watch has seen them."""
        for unit in self.definitions:
            self._run(unit)
        self._write_states()
        self._manager.start()
        for queue in {queue for worker in self.config["workers"] for queue in worker["queues"]}:
            self.consumes(queue)
        self.start_watch(**times)

    def start_watch(self, **times: float) -> None:
        """The watch; returns when it has looked."""
        config = json.dumps(self.config | times)
        self.watch = subprocess.Popen(
            [*self.python("-c", WATCH), str(FILES), str(self.folder), config],
            cwd=self.folder / "source",
            env=self.environment,
            stderr=(self.folder / "watch.log").open("a"),
        )
        until(lambda: 'celery_watch_broker_up{application="parcels"} 1' in self.metrics(), self.logs)

    def python(self, *words: str) -> list[str]:
        """A command of the release's Python."""
        return [str(self.folder / "venv/bin/python"), *words]

    def pid(self, name: str) -> int:
        """The main process of a worker or of Beat, by the name of its definition."""
        return self.running[f"parcels-{name}.service"].pid

    def send(self, task: str, *args: Any, queue: str = "mail", **options: Any) -> None:
        """A task."""
        code = (
            "import json, sys; sys.path.insert(0, ''); from parcels import application; task, args, options = json.loads(sys.argv[1]); "
            "application.send_task('parcels.' + task, args=args, **options)"
        )
        words = self.python("-c", code, json.dumps([task, args, {"queue": queue, **options}]))
        subprocess.run(words, cwd=self.folder / "source", env=self.environment, check=True)

    def control(self, command: str, **arguments: Any) -> None:
        """Tells the workers something."""
        code = (
            "import json, sys; sys.path.insert(0, ''); from parcels import application; command, arguments = json.loads(sys.argv[1]); "
            "assert application.control.broadcast(command, arguments=arguments, reply=True, timeout=5)"
        )
        words = self.python("-c", code, json.dumps([command, arguments]))
        subprocess.run(words, cwd=self.folder / "source", env=self.environment, check=True)

    def by_hand(self, *words: str, app: str = "parcels:application") -> subprocess.Popen[bytes]:
        """A celery command that no process manager knows of."""
        (self.folder / "source/others.py").write_text("from parcels import application as app\n")
        log = (self.folder / "by-hand.log").open("a")
        command = self.python("-m", "celery", "-A", app, *words)
        process = subprocess.Popen(
            command, cwd=self.folder / "source", env=self.environment, stdout=log, stderr=log, process_group=0
        )
        self.others.append(process)
        return process

    def hang_states(self) -> None:
        """systemd no longer answers, and never says no."""
        (self.folder / "states.json").unlink()
        os.mkfifo(self.folder / "states.json")

    def refuse_states(self) -> str:
        """systemd says no; what it would have said."""
        known = (self.folder / "states.json").read_text()
        (self.folder / "states.json").unlink()
        return known

    def has(self, name: str) -> bool:
        """Whether a task has left its mark."""
        return (self.folder / name).exists()

    def consumes(self, queue: str = "mail") -> None:
        """Waits until a task that was sent through a queue has run."""
        name = uuid.uuid4().hex
        self.send("note", name, queue=queue)
        until(lambda: self.has(name), self.logs)

    def says(self, *words: str) -> None:
        """Waits until one line of the watch has all these words: it acts first and says so then."""
        log = self.folder / "watch.log"
        until(lambda: any(all(word in line for word in words) for line in log.read_text().splitlines()), self.logs)

    def metrics(self) -> str:
        """The watch's counters."""
        path = self.folder / "watch.prom"
        return path.read_text() if path.exists() else ""

    def looks(self, count: int) -> None:
        """Waits for so many looks of the watch."""
        for _ in range(count):
            seen = (self.folder / "watch.prom").stat().st_ino
            until(lambda seen=seen: (self.folder / "watch.prom").stat().st_ino != seen, self.logs)

    def logs(self) -> str:
        """What everything has written."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-6000:]}" for path in self.folder.glob("*.log"))

    def stop(self) -> None:
        """Everything."""
        self._is_over.set()
        if self._manager.is_alive():
            self._manager.join()
        for process in [*self.running.values(), *self.others, *([self.watch] if self.watch else [])]:
            if process.poll() is None:
                (os.kill if process is self.watch else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
        self.redis.stop()
        shutil.rmtree(self.redis.folder, ignore_errors=True)

    def _run(self, unit: str) -> None:
        definition = self.definitions[unit]
        log = (self.folder / f"{definition['name']}.log").open("a")
        environment = {**self.environment, **({"BROKER": self.own_broker} if self.own_broker else {})}
        self.running[unit] = subprocess.Popen(
            definition["command"],
            cwd=definition["directory"],
            env=environment,
            stdout=log,
            stderr=log,
            process_group=0,
        )
        self.restarts[unit] = self.restarts.get(unit, -1) + 1

    def _manage(self) -> None:
        while not self._is_over.wait(0.05):
            ended = [unit for unit, process in self.running.items() if process.poll() is not None]
            for unit in ended:
                self._run(unit)
            if ended:
                self._write_states()

    def _write_states(self) -> None:
        states = {unit: ("active", process.pid, self.restarts[unit]) for unit, process in self.running.items()}
        (self.folder / "states.new").write_text(json.dumps(states))
        (self.folder / "states.new").replace(self.folder / "states.json")
