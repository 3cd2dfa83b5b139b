"""The collection's filters; each is a plain function of plugin_utils with tests of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils import (
    celery_processes,
    contracts,
    django_app,
    environment,
    nginx,
    redis,
)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "problems": contracts.problems,
            "celery_processes": celery_processes.celery_processes,
            "celery_worker_problems": celery_processes.worker_problems,
            "celery_checks": celery_processes.celery_checks,
            "without_secrets": environment.without_secrets,
            "process_definition": django_app.process_definition,
            "nginx_certificate_problems": nginx.nginx_certificate_problems,
            "nginx_logins": nginx.nginx_logins,
            "redis_memory_bytes": redis.memory_bytes,
        }
