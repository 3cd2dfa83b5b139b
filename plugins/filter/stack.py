"""The collection's filters; each is a plain function of plugin_utils with tests of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils import (
    addresses,
    commands,
    draining,
    environment,
    firewall,
    gunicorn,
    nginx,
    placed,
    processes,
    rabbitmq,
    redis,
    units,
)
from ansible_collections.stockpot.stack.plugins.plugin_utils.project import advice


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "celery_canary": processes.celery_canary,
            "celery_nodes": processes.celery_nodes,
            "certificate_entries": nginx.certificate_entries,
            "environment_value": environment.environment_value,
            "nginx_locations": nginx.nginx_locations,
            "firewall_sources": firewall.sources,
            "file_paths": placed.file_paths,
            "nginx_logins": nginx.nginx_logins,
            "nginx_prefix": nginx.nginx_prefix,
            "pem": nginx.pem,
            "python_literal": gunicorn.python_literal,
            "once_commands": commands.once_commands,
            "placed_files": placed.placed_files,
            "private_address": addresses.private_address,
            "project_advice": advice.project_advice,
            "process_services": units.process_services,
            "rabbitmq_amount_bytes": rabbitmq.amount_bytes,
            "rabbitmq_memory_bytes": rabbitmq.memory_bytes,
            "rabbitmq_url": rabbitmq.url,
            "redis_agreement": redis.agreement,
            "redis_memory_bytes": redis.memory_bytes,
            "redis_url": redis.url,
            "release_links": placed.release_links,
            "shared_folders": placed.shared_folders,
            "worker_table": draining.table,
            "without_secrets": environment.without_secrets,
        }
