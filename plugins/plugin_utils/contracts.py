"""The contracts between roles, hosts and secrets: what can be known to be wrong before anything is changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.stockpot.stack.plugins.plugin_utils import nginx
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import celery

ROOT = Path(__file__).resolve().parents[2]


ROLES = ("redis", "postgresql", "django_app", "celery", "flower", "process_manager", "nginx")
TOPICS = {
    "redis": "redis",
    "postgresql": "postgresql",
    "django_app": "app",
    "celery": "celery",
    "flower": "proxy",
    "process_manager": "app",
    "nginx": "proxy",
}
SECRETS = {
    "vault_app_secret_key": "any",
    "vault_postgresql_password": "postgresql",
    "vault_redis_admin_password": "redis",
    "vault_redis_cache_password": "redis",
    "vault_redis_celery_password": "redis",
    "vault_flower_password": "flower",
}
PLACEHOLDER = re.compile(
    r"change[-_ ]?me|replace[-_ ]?me|^(secret|password|xxx+|todo|example|placeholder)$", re.IGNORECASE
)
SHORTEST_SECRET = 16  # characters
DEBIANS = ("12", "13")


class _Host:
    """A host's variables, each templated only when asked for."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.variables = variables
        self.environment = next((g for g in variables["group_names"] if (ROOT / "group_vars" / g).is_dir()), "all")

    def get(self, name: str, default: Any = None) -> Any:
        return self.variables.get(name, default)

    def file(self, topic: str) -> str:
        """Where an operator changes a topic's values."""
        return f"group_vars/{self.environment}/main.yml (defaults: group_vars/all/{topic}.yml)"

    @property
    def vault(self) -> str:
        return f"group_vars/{self.environment}/vault.yml"


def problems(variables: Mapping[str, Any], groups: Mapping[str, list[str]]) -> list[str]:
    """What is wrong with a host's variables, a sentence each with the variable, the file to edit and the fix.

    Args:
        variables: the host's `hostvars`, read lazily.
        groups: the inventory's groups, host names by group name.

    Returns:
        The sentences; empty when nothing is wrong.
    """
    host = _Host(variables)
    found: list[str] = []
    for check in (_platform, _topology, _secrets, _arguments, _workers, _times, _site, _certificate):
        try:
            found += check(host, groups)
        except AnsibleError as error:
            found.append(f"{str(error).strip()} (look in group_vars/{host.environment}/ and group_vars/all/)")
    return found


def _platform(host: _Host, groups: Mapping[str, list[str]]) -> list[str]:
    facts = host.get("ansible_facts", {})
    name, release = facts.get("distribution"), facts.get("distribution_major_version")
    if name == "Debian" and release in DEBIANS:
        return []
    return [
        f"{host.get('inventory_hostname')} runs {name} {release}; supported are Debian {' and '.join(DEBIANS)}. "
        "Reinstall it, or take it out of inventories/*/hosts.yml."
    ]


def _topology(host: _Host, groups: Mapping[str, list[str]]) -> list[str]:
    found = []
    inventory = f"inventories/{host.environment}/hosts.yml"
    for group in ("web", "workers", "proxy"):
        if not host.get(f"topology_{group}"):
            found.append(f"The group {group} has no host. Put one into it in {inventory}.")
    for group, what in (("beat", "every schedule would fire twice"), ("flower", "the proxy knows one dashboard")):
        members = host.get(f"topology_{group}")
        if len(members) > 1:
            found.append(f"The group {group} holds {', '.join(members)}: {what}. Leave one of them in {inventory}.")
    managed = {
        "redis": ("broker_url", "result_backend_url", "cache_url"),
        "postgresql": ("database_url",),
    }
    for group, names in managed.items():
        members = host.get(f"topology_{group}")
        if len(members) > 1:
            found.append(
                f"The group {group} holds {', '.join(members)}; one server is supported. Leave one in {inventory}."
            )
        if not members:
            for name in names:
                try:
                    host.get(name)
                except (AnsibleError, LookupError):
                    found.append(
                        f"{name} cannot be computed: the group {group} has no host. Put one into it in {inventory}, "
                        f"or set {name} in group_vars/{host.environment}/main.yml to the managed server's address."
                    )
    return found


def _secrets(host: _Host, groups: Mapping[str, list[str]]) -> list[str]:
    found = []
    for name, group in SECRETS.items():
        if group != "any" and not host.get(f"topology_{group}"):
            continue
        value = str(host.get(name, "") or "")
        if not value:
            found.append(
                f"{name} is missing. `make secrets ENV={host.environment}` writes {host.vault} with strong values; "
                "an existing file is edited with `ansible-vault edit`."
            )
        elif PLACEHOLDER.search(value):
            found.append(
                f"{name} in {host.vault} still holds a placeholder. Put a random value of at least {SHORTEST_SECRET} characters."
            )
        elif len(value) < SHORTEST_SECRET:
            found.append(
                f"{name} in {host.vault} has {len(value)} characters. Put a random value of at least {SHORTEST_SECRET}."
            )
    return found


def _arguments(host: _Host, groups: Mapping[str, list[str]]) -> list[str]:
    """The roles' own argument specs, over the values that inventory and group_vars give."""
    found = []
    for role in ROLES:
        path = ROOT / "roles" / role / "meta" / "argument_specs.yml"
        options = yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
        given = {name: host.get(name) for name in options if name in host.variables}
        spec = {name: _without_required(option) for name, option in options.items() if name in given}
        result = ArgumentSpecValidator(spec).validate(given)
        found += [f"{message}. Mend it in {host.file(TOPICS[role])}." for message in result.error_messages]
    return found


def _without_required(option: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in option.items() if key not in ("required", "description", "default")}


def _workers(host: _Host, groups: Mapping[str, list[str]]) -> list[str]:
    workers = host.get("celery_workers")
    where = host.file("celery")
    if not workers:
        return [f"celery_workers is empty: no task would ever run. Define a worker in {where}."]
    given = {
        "celery_workers": workers,
        "celery_worker_defaults": host.get("celery_worker_defaults") or {},
        "celery_routed_queues": host.get("celery_routed_queues") or [],
    }
    if found := celery.problems(given):
        return [f"{problem} Mend it in {where}." for problem in found]
    members = host.get("topology_workers")
    for worker in workers:
        for wanted in worker.get("hosts", []):
            if wanted not in members:
                found.append(
                    f"celery_workers: {worker.get('name')} names the host {wanted}, which is not in the group workers. "
                    f"Mend `hosts` in {where}, or add it in inventories/{host.environment}/hosts.yml."
                )
    return found


def _times(host: _Host, groups: Mapping[str, list[str]]) -> list[str]:
    found = []
    visibility = int(host.get("celery_visibility_timeout"))
    for worker in host.get("celery_workers") or []:
        limit = {**(host.get("celery_worker_defaults") or {}), **worker}.get("time_limit")
        if limit and int(limit) >= visibility:
            found.append(
                f"celery_visibility_timeout is {visibility} s, but the worker {worker.get('name')} lets a task run {limit} s: Redis "
                "would hand the task to a second worker while it runs. Raise celery_visibility_timeout above the longest "
                f"time_limit in {host.file('celery')}."
            )
    return found


def _site(host: _Host, groups: Mapping[str, list[str]]) -> list[str]:
    where = host.file("proxy")
    names = host.get("site_names")
    if not names:
        return [f"site_names is empty. Give the site's host names, the main one first, in {where}."]
    found = [
        f"site_names holds the placeholder {name}. Put the site's real host name in {where}."
        for name in names
        if name.endswith(".invalid")
    ]
    found += [
        f"site_names holds {name!r}, which is not a host name (no scheme, no port, no path). Mend it in {where}."
        for name in names
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", name)
    ]
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,24}", str(host.get("app_name"))):
        found.append(
            f"app_name is {host.get('app_name')!r}; it names a system user and units: at most 25 lower-case letters, digits "
            f"and dashes, a letter first. Mend it in {host.file('app')}."
        )
    for name, value in (host.get("app_environment") or {}).items():
        if not isinstance(value, str):
            found.append(
                f'app_environment: {name} is {value!r}, not text. Quote it in {host.file("app")}: {name}: "{value}".'
            )
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            found.append(
                f"app_environment: {name!r} is no name for an environment variable. Mend it in {host.file('app')}."
            )
    return found


def _certificate(host: _Host, groups: Mapping[str, list[str]]) -> list[str]:
    certificate, key = host.get("nginx_certificate") or "", host.get("nginx_certificate_key") or ""
    found = nginx.nginx_certificate_problems(
        _pem(certificate), _pem(key), certificate, key, host.get("site_names") or []
    )
    return [f"{sentence} It stands in {host.file('proxy')}." for sentence in found]


def _pem(given: str) -> str:
    """A PEM text, given itself or by its path; empty when there is no such file."""
    if "-----BEGIN" in given:
        return given
    return Path(given).read_text() if given and Path(given).is_file() else ""
