"""Another list of workers restarts those that are others now; one that is gone ends its tasks first."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_celery import press, printed
from testinfra.host import Host

WORKERS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).parents[1].joinpath("vars/main.yml").read_text())[
    "celery_workers"
]


def changed() -> list[dict[str, Any]]:
    """Without hasty; pages is on another host, threads has another name, letters another size, whole another number."""
    own = {worker["name"]: dict(worker) for worker in WORKERS if worker["name"] != "hasty"}
    own["pages"]["hosts"] = ["no-such-host"]
    own["threads"]["name"] = "strings"
    own["letters"]["concurrency"] = 1
    own["whole"]["instances"] = 1
    # Its tasks have to have a worker on this host still.
    own["solo"]["queues"] = ["solo", "pages"]
    return list(own.values())


def main_pids(host: Host) -> dict[str, str]:
    """The main process of each of the project's units, by the unit."""
    units = host.check_output("systemctl list-units --plain --no-legend 'press-*.service'").splitlines()
    names = [line.split()[0].removeprefix("press-").removesuffix(".service") for line in units]
    shown = host.check_output("systemctl show -P MainPID " + " ".join(f"press-{name}.service" for name in names))
    return dict(zip(names, shown.split(), strict=True))


@pytest.mark.long
def test_a_list_without_a_queue_that_the_app_sends_to_is_refused_before_anything_changes(
    host: Host, host_name: str, converge_again: Callable[..., Any]
) -> None:
    """The app itself is asked; nothing is restarted, nothing written."""
    fewer = [worker for worker in WORKERS if worker["name"] != "pages"]
    look = "find /etc/systemd/system /etc/press -type f -printf '%p %T@\\n' | sort"
    before, files = main_pids(host), host.check_output(look)
    refused = converge_again("-e", json.dumps({"celery_workers": fewer}), limit=host_name)
    assert refused.returncode != 0
    said = " ".join(refused.stdout.split())
    assert "no worker consumes the queue 'pages' (the task press.page goes there)" in said
    assert main_pids(host) == before
    assert host.check_output(look) == files
    allowed = {"celery_workers": fewer, "celery_foreign_queues": ["pages"]}
    assert converge_again("--check", "-e", json.dumps(allowed), limit=host_name).returncode == 0


@pytest.fixture(scope="module")
def run(
    host: Host, host_name: str, converge_again: Callable[..., Any], wait_until: Callable[..., Any]
) -> dict[str, Any]:
    """A run with the changed list, while a worker that is to go and one that is to move have a task; then one with the list as it was."""
    # Other tests may have written what they read.
    assert converge_again(limit=host_name).returncode == 0
    tasks = {queue: uuid.uuid4().hex for queue in ("pages", "threads")}
    for queue, name in tasks.items():
        press(host, f"page.apply_async(args=['{name}', 40], queue='{queue}')")
    wait_until(lambda: all(printed(host, name) == ["begin"] for name in tasks.values()))
    before = main_pids(host)
    changes = {"celery_workers": changed()}
    done = converge_again("-e", json.dumps(changes), limit=host_name)
    after = main_pids(host)
    printed_then = {queue: printed(host, name) for queue, name in tasks.items()}
    again = converge_again("-e", json.dumps(changes), limit=host_name)
    still = main_pids(host)
    back = converge_again(limit=host_name)
    return {
        "before": before,
        "done": done,
        "after": after,
        "printed": printed_then,
        "again": again,
        "still": still,
        "back": back,
        "finally": main_pids(host),
    }


@pytest.mark.long
def test_only_what_has_changed_restarts(run: dict[str, Any]) -> None:
    assert run["done"].returncode == 0, run["done"].stdout
    before, after = run["before"], run["after"]
    gone = {"worker-hasty", "worker-pages", "worker-threads", "worker-whole-1", "worker-whole-2"}
    assert set(before) - set(after) == gone
    assert set(after) - set(before) == {"worker-strings", "worker-whole"}
    kept = set(before) & set(after)
    assert {name for name in kept if before[name] != after[name]} == {"watch", "worker-letters", "worker-solo"}
    assert "0" not in after.values()


@pytest.mark.long
def test_a_worker_that_goes_ends_its_tasks_first(run: dict[str, Any]) -> None:
    """A warm shutdown: nothing is cut, nothing runs twice."""
    assert run["printed"] == {"pages": ["begin", "end"], "threads": ["begin", "end"]}


@pytest.mark.long
def test_the_same_list_again_changes_nothing(run: dict[str, Any]) -> None:
    assert run["again"].returncode == 0, run["again"].stdout
    assert "changed=0" in run["again"].stdout
    assert run["still"] == run["after"]


@pytest.mark.long
def test_nothing_is_left_of_what_went(host: Host, run: dict[str, Any]) -> None:
    """Nor of what came, once the list is as it was."""
    assert run["back"].returncode == 0, run["back"].stdout
    assert set(run["finally"]) == set(run["before"])
    left = host.check_output(
        "find /etc/systemd/system /etc/press/processes -name '*strings*' -o -name '*worker-whole.*'"
    )
    assert left == ""
    assert {name for name in run["finally"] if run["finally"][name] == run["before"][name]} >= {"beat", "worker-green"}
