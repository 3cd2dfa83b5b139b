"""What only a server of its own shows: a kernel's settings, limits that are enforced, a real reboot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from shop import WORKERS, Shop
from testinfra.host import Host

PROCESSES = (*(f"worker-{name}" for name in WORKERS), "beat", "flower", "web", "gateway")
Wait = Callable[..., Any]


@pytest.fixture
def shop(host_name: str, published: Callable[[str, int], tuple[str, int]]) -> Shop:
    """The site of the host under test."""
    return Shop(f"https://localhost:{published(host_name, 443)[1]}")


def main_pids(host: Host) -> dict[str, str]:
    """The main process of each of the application's services."""
    names = [f"stockpot-{name}.service" for name in PROCESSES]
    shown = host.check_output("systemctl show --property=MainPID --value " + " ".join(names))
    return dict(zip(names, shown.split(), strict=True))


def test_redis_starts_without_a_warning(host: Host) -> None:
    """The kernel promises more memory than there is, now and after a boot."""
    assert host.check_output("cat /proc/sys/vm/overcommit_memory") == "1"
    host.check_output("systemctl restart redis-server")
    log = host.check_output("cat /var/log/redis/redis-server.log").rpartition("Redis is starting")[2]
    assert "Ready to accept connections" in log
    assert "WARNING" not in log


# The version is Debian's.
CONFINED = (
    *((f"stockpot-{name}", 2.0) for name in PROCESSES),
    ("nginx", 3.5),
    ("redis-server", 2.0),
    ("postgresql@{}-main", 2.5),
)


@pytest.mark.parametrize(("unit", "most"), CONFINED)
def test_services_are_confined(host: Host, exposure: Callable[[str], float], unit: str, most: float) -> None:
    """By systemd's own measure, on a kernel of their own."""
    assert exposure(unit.format(host.check_output("ls /etc/postgresql"))) <= most


def test_a_memory_limit_kills_one_process_alone(host: Host, wait_until: Wait) -> None:
    """The one that is over it, again and again; with room again it is back."""
    before = main_pids(host)
    unit = "stockpot-flower.service"
    host.check_output(f"systemctl set-property --runtime {unit} MemoryMax=12M MemorySwapMax=0")
    killed = "killed by the OOM killer"
    wait_until(lambda: killed in host.check_output(f"journalctl --no-pager -u {unit} -o cat"), timeout=180)
    host.check_output(f"systemctl set-property --runtime {unit} MemoryMax=512M")

    def is_back() -> bool:
        now = main_pids(host)
        return now[unit] not in ("0", before[unit]) and host.service("stockpot-flower").is_running

    wait_until(is_back, timeout=180)
    after = main_pids(host)
    assert {name: pid for name, pid in after.items() if name != unit} == {
        name: pid for name, pid in before.items() if name != unit
    }


# Read by every Python that finds it: here by a worker, whose reports then want all memory there is.
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
    unit = "stockpot-worker-reports.service"
    drop_in = f"/run/systemd/system/{unit}.d/greedy.conf"
    host.check_output(f"mkdir -p /run/greedy {drop_in.rpartition('/')[0]}")
    host.check_output("printf %s > /run/greedy/sitecustomize.py", GREEDY)
    host.check_output(f"printf '[Service]\\nEnvironment=PYTHONPATH=/run/greedy\\n' > {drop_in}")
    host.check_output(f"systemctl daemon-reload && systemctl restart {unit}")
    yield
    host.check_output(f"rm -r /run/greedy {drop_in} && systemctl daemon-reload && systemctl restart {unit}")


def application(host: Host, code: str, *arguments: object) -> str:
    """What a few lines print in the application's environment."""
    return host.check_output("stockpot-python -c %s %s", code, " ".join(map(str, arguments))).strip()


@pytest.mark.usefixtures("greedy_reports")
def test_a_task_that_wants_more_memory_than_its_worker_has_ends_and_needs_attention(
    host: Host, shop: Shop, wait_until: Wait
) -> None:
    """The kernel kills the child alone, each time; the worker goes on, and after the last attempt the row says why."""
    unit = "stockpot-worker-reports.service"
    before = main_pids(host)
    killed = f"journalctl --no-pager -u {unit} -o cat | grep -c 'killed by the OOM killer' || true"
    killed_before = int(host.check_output(killed))
    report = application(host, ASK_FOR_A_REPORT)

    def outcome() -> Any:
        found = json.loads(application(host, SHOW_THE_REPORT, report))
        return found if found[0] == "needs_attention" else None

    _, reason, attempts = wait_until(outcome, timeout=900)
    assert "WorkerLostError" in reason
    assert "signal 9 (SIGKILL)" in reason
    assert attempts == ["FAILURE", "RETRY", "RETRY", "RETRY"]
    assert int(host.check_output(killed)) - killed_before == len(attempts)
    assert main_pids(host) == before
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
    assert wait_until(lambda: shop.state(after) == "paid", timeout=180)
    assert host.check_output("systemctl --failed --no-legend") == ""
    assert host.check_output("cat /proc/sys/vm/overcommit_memory") == "1"
