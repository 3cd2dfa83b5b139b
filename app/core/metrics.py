"""The page Prometheus reads: HTTP figures of this host, task figures and queue lengths of the whole fleet."""

import os
from collections.abc import Iterator

from kombu.exceptions import OperationalError
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from core import broker, recorder

REQUESTS = Counter("http_requests", "Requests answered.", ["method", "view", "status"])
DURATION = Histogram("http_request_duration_seconds", "Time until the answer was ready.", ["method", "view"])


class FleetCollector(Collector):
    """Reads what the workers left in the cache and what waits at the broker, at the moment Prometheus asks."""

    def collect(self) -> Iterator[Metric]:
        runs = CounterMetricFamily("celery_task_runs", "Task runs that ended.", labels=["name", "state"])
        seconds = CounterMetricFamily("celery_task_seconds", "Time task runs took.", labels=["name", "state"])
        for name, state, count, took in recorder.totals():
            runs.add_metric([name, state], count)
            seconds.add_metric([name, state], took)
        lengths = GaugeMetricFamily("celery_queue_length", "Messages waiting.", labels=["queue"])
        broker_up = GaugeMetricFamily("celery_broker_up", "Whether the broker answered.", value=1)
        try:
            for queue, length in broker.queue_lengths().items():
                lengths.add_metric([queue], length)
        except (OperationalError, OSError):
            broker_up = GaugeMetricFamily("celery_broker_up", "Whether the broker answered.", value=0)
        yield from (runs, seconds, lengths, broker_up)


def page() -> bytes:
    """All figures in Prometheus's text format."""
    fleet = CollectorRegistry()
    fleet.register(FleetCollector())
    web = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        web = CollectorRegistry()
        MultiProcessCollector(web)  # type: ignore[no-untyped-call]
    return generate_latest(web) + generate_latest(fleet)
