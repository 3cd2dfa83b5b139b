"""Workers, Beat and the canary as the roles run them, with the oldest Celery that is served, some between and the newest.

Projects of the time: old-style settings in capitals, an app by another name, no result backend.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.plugin_utils import processes
from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import collect
from packaging.version import Version
from uv import find_uv_bin

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("5.2.7", "5.4.0", "5.6.3", "5.7.0")
WORKERS = [{"name": "mail", "queues": ["mail", "sms"], "concurrency": 1, "time_limit": 60, "soft_time_limit": 30}]
PROJECT = """
import os
import time
from pathlib import Path
from celery import Celery

folder = Path(os.environ["FOLDER"])
application = Celery("parcels")


class Configuration:
    BROKER_URL = os.environ["BROKER"]
    CELERY_DEFAULT_QUEUE = "mail"
    CELERY_ROUTES = {"parcels.tick": {"queue": "sms"}}
    CELERYBEAT_SCHEDULE = {"tick": {"task": "parcels.tick", "schedule": 1}}
    if results := os.environ.get("RESULTS"):
        CELERY_RESULT_BACKEND = results


application.config_from_object(Configuration)


@application.task(name="parcels.tick")
def tick():
    (folder / "ticked").touch()


@application.task(name="parcels.hold")
def hold(name):
    while not (folder / name).exists():
        time.sleep(0.1)
"""
ORDERS = """
import re
from celery import Celery, shared_task

app = Celery("orders", broker="redis://broker.invalid:6379/0")


def by_function(name, args, kwargs, options, task=None, **kw):
    return {"queue": "by_function"} if name == "orders.ship" else None


app.conf.update(
    task_default_queue="plain",
    task_routes=([("orders.pay", {"queue": "by_name"}), (re.compile("^mail[.]"), "by_pattern")], by_function),
    task_acks_late=True,
    task_time_limit=600,
    broker_transport_options={"visibility_timeout": 7200, "retry_on_timeout": True},
)


@app.task(name="orders.pay")
def pay():
    pass


@app.task(name="orders.print", queue="by_itself", time_limit=5000, acks_late=False)
def print_order():
    print("noise")


@app.task(name="orders.ship")
def ship():
    pass


@shared_task(name="orders.rest")
def rest():
    pass


print("more noise")
"""
# systemd lies outside: its answers are given.
LOOK = """
import json, sys
sys.path.insert(0, sys.argv.pop(1))
import canary, stockpot_units
states = {unit: stockpot_units.State(*state) for unit, state in json.loads(sys.argv.pop()).items()}
stockpot_units.states = lambda units: {unit: states[unit] for unit in units}
canary.main()
"""


class Release:
    """A release with one version of Celery, and what runs of it."""

    def __init__(self, folder: Path, version: str, environment: dict[str, str]) -> None:
        self.folder, self.running = folder, {}
        self.environment = {**os.environ, "FOLDER": str(folder), **environment}
        variables = {
            "celery_application": "parcels",
            "celery_app": "parcels:application",
            "celery_version": version,
            "celery_release_path": str(folder),
            "celery_user": "parcels",
            "celery_state_directory": "",
            "celery_environment_file": "/etc/parcels/environment",
            "celery_workers": WORKERS,
            "celery_beat": True,
            "celery_beat_scheduler": "",
            # Has tests of its own.
            "celery_watch": False,
            "inventory_hostname": "one",
        }
        self.given, problems = collect("celery", variables, DataLoader())
        assert problems == []
        self.definitions = processes.celery(self.given)

    def start(self) -> None:
        """What process_manager would run."""
        for definition in self.definitions:
            log = (self.folder / f"{definition['name']}.log").open("w")
            self.running[f"parcels-{definition['name']}.service"] = subprocess.Popen(
                definition["command"], cwd=definition["directory"], env=self.environment, stdout=log, stderr=log
            )

    def stop(self) -> None:
        """As systemd does."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(timeout=30)
            finally:
                process.kill()

    def canary(self, timeout: int = 30) -> subprocess.CompletedProcess[str]:
        """What it says."""
        states = {
            unit: ("failed" if process.poll() is not None else "active", process.pid)
            for unit, process in self.running.items()
        }
        config = processes.celery_canary(self.definitions, WORKERS, {}, "parcels")
        config |= {"app": "parcels:application", "routed_queues": [], "foreign_queues": [], "timeout": timeout}
        return subprocess.run(
            [
                *self.python("-c", LOOK),
                str(ROOT / "roles/celery/files"),
                json.dumps(config),
                json.dumps(states),
            ],
            cwd=self.folder / "source",
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def python(self, *words: str) -> list[str]:
        """A command of the release's Python."""
        return [str(self.folder / "venv/bin/python"), *words]

    def logs(self) -> str:
        """What everything has written."""
        return "\n".join(path.read_text() for path in self.folder.glob("*.log"))


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Virtualenvs with a version of Celery, each made once."""
    made: dict[str, Path] = {}

    def make(version: str) -> Path:
        if version not in made:
            folder = tmp_path_factory.mktemp("celery") / "venv"
            uv = (find_uv_bin(), "--quiet")
            subprocess.run([*uv, "venv", f"--python={sys.executable}", str(folder)], check=True)
            # A kombu of its time: a later one wants another redis-py than celery[redis] has.
            kombu = "kombu<5.6" if version < "5.6" else "kombu"
            packages = (f"celery[redis]=={version}", kombu, "packaging")
            subprocess.run((*uv, "pip", "install", f"--python={folder}/bin/python", *packages), check=True)
            made[version] = folder
        return made[version]

    return make


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis of the test's own."""
    socket = tmp_path / "redis.sock"
    options = ("--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path))
    server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not socket.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield f"redis+socket://{socket}"
    server.terminate()
    server.wait(timeout=30)


@pytest.fixture
def release(tmp_path: Path, environments: Callable[[str], Path], redis: str) -> Iterator[Callable[..., Release]]:
    """Starts a release with a version of Celery; all of it ends with the test."""
    made: list[Release] = []

    def make(version: str, **environment: str) -> Release:
        (tmp_path / "source").mkdir()
        (tmp_path / "venv").symlink_to(environments(version))
        (tmp_path / "source/parcels.py").write_text(PROJECT)
        made.append(Release(tmp_path, version, {"BROKER": redis, **environment}))
        made[0].start()
        return made[0]

    yield make
    for one in made:
        one.stop()


def ticked(release: Release) -> None:
    """Wait until Beat has sent a task and the worker has run it."""
    deadline = time.monotonic() + 60
    while not (release.folder / "ticked").exists():
        assert time.monotonic() < deadline, release.logs()
        time.sleep(0.1)


@pytest.mark.parametrize("version", VERSIONS)
def test_workers_and_beat_run_and_the_canary_proves_each_queue_without_results(
    release: Callable[..., Release], version: str
) -> None:
    running = release(version)
    ticked(running)
    said = running.canary()
    assert said.returncode == 0, said.stdout + said.stderr + running.logs()
    for queue in ("mail", "sms"):
        assert f"The queue {queue}: taken in " in said.stdout
    assert "No such option" not in running.logs()


def test_results_come_back_where_the_project_keeps_them(release: Callable[..., Release], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    running = release(VERSIONS[0], RESULTS=f"file://{tmp_path}/results")
    ticked(running)
    said = running.canary()
    assert said.returncode == 0, said.stdout + said.stderr + running.logs()
    assert "The queue mail: there and back in " in said.stdout


def test_a_worker_that_takes_nothing_is_found_without_results_too(release: Callable[..., Release]) -> None:
    """It answers what it is asked, but its child hangs."""
    running = release(VERSIONS[-1])
    ticked(running)
    worker = running.running["parcels-worker-mail.service"]
    children = [int(pid) for pid in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()]

    def hangs_between_two_tasks() -> bool:
        """One that hangs within a task is busy, as far as anybody can tell."""
        for child in children:
            os.kill(child, signal.SIGSTOP)
        if (seen := ask(running)) and not seen["tasks"]:
            return True
        for child in children:
            os.kill(child, signal.SIGCONT)
        return False

    until(hangs_between_two_tasks, running)
    try:
        said = running.canary(timeout=10)
    finally:
        for child in children:
            os.kill(child, signal.SIGCONT)
    assert said.returncode == 1, said.stdout
    assert "A task sent through the queue mail did not come back" in said.stdout


def ask(release: Release, *, cancel: bool = False) -> dict[str, Any]:
    """What the worker says that it does."""
    config = {"app": "parcels:application", "workers": ["mail"], "cancel": ["mail"] if cancel else []}
    program = (ROOT / "roles/celery/files/ask_workers.py").read_text()
    done = subprocess.run(
        release.python("-", json.dumps(config)),
        input=program,
        cwd=release.folder / "source",
        env=release.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout).get("mail", {})


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_a_worker_says_what_it_does_and_takes_no_more_once_it_is_told(
    release: Callable[..., Release], version: str
) -> None:
    """One task runs, one is taken ahead, one has its time; what comes later stays where it is."""
    running = release(version)
    ticked(running)
    running.running.pop("parcels-beat.service").kill()
    send = (
        "import sys; sys.path.insert(0, ''); from parcels import hold; hold.apply_async(args=['third'], countdown=3600); "
        "[hold.delay(name) for name in ('first', 'second')]"
    )
    subprocess.run(running.python("-c", send), cwd=running.folder / "source", env=running.environment, check=True)
    found = until(
        lambda: (seen := ask(running)) and seen["tasks"] and seen["waiting"] and seen["scheduled"] and seen, running
    )
    (task,) = found["tasks"]
    assert (task["name"], task["acknowledged"]) == ("parcels.hold", True)
    assert (found["waiting"], found["scheduled"], sorted(found["queues"])) == (1, 1, ["mail", "sms"])
    until(lambda: ask(running, cancel=True).get("queues") == [], running)
    subprocess.run(running.python("-c", send), cwd=running.folder / "source", env=running.environment, check=True)
    for name in ("first", "second"):
        (running.folder / name).touch()
    until(lambda: (seen := ask(running)) and not seen["tasks"] and not seen["waiting"], running)
    count = (
        "import os, redis; print(redis.Redis(unix_socket_path=os.environ['BROKER'].partition('://')[2]).llen('mail'))"
    )
    left = subprocess.run(
        running.python("-c", count), env=running.environment, check=True, capture_output=True, text=True
    )
    assert left.stdout.strip() == "3"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_app_says_where_its_tasks_go_and_how_long_they_may_take(
    tmp_path: Path, environments: Callable[[str], Path], version: str
) -> None:
    """Without a broker that answers; by each kind of route, by old names and new ones."""
    (tmp_path / "orders.py").write_text(ORDERS)
    done = subprocess.run(
        [str(environments(version) / "bin/python"), "-", json.dumps({"app": "orders"})],
        input=(ROOT / "roles/celery/files/stockpot_app.py").read_text(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout)
    assert facts.pop("queues") == {
        "plain": "the app's task_default_queue",
        "by_name": "the task orders.pay goes there",
        "by_itself": "the task orders.print goes there",
        "by_pattern": "task_routes sends ^mail[.] there",
        "by_function": "the task orders.ship goes there",
    }
    # From 5.7 on it is the tasks' own.
    common = 600 if version.startswith("5.7") else None
    late = {"time_limit": common, "soft_time_limit": None, "acks_late": True, "priority": None}
    assert facts.pop("tasks") == [
        {"name": "orders.pay", "queue": "by_name", **late},
        {
            "name": "orders.print",
            "queue": "by_itself",
            "time_limit": 5000,
            "soft_time_limit": None,
            "acks_late": False,
            "priority": None,
        },
        {"name": "orders.rest", "queue": "plain", **late},
        {"name": "orders.ship", "queue": "by_function", **late},
    ]
    assert facts.pop("celery").startswith(version[:3])
    # Of RabbitMQ.
    assert facts.pop("detects_quorum_queues") is (Version(version) >= Version("5.5"))
    assert (facts.pop("quorum_queues"), facts.pop("priority_queues")) == ([], [])
    limits = {"time_limit": 600, "soft_time_limit": None}
    given = {"broker": "redis", "broker_is_known": True, "visibility_timeout": 7200, "retry_on_timeout": True}
    assert facts == {**limits, **given}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "raise RuntimeError('redis://celery:hunter2@broker:6379 is down')",
            "redis://celery:********@broker:6379 is down",
        ),
    ],
)
def test_an_app_that_cannot_be_loaded_says_why_without_a_password(
    tmp_path: Path, environments: Callable[[str], Path], source: str, said: str
) -> None:
    (tmp_path / "orders.py").write_text(source)
    done = subprocess.run(
        [str(environments(VERSIONS[-1]) / "bin/python"), "-", json.dumps({"app": "orders"})],
        input=(ROOT / "roles/celery/files/stockpot_app.py").read_text(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert said in done.stdout


def until(look: Callable[[], Any], release: Release) -> Any:
    """What a look returns once that is true."""
    deadline = time.monotonic() + 60
    while not (found := look()):
        assert time.monotonic() < deadline, release.logs()
        time.sleep(0.1)
    return found
