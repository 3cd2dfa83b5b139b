"""The collection's filters; each is a plain function of plugin_utils with tests of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils import contracts, nginx, processes, redis


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "problems": contracts.problems,
            "celery_canary": processes.celery_canary,
            "nginx_certificate_problems": nginx.nginx_certificate_problems,
            "nginx_logins": nginx.nginx_logins,
            "redis_memory_bytes": redis.memory_bytes,
        }
