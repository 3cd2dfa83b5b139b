"""What only a server of its own shows: a kernel's settings, limits that are enforced, a real reboot."""

from __future__ import annotations

from collections.abc import Callable
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
    wait_until(lambda: "oom-kill" in host.check_output(f"journalctl --no-pager -u {unit} -o cat"), timeout=180)
    host.check_output(f"systemctl set-property --runtime {unit} MemoryMax=512M")

    def is_back() -> bool:
        now = main_pids(host)
        return now[unit] not in ("0", before[unit]) and host.service("stockpot-flower").is_running

    wait_until(is_back, timeout=180)
    after = main_pids(host)
    assert {name: pid for name, pid in after.items() if name != unit} == {
        name: pid for name, pid in before.items() if name != unit
    }


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
