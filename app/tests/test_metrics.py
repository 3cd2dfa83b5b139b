"""The figures for Prometheus: what workers count, what web servers count, and what waits."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import current_app
from celery.utils.nodenames import host_format
from core import outbox, snapshots
from core.worker import waited
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from payments.models import Order
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Worker, wait_until

QUEUE = "ends"
Start = Callable[..., Worker]


@pytest.fixture
def start(transactional_db: None) -> Iterator[Start]:
    """Starts workers that know the tasks of tests/ends.py; they end with the test."""
    workers = []

    def started(name: str, *, pool: str = "prefork", log: Path | None = None, **variables: str) -> Worker:
        # A run that cost its process is recorded by way of the queue "sweep".
        workers.append(worker := Worker(name, queues=[QUEUE, "sweep"], pool=pool))
        with (log or Path("/dev/null")).open("wb") as file:
            worker.start(file, include="tests.ends", **variables)
        return worker

    yield started
    for worker in workers:
        if worker.process and worker.process.poll() is None:
            wait_until(worker.is_idle)
        worker.stop()


def node(name: str) -> str:
    return host_format(f"{name}@%h")


def send(task: str, *, expires: float | None = None) -> None:
    current_app.send_task(f"tests.ends.{task}", queue=QUEUE, ignore_result=True, expires=expires)


def figure(site: Client, sample_name: str, path: str = "/metrics", **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    families = text_string_to_metric_families(site.get(path).content.decode())
    samples = [sample for family in families for sample in family.samples if sample.name == sample_name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def runs(site: Client, worker: str) -> dict[tuple[str, str], float]:
    """How often each task of tests/ends.py ended in each state."""
    families = text_string_to_metric_families(site.get("/metrics").content.decode())
    samples = [sample for family in families for sample in family.samples if sample.name == "celery_task_runs_total"]
    return {
        (sample.labels["name"].removeprefix("tests.ends."), sample.labels["state"]): sample.value
        for sample in samples
        if sample.labels["worker"] == node(worker) and sample.labels["name"].startswith("tests.ends.")
    }


# Of the workers

ENDS = {
    ("succeed", "SUCCESS"): 2,
    ("succeed", "REVOKED"): 1,
    ("fail", "FAILURE"): 1,
    ("retry", "RETRY"): 1,
    ("retry", "FAILURE"): 1,
    ("ignore", "IGNORED"): 1,
    ("put_back_once", "REJECTED"): 1,
    ("put_back_once", "SUCCESS"): 1,
}
# What only a pool of processes survives.
LOSSES = {("kill_its_process", "RETRY"): 1, ("kill_its_process", "FAILURE"): 1, ("take_too_long", "FAILURE"): 1}


@pytest.mark.parametrize(
    ("pool", "ends"),
    [("prefork", ENDS | LOSSES), ("threads", ENDS), ("solo", ENDS)],
    ids=["prefork", "threads", "solo"],
)
def test_runs_are_counted_once_by_task_and_state(
    start: Start, site: Client, pool: str, ends: dict[tuple[str, str], float]
) -> None:
    start(pool, pool=pool)
    for task in sorted({task for task, _ in ends}):
        send(task)
    send("succeed")
    send("succeed", expires=-1)
    wait_until(lambda: sum(runs(site, pool).values()) >= sum(ends.values()))
    assert runs(site, pool) == ends
    started = sum(ends.values()) - ends["succeed", "REVOKED"]
    assert figure(site, "celery_task_queued_seconds_count", worker=node(pool), queue=QUEUE) == started
    for task in {task for task, _ in ends} - {"succeed"}:
        labels = {"worker": node(pool), "name": f"tests.ends.{task}"}
        ended = sum(count for (name, _), count in ends.items() if name == task)
        assert figure(site, "celery_task_duration_seconds_count", **labels) == ended
        assert figure(site, "celery_task_duration_seconds_bucket", le="+Inf", **labels) == ended
        assert figure(site, "celery_task_duration_seconds_sum", **labels) > 0


def test_a_message_that_waited_shows_in_the_histogram_of_its_queue(start: Start, site: Client) -> None:
    send("succeed")
    start("late")  # which takes longer than the two lowest buckets
    labels = {"worker": node("late"), "queue": QUEUE}
    wait_until(lambda: figure(site, "celery_task_queued_seconds_count", **labels) == 1)
    assert figure(site, "celery_task_queued_seconds_bucket", **labels, le="0.1") == 0
    assert figure(site, "celery_task_queued_seconds_sum", **labels) > 0.1


@pytest.mark.parametrize(
    ("published_at", "eta", "seconds"),
    [(100, None, 50), (100, 140, 10), (145, 140, 5), (151, None, 0)],
    ids=["at once", "due later", "sent when it was due", "a clock that is ahead"],
)
def test_time_in_the_queue_counts_from_when_a_task_is_due(
    published_at: float, eta: float | None, seconds: float
) -> None:
    due = datetime.fromtimestamp(eta, UTC) if eta else None
    assert waited(published_at=published_at, eta=due, started_at=150) == seconds


def test_a_worker_is_up_until_it_is_killed_and_its_figures_stay(start: Start, site: Client) -> None:
    worker = start("short-lived")
    send("succeed")
    name = node("short-lived")
    wait_until(lambda: figure(site, "celery_worker_up", worker=name) == 1)
    wait_until(lambda: runs(site, "short-lived"))
    worker.kill()
    wait_until(lambda: figure(site, "celery_worker_up", worker=name) == 0)
    assert f'celery_worker_up{{worker="{name}"}} 0.0' in site.get("/metrics").content.decode()
    assert runs(site, "short-lived") == {("succeed", "SUCCESS"): 1}


def test_a_worker_that_is_stopped_reports_once_more(start: Start, site: Client) -> None:
    worker = start("stopped", WORKER_REPORT_INTERVAL_MS="3600000")
    wait_until(lambda: figure(site, "celery_worker_up", worker=node("stopped")) == 1)
    current_app.send_task("tests.ends.succeed", queue=QUEUE).get(timeout=30)
    worker.stop()
    assert runs(site, "stopped") == {("succeed", "SUCCESS"): 1}
    assert figure(site, "celery_worker_up", worker=node("stopped")) == 0


def test_a_worker_without_its_cache_works_and_says_so_once(start: Start, tmp_path: Path) -> None:
    worker = start("alone", log=tmp_path / "log", CACHE_URL="redis://127.0.0.1:1/0")
    wait_until(lambda: "figures are not reported" in (tmp_path / "log").read_text())
    results = [current_app.send_task("tests.ends.succeed", queue=QUEUE) for _ in range(3)]
    for result in results:
        result.get(timeout=60)
    worker.stop()
    assert (tmp_path / "log").read_text().count("figures are not reported") == 1


def test_a_cache_that_was_emptied_knows_the_workers_again(worker: Worker, site: Client) -> None:
    for _ in range(2):
        wait_until(lambda: figure(site, "celery_worker_up", worker=node("test")) == 1)
        cache.clear()


def test_the_figures_of_workers_stand_side_by_side(site: Client, db: None) -> None:
    text = '# HELP celery_task_runs_total Runs.\n# TYPE celery_task_runs_total counter\ncelery_task_runs_total{{name="x"}} {}\n'
    for number, worker in enumerate(("one@a", "two@b")):
        snapshots.save(worker, figures=text.format(number), is_up=True)
    page = site.get("/metrics").content.decode()
    assert page.count("# TYPE celery_task_runs_total counter") == 1
    for number, worker in enumerate(("one@a", "two@b")):
        assert f'celery_task_runs_total{{name="x",worker="{worker}"}} {number}.0' in page


def test_workers_that_were_not_heard_of_for_a_day_are_forgotten(site: Client, db: None) -> None:
    snapshots.save("gone@a", figures="", is_up=True)
    cache.delete(snapshots.figures_of("gone@a"))  # as it expires
    assert snapshots.load() == {}
    snapshots.save("here@a", figures="", is_up=True)
    assert cache.get(snapshots.NAMES) == ["here@a"]


# Of queues, rows and services


def test_the_oldest_unfinished_row_of_each_kind_is_told_and_those_that_need_a_person(
    order: Order, site: Client
) -> None:
    def told(name: str, kind: str = "payments.Order") -> float:
        return figure(site, f"outbox_{name}", kind=kind)

    Order.objects.create(product=order.product, amount=650)
    Order.objects.create(product=order.product, amount=650, state=Order.State.PAID)
    assert (told("unfinished_rows"), told("needs_attention_rows")) == (2, 0)
    Order.objects.filter(pk=order.pk).update(moved_at=timezone.now() - timedelta(hours=1))
    assert told("oldest_unfinished_seconds") == pytest.approx(3600, abs=60)
    outbox.need_attention(Order.objects.filter(pk=order.pk), reason="a test")
    assert (told("unfinished_rows"), told("needs_attention_rows")) == (1, 1)
    assert told("oldest_unfinished_seconds") < 60
    assert 'outbox_oldest_unfinished_seconds{kind="crm.Lead"} 0.0' in site.get("/metrics").content.decode()


def test_queue_lengths_are_told(site: Client, db: None) -> None:
    assert 'celery_queue_length{queue="critical"} 0.0' in site.get("/metrics").content.decode()


PARTS = {
    "broker": ("core.broker.queue_lengths", "celery_queue_length{"),
    "cache": ("core.snapshots.load", "celery_worker_up{"),
    "database": ("core.outbox.backlogs", "outbox_unfinished_rows{"),
}


@pytest.mark.parametrize("away", PARTS)
def test_a_service_that_is_away_takes_only_its_own_figures_along(
    site: Client, db: None, monkeypatch: pytest.MonkeyPatch, away: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ConnectionError("redis://celery:password@host refused")

    snapshots.save("one@a", figures="", is_up=True)
    monkeypatch.setattr(PARTS[away][0], broken)
    page = site.get("/metrics").content.decode()
    assert {service for service in PARTS if f'service_up{{service="{service}"}} 0.0' in page} == {away}
    assert {service for service, (_, name) in PARTS.items() if name not in page} == {away}
    assert "password" not in caplog.text


# Of a web server


def test_requests_are_counted_by_view_and_status(site: Client, db: None) -> None:
    labels = {"method": "GET", "view": "tasks"}
    before = figure(site, "http_requests_total", "/metrics/web", status="302", **labels)
    site.get("/tasks/")
    assert figure(site, "http_requests_total", "/metrics/web", status="302", **labels) == before + 1
    assert figure(site, "http_request_duration_seconds_count", "/metrics/web", **labels) == before + 1


def test_the_fleets_page_holds_nothing_of_the_one_web_server_that_answers(site: Client, db: None) -> None:
    assert "http_" not in site.get("/metrics").content.decode()
    assert "celery_" not in site.get("/metrics/web").content.decode()
