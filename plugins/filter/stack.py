"""The collection's filters; each is a plain function of plugin_utils with tests of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils import (
    addresses,
    environment,
    gunicorn,
    nginx,
    processes,
    redis,
    units,
)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "celery_canary": processes.celery_canary,
            "celery_nodes": processes.celery_nodes,
            "certificate_entries": nginx.certificate_entries,
            "environment_value": environment.environment_value,
            "nginx_logins": nginx.nginx_logins,
            "pem": nginx.pem,
            "python_literal": gunicorn.python_literal,
            "private_address": addresses.private_address,
            "process_services": units.process_services,
            "redis_memory_bytes": redis.memory_bytes,
            "without_secrets": environment.without_secrets,
        }
