"""What Prometheus reads: at one page the fleet's figures, the same from every web server, and at another those of the web
server that answers. So nothing is counted twice."""

import logging
import os
import socket
from collections.abc import Iterable, Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from core import broker, outbox, snapshots

logger = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
REQUESTS = Counter("http_requests", "Requests answered.", ["method", "view", "status"])
DURATION = Histogram("http_request_duration_seconds", "Time until the answer was ready.", ["method", "view"])


def fleet() -> bytes:
    """Tasks, workers, queues and unfinished rows, in Prometheus's text format."""
    return written(FleetCollector())


def web() -> bytes:
    """The requests that this host's web processes answered, in Prometheus's text format."""
    return written(WebCollector())


def written(collector: Collector) -> bytes:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry)


class FleetCollector(Collector):
    """Asks broker, cache and database. One that does not answer leaves its own figures out, and no others."""

    def collect(self) -> Iterator[Metric]:
        ups = GaugeMetricFamily("service_up", "Whether the service answered.", labels=["service"])
        for service, read in (("broker", queue_figures), ("cache", worker_figures), ("database", row_figures)):
            try:
                yield from read()
                ups.add_metric([service], 1)
            except Exception as error:
                logger.error("no figures from the %s: %s", service, type(error).__name__)
                ups.add_metric([service], 0)
        yield ups


class WebCollector(Collector):
    """Adds up this host's web processes."""

    def collect(self) -> Iterator[Metric]:
        processes = REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            processes = CollectorRegistry()
            MultiProcessCollector(processes)  # type: ignore[no-untyped-call]
        return labelled(processes.collect(), host=socket.gethostname())


def queue_figures() -> list[Metric]:
    lengths = GaugeMetricFamily("celery_queue_length", "Messages waiting.", labels=["queue"])
    for queue, length in broker.queue_lengths().items():
        lengths.add_metric([queue], length)
    return [lengths]


def worker_figures() -> list[Metric]:
    """What each worker reported, and whether it still does."""
    ups = GaugeMetricFamily("celery_worker_up", "Whether a worker known within a day reports.", labels=["worker"])
    families: dict[str, Metric] = {}
    for worker, snapshot in snapshots.load().items():
        ups.add_metric([worker], snapshot.is_up)
        for metric in labelled(text_string_to_metric_families(snapshot.figures), worker=worker):
            family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            family.samples += metric.samples
    return [ups, *families.values()]


def row_figures() -> list[Metric]:
    counts = GaugeMetricFamily("outbox_unfinished_rows", "Rows whose work is not done.", labels=["kind"])
    oldest = GaugeMetricFamily(
        "outbox_oldest_unfinished_seconds", "How long the one that stands still longest has not moved.", labels=["kind"]
    )
    attention = GaugeMetricFamily("outbox_needs_attention_rows", "Rows that a person has to look at.", labels=["kind"])
    for backlog in outbox.backlogs():
        counts.add_metric([backlog.kind], backlog.unfinished)
        oldest.add_metric([backlog.kind], backlog.standstill)
        attention.add_metric([backlog.kind], backlog.needs_attention)
    return [counts, oldest, attention]


def labelled(metrics: Iterable[Metric], **labels: str) -> Iterator[Metric]:
    """The metrics with these labels added."""
    for metric in metrics:
        copy = Metric(metric.name, metric.documentation, metric.type)
        copy.samples = [sample._replace(labels=labels | sample.labels) for sample in metric.samples]
        yield copy
