"""The watch, over real units: what is deaf consumes again, by cause, and the seconds that took."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_celery import main_pid, press, printed
from testinfra.host import Host

Wait = Callable[..., Any]
Count = Callable[[str, object], None]
# Seconds that the tests wait for what the table below then says.
DEADLINE = 150


def said(host: Host) -> str:
    return host.check_output("journalctl --no-pager --output=cat --unit=press-watch.service")


def send(host: Host, queue: str) -> str:
    """A task that leaves a mark; its name."""
    name = uuid.uuid4().hex
    press(host, f"page.apply_async(args=['{name}', 0], queue='{queue}')")
    return name


@pytest.fixture
def consumes_again(host: Host, wait_until: Wait, count: Count) -> Callable[..., None]:
    """Waits until a task through a queue has run, and notes the seconds since the fault began, or was over."""

    def wait(queue: str, cause: str, began: float) -> None:
        name = send(host, queue)
        wait_until(lambda: printed(host, name)[-1:] == ["end"], timeout=DEADLINE)
        count(cause, f"{time.monotonic() - began:.0f}")

    return wait


@pytest.fixture
def drop(host: Host) -> Iterator[Callable[[str], None]]:
    """Drops the packets that a worker's main process exchanges with Redis."""
    host.check_output("command -v nft || (apt-get -qq update && apt-get -qq install -y nftables)")
    host.check_output(
        "nft add table inet deaf && nft 'add chain inet deaf out { type filter hook output priority 0; }'"
    )

    def start(name: str) -> None:
        listed = host.check_output("ss -Htnp state established '( dport = :6379 )'")
        pid = main_pid(host, name)
        ports = re.findall(rf"127\.0\.0\.1:(\d+) .*pid={pid},", listed)
        assert ports, listed
        for port in ports:
            host.check_output(f"nft add rule inet deaf out tcp sport {port} tcp dport 6379 drop")
            host.check_output(f"nft add rule inet deaf out tcp sport 6379 tcp dport {port} drop")

    yield start
    host.check_output("nft delete table inet deaf")


@pytest.fixture
def small_disk(host: Host) -> Iterator[str]:
    """Redis on a disk of its own, which can be filled; its folder."""
    folder = "/var/lib/redis"
    stop, start = "systemctl stop redis-server", "systemctl start redis-server"
    host.check_output(f"{stop} && cp -a {folder} /var/tmp/redis && mount -t tmpfs -o size=48m,mode=0750 none {folder}")
    host.check_output(f"chown redis:redis {folder} && cp -a /var/tmp/redis/. {folder}/ && {start}")
    yield folder
    host.check_output(f"{stop} && rm -rf /var/tmp/redis && cp -a {folder} /var/tmp/redis && umount {folder}")
    host.check_output(
        f"find {folder} -mindepth 1 -delete && cp -a /var/tmp/redis/. {folder}/ && rm -rf /var/tmp/redis && {start}"
    )


def test_what_is_deaf_consumes_again(
    host: Host, consumes_again: Callable[..., None], drop: Callable[[str], None]
) -> None:
    """Frozen, cut off by a packet filter, and told to consume no more: three workers at once, and nobody else."""
    names = ("letters", "pages", "hasty", "threads", "solo")
    before = {name: main_pid(host, f"worker-{name}") for name in names}
    host.check_output("systemctl kill --kill-whom=main --signal=STOP press-worker-letters.service")
    frozen = time.monotonic()
    drop("worker-pages")
    dropped = time.monotonic()
    press(host, "app.control.cancel_consumer('hasty', reply=True)")
    told = time.monotonic()
    consumes_again("hasty", "cancel_consumer", told)
    consumes_again("letters", "SIGSTOP", frozen)
    consumes_again("pages", "its packets dropped", dropped)
    after = {name: main_pid(host, f"worker-{name}") for name in names}
    assert {name for name in names if after[name] != before[name]} == {"letters", "pages"}
    assert "The worker letters (press-worker-letters.service) is deaf: its main process is stopped by a signal" in said(
        host
    )
    assert (
        "The worker pages (press-worker-pages.service) is deaf: it does not answer, though the broker serves"
        in said(host)
    )
    assert "did not consume hasty, which is its own: told it to" in said(host)
    counters = host.file("/var/lib/press/celery_watch.prom")
    assert counters.mode == 0o644
    assert 'celery_watch_ended_total{application="press",worker="pages",reason="silent"} 1' in counters.content_string


def test_workers_whose_connections_are_cut_five_times_consume_again(
    host: Host, consumes_again: Callable[..., None], wait_until: Wait
) -> None:
    kill = "REDISCLI_AUTH='admin password of the test' redis-cli --user admin client kill type {}"
    cut = "ss -K state established '( dport = :6379 or sport = :6379 )'"
    nodes = set(press(host, "print(*app.control.inspect().ping())").split())
    for _ in range(5):
        began = time.monotonic()
        host.check_output(cut)
        # A kernel that cannot cut them says nothing of it: so they are cut once more, as soon as they are back.
        for kind in ("pubsub", "normal"):
            assert wait_until(lambda kind=kind: int(host.check_output(kill.format(kind))))
        wait_until(lambda: set(press(host, "print(*app.control.inspect().ping())").split()) >= nodes, timeout=DEADLINE)
    consumes_again("letters", "connections cut five times", began)


def test_workers_consume_again_after_a_restart_of_the_broker(host: Host, consumes_again: Callable[..., None]) -> None:
    host.check_output("systemctl restart redis-server")
    began = time.monotonic()
    for queue in ("letters", "pages", "threads", "solo"):
        consumes_again(queue, f"broker restarted ({queue})", began)


@pytest.mark.long
def test_workers_consume_again_when_a_full_disk_under_redis_is_free_again(
    host: Host, consumes_again: Callable[..., None], wait_until: Wait, small_disk: str
) -> None:
    """Redis refuses to write meanwhile, and nobody is judged by that."""
    ask = "REDISCLI_AUTH='admin password of the test' redis-cli --user admin set full-disk 1 px 1000"
    host.run(f"dd if=/dev/zero of={small_disk}/filler bs=1M")
    wait_until(lambda: "MISCONF" in host.run(ask).stdout, timeout=60)
    full = time.monotonic()
    wait_until(lambda: time.monotonic() - full > 60 and "The broker does not serve" in said(host), timeout=DEADLINE)
    host.check_output(f"rm {small_disk}/filler")
    began = time.monotonic()
    wait_until(lambda: "OK" in host.run(ask).stdout, timeout=60)
    for queue in ("letters", "pages", "threads", "solo"):
        consumes_again(queue, f"disk full for 60 s, free again ({queue})", began)


def test_a_frozen_beat_ticks_again(host: Host, wait_until: Wait, count: Count) -> None:
    host.check_output("systemctl kill --kill-whom=main --signal=STOP press-beat.service")
    began, before = time.monotonic(), main_pid(host, "beat")
    wait_until(lambda: main_pid(host, "beat") not in ("0", before), timeout=DEADLINE)
    ticks = printed(host, "tick")
    wait_until(lambda: printed(host, "tick") not in (ticks, []), timeout=DEADLINE)
    count("Beat, SIGSTOP", f"{time.monotonic() - began:.0f}")


def test_a_second_beat_is_ended(host: Host, wait_until: Wait) -> None:
    own = main_pid(host, "beat")
    host.check_output(
        "systemd-run --quiet --collect --unit=press-third-beat --uid=press --property=EnvironmentFile=/etc/press/environment "
        "--property=WorkingDirectory=/srv/press/source /srv/press/venv/bin/python -m celery -A press beat --pidfile= "
        "--schedule /tmp/third-schedule"
    )
    wait_until(lambda: host.run("systemctl is-active press-third-beat").stdout.strip() != "active", timeout=DEADLINE)
    assert "A second Beat ran" in said(host)
    assert main_pid(host, "beat") == own


def test_the_watch_itself_is_small(host: Host, count: Count) -> None:
    pid = main_pid(host, "watch")
    status = host.check_output(f"cat /proc/{pid}/status")
    resident = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])
    used = sum(map(int, host.check_output(f"cat /proc/{pid}/stat").rpartition(")")[2].split()[11:13]))
    age = float(host.check_output(f"ps -o etimes= -p {pid}"))
    count("the watch: MiB, thousandths of a core", f"{resident // 1024}, {used * 10 / age:.0f}")
    assert resident < 96 * 1024
