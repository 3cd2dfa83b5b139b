"""The figures that workers leave in the cache.

Whether a worker is up is told by a key that expires: the clocks of its host and of a web server may differ.
"""

from math import ceil
from typing import NamedTuple

from django.core.cache import cache

from core.conf import setting

NAMES = "workers"
KEPT = 86400  # seconds a worker is remembered after it was last heard of


class Snapshot(NamedTuple):
    figures: str  # in Prometheus's text format
    is_up: bool


def figures_of(worker: str) -> str:
    return f"worker-figures:{worker}"


def up(worker: str) -> str:
    return f"worker-up:{worker}"


def save(worker: str, *, figures: str, is_up: bool) -> None:
    """Keeps the figures; a worker that is up is so until the third report in a row is missing."""
    cache.set(figures_of(worker), figures, timeout=KEPT)
    cache.set(up(worker), True, timeout=ceil(3 * setting("WORKER_REPORT_INTERVAL")) if is_up else 0)
    names = cache.get(NAMES, [])
    if worker not in names:
        # Of two workers that add themselves at once one may be lost, until its next report.
        kept = cache.get_many([figures_of(name) for name in names])
        cache.set(NAMES, [worker, *(name for name in names if figures_of(name) in kept)], timeout=None)


def load() -> dict[str, Snapshot]:
    """The last figures of each worker that was up within a day, by its node name."""
    names = sorted(cache.get(NAMES, []))
    found = cache.get_many([key(name) for name in names for key in (figures_of, up)])
    return {name: Snapshot(found[figures_of(name)], up(name) in found) for name in names if figures_of(name) in found}
