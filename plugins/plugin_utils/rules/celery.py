"""Rules of the role celery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.celery_processes import worker_problems


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the workers."""
    return worker_problems(given["celery_workers"], given["celery_worker_defaults"], given["celery_routed_queues"])
