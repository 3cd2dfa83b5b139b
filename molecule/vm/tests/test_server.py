"""What only a server of its own shows: a kernel's settings, limits that are enforced, a real reboot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import managed
import pytest
from shop import WORKERS, Shop
from testinfra.host import Host

NAMES = tuple(
    f"stockpot-{name}" for name in (*(f"worker-{worker}" for worker in WORKERS), "beat", "flower", "web", "gateway")
)
FLOWER, REPORTS = "stockpot-flower", "stockpot-worker-reports"
KILLED = "killed by the OOM killer"
Wait = Callable[..., Any]


@pytest.fixture
def shop(host_name: str, published: Callable[[str, int], tuple[str, int]]) -> Shop:
    """The site of the host under test."""
    return Shop(f"https://localhost:{published(host_name, 443)[1]}")


def kernel_kills(host: Host) -> dict[str, int]:
    """How often the kernel has ended a process of each service for its memory."""
    units = zip(NAMES, managed.units(host, NAMES), strict=True)
    return {name: host.check_output(f"journalctl --no-pager -u {unit} -o cat").count(KILLED) for name, unit in units}


def test_redis_starts_without_a_warning(host: Host) -> None:
    """The kernel promises more memory than there is, now and after a boot."""
    assert host.check_output("cat /proc/sys/vm/overcommit_memory") == "1"
    host.check_output("systemctl restart redis-server")
    log = host.check_output("cat /var/log/redis/redis-server.log").rpartition("Redis is starting")[2]
    assert "Ready to accept connections" in log
    assert "WARNING" not in log


def test_services_are_confined(host: Host, exposure: Callable[[str], float]) -> None:
    """By systemd's own measure, on a kernel of their own; a program of supervisor's has its limits from a scope, and no confinement."""
    version = host.check_output("ls /etc/postgresql")
    most = {"nginx": 3.5, "redis-server": 2.0, f"postgresql@{version}-main": 2.5}
    by_supervisor = managed.programs(host, NAMES)
    most |= {name: 2.0 for name in NAMES if name not in by_supervisor}
    found = {unit: exposure(unit) for unit in most}
    assert {unit: measured for unit, measured in found.items() if measured > most[unit]} == {}


def test_a_memory_limit_kills_one_process_alone(host: Host, wait_until: Wait) -> None:
    """The one that is over it, again and again; with room again it is back."""
    kills = kernel_kills(host)
    before = managed.main_pids(host, [FLOWER])
    (unit,) = managed.units(host, [FLOWER])
    host.check_output(f"systemctl set-property --runtime {unit} MemoryMax=12M MemorySwapMax=0")
    wait_until(lambda: kernel_kills(host)[FLOWER] > kills[FLOWER], timeout=180)
    # A scope is gone with its process; the next one has the limit that is configured.
    if unit.endswith(".service"):
        host.check_output(f"systemctl set-property --runtime {unit} MemoryMax=512M")
    wait_until(lambda: managed.all_run(host, NAMES), timeout=180)
    assert managed.main_pids(host, [FLOWER]) != before
    assert {name for name, number in kernel_kills(host).items() if number > kills[name]} == {FLOWER}


# Read by every Python of the release as it starts; the worker that reads it has reports that want all memory there is.
GREEDY = """
from celery.signals import task_prerun

@task_prerun.connect(weak=False)
def eat(task, **kwargs):
    hoard = []
    while task.name == "analytics.tasks.generate_reports":
        hoard.append(b"x" * 2**20)
"""
ASK_FOR_A_REPORT = """
import datetime, django
django.setup()
from analytics.models import Report
from core import outbox
from django.contrib.auth.models import User
report = Report.objects.create(owner=User.objects.get(username="admin"), first_day=datetime.date.today(), days=1)
outbox.send(report)
print(report.pk)
"""
SHOW_THE_REPORT = """
import json, sys, django
django.setup()
from analytics.models import Report
from core.models import TaskRun
report = Report.objects.get(pk=sys.argv[1])
runs = TaskRun.objects.filter(name=Report.task, worker__startswith="reports@").order_by("-finished_at", "-retries")
print(json.dumps([report.state, report.error, [run.state for run in runs[:4]]]))
"""


@pytest.fixture
def greedy_reports(host: Host) -> Iterator[None]:
    """The worker of the reports, whose tasks want all memory there is."""
    folder = application(host, "import sysconfig; print(sysconfig.get_path('purelib'))")
    host.check_output(f"printf %s > {folder}/greedy.py", GREEDY)
    host.check_output(f"echo import greedy > {folder}/greedy.pth")
    managed.control(host, "restart", [REPORTS])
    yield
    host.check_output(f"rm {folder}/greedy.py {folder}/greedy.pth")
    managed.control(host, "restart", [REPORTS])


def application(host: Host, code: str, *arguments: object) -> str:
    """What a few lines print in the application's environment."""
    return host.check_output("stockpot-python -c %s %s", code, " ".join(map(str, arguments))).strip()


@pytest.mark.usefixtures("greedy_reports")
def test_a_task_that_wants_more_memory_than_its_worker_has_ends_and_needs_attention(
    host: Host, shop: Shop, wait_until: Wait
) -> None:
    """The kernel kills the child alone, each time; the worker goes on, and after the last attempt the row says why."""
    before = managed.main_pids(host, [REPORTS])
    kills = kernel_kills(host)
    report = application(host, ASK_FOR_A_REPORT)

    def outcome() -> Any:
        found = json.loads(application(host, SHOW_THE_REPORT, report))
        return found if found[0] == "needs_attention" else None

    _, reason, attempts = wait_until(outcome, timeout=900)
    assert "WorkerLostError" in reason
    assert "signal 9 (SIGKILL)" in reason
    assert attempts == ["FAILURE", "RETRY", "RETRY", "RETRY"]
    assert kernel_kills(host) == {**kills, REPORTS: kills[REPORTS] + len(attempts)}
    assert managed.main_pids(host, [REPORTS]) == before
    order = shop.order()
    assert wait_until(lambda: shop.state(order) == "paid", timeout=180)


def test_everything_serves_after_a_reboot(
    host: Host, host_name: str, shop: Shop, lab_restart: Callable[[str], None], wait_until: Wait
) -> None:
    """An order from before is there, one placed after is paid, and no unit failed."""
    before = shop.order()
    assert wait_until(lambda: shop.state(before) == "paid", timeout=180)
    lab_restart(host_name)
    wait_until(lambda: shop.get("/readyz").status_code == 200, timeout=600)
    assert shop.state(before) == "paid"
    after = shop.order()
    # An emulated processor takes minutes to start all workers.
    assert wait_until(lambda: shop.state(after) == "paid", timeout=600)
    assert host.check_output("systemctl --failed --no-legend") == ""
    assert host.check_output("cat /proc/sys/vm/overcommit_memory") == "1"
