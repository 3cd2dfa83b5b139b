"""Rules of a whole deployment: what no single role can know, about its hosts, its secrets, and roles beside each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError

APPLICATION = ("django_app", "celery", "process_manager")
# The roles that the plays give to a group's hosts; a test compares it with the playbooks.
ROLES = {
    "redis": ("redis",),
    "postgresql": ("postgresql",),
    "web": APPLICATION,
    "workers": APPLICATION,
    "beat": APPLICATION,
    "flower": (*APPLICATION, "flower"),
    "proxy": (*APPLICATION, "nginx"),
}
# What a managed server in place of a group's host has to be named by.
MANAGED = {"redis": ("broker_url", "result_backend_url", "cache_url"), "postgresql": ("database_url",)}
# Each secret with its name in vault.yml, and the group that it is for.
SECRETS = {
    "app_secret_key": ("vault_app_secret_key", ""),
    "postgresql_password": ("vault_postgresql_password", "postgresql"),
    "redis_admin_password": ("vault_redis_admin_password", "redis"),
    "redis_cache_password": ("vault_redis_cache_password", "redis"),
    "redis_celery_password": ("vault_redis_celery_password", "redis"),
    "flower_basic_auth_password": ("vault_flower_password", "flower"),
}
RENAMED = {"django_app_celery": "celery_app"}
PLACEHOLDER = re.compile(
    r"change[-_ ]?me|replace[-_ ]?me|^(secret|password|xxx+|todo|example|placeholder)$", re.IGNORECASE
)
SHORTEST_SECRET = 16  # characters
DEBIANS = ("12", "13")


def roles_of(groups: list[str]) -> list[str]:
    """The roles that a host in these groups gets, each once."""
    return list(dict.fromkeys(role for group in groups for role in ROLES.get(group, ())))


def problems(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with a host's variables beside what its roles say themselves.

    Args:
        given: the host's variables, each computed when it is asked for.

    Returns:
        A sentence for each mistake, beginning with the variable's name or "The group"; empty when nothing is wrong.
    """
    found: list[str] = []
    for check in (_platform, _groups, _managed, _archive, _secrets, _renamed, _workers, _uploads, _site):
        try:
            found += check(given)
        except (AnsibleError, LookupError) as error:
            found.append(f"{check.__name__.strip('_')}: {str(error).strip().rstrip('.')}.")
    return found


def _platform(given: Mapping[str, Any]) -> list[str]:
    facts = given["ansible_facts"]
    name, release = facts.get("distribution"), facts.get("distribution_major_version")
    if name == "Debian" and release in DEBIANS:
        return []
    return [
        f"The group all: {given['inventory_hostname']} runs {name} {release}; supported are Debian {' and '.join(DEBIANS)}. "
        "Reinstall it, or take it out."
    ]


def _groups(given: Mapping[str, Any]) -> list[str]:
    found = [
        f"The group {group} has no host. Put one into it."
        for group in ("web", "workers", "proxy")
        if not given[f"topology_{group}"]
    ]
    only_one = {
        "beat": "every schedule would fire twice",
        "flower": "the proxy knows one dashboard",
        "redis": "one server is supported",
        "postgresql": "one server is supported",
    }
    for group, why in only_one.items():
        members = given[f"topology_{group}"]
        if len(members) > 1:
            found.append(f"The group {group} holds {', '.join(members)}: {why}. Leave one of them.")
    return found


def _managed(given: Mapping[str, Any]) -> list[str]:
    found = []
    for group, names in MANAGED.items():
        for name in names if not given[f"topology_{group}"] else ():
            try:
                given[name]
            except (AnsibleError, LookupError):
                found.append(
                    f"{name} cannot be computed, because the group {group} has no host: set it to the managed server's address, "
                    "or put a host into the group."
                )
    return found


def _archive(given: Mapping[str, Any]) -> list[str]:
    """What kept the preflight from packing the project; told even where the role's other arguments cannot be computed."""
    return list(given["django_app_archive"].get("problems", []))


def _secrets(given: Mapping[str, Any]) -> list[str]:
    found = []
    for name, (vault, group) in SECRETS.items():
        value = str(given[name] or "")
        if group and not given[f"topology_{group}"]:
            continue
        if not value:
            found.append(
                f"{vault} is missing: `make secrets ENV=<environment>` writes strong values, or edit the file."
            )
        elif PLACEHOLDER.search(value):
            found.append(
                f"{vault} still holds a placeholder: put a random value of at least {SHORTEST_SECRET} characters."
            )
        elif len(value) < SHORTEST_SECRET:
            found.append(f"{vault} has {len(value)} characters: put a random value of at least {SHORTEST_SECRET}.")
    return found


def _renamed(given: Mapping[str, Any]) -> list[str]:
    return [f"{old} is called {new} now: rename it." for old, new in RENAMED.items() if old in given]


def _workers(given: Mapping[str, Any]) -> list[str]:
    workers = given["celery_workers"]
    if not workers:
        return ["celery_workers is empty: no task would ever run. Define a worker."]
    found = []
    visibility = int(given["celery_visibility_timeout"])
    too_long = {}
    for worker in workers:
        if not isinstance(worker, Mapping):
            continue  # the role celery says so
        limit = {**(given["celery_worker_defaults"] or {}), **worker}.get("time_limit")
        if limit and float(limit) >= visibility:
            too_long[worker.get("name")] = limit
        found += [
            f"celery_workers: {worker.get('name')} names the host {host}, which is not in the group workers. Mend its `hosts`."
            for host in worker.get("hosts", [])
            if host not in given["topology_workers"]
        ]
    if too_long:
        found.append(
            f"celery_visibility_timeout is {visibility} s, but a task may run longer ("
            + ", ".join(f"{limit} s in the worker {name}" for name, limit in too_long.items())
            + "): Redis would hand it to a second worker while it runs. Raise it above the longest time_limit."
        )
    return found


def _uploads(given: Mapping[str, Any]) -> list[str]:
    """A web server takes an upload, a worker reads it, the proxy serves it."""
    folder = given["django_app_media_root"]
    servers = dict.fromkeys(host for group in ("web", "workers", "proxy") for host in given[f"topology_{group}"])
    if not folder or len(servers) < 2 or given["media_is_shared"]:
        return []
    return [
        f"django_app_media_root is {folder}, but {', '.join(servers)} are several servers: an upload would be on one of them alone. "
        "Mount storage there that they share and set media_is_shared: true; or set django_app_media_root to '' if the project takes "
        "no uploads."
    ]


def _site(given: Mapping[str, Any]) -> list[str]:
    found = []
    names = given["site_names"]
    if not names:
        found.append("site_names is empty: give the site's host names, the main one first.")
    for name in names:
        if name.endswith(".invalid"):
            found.append(f"site_names holds the placeholder {name}: put the site's real host name.")
        elif not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", name):
            found.append(f"site_names holds {name!r}, which is not a host name: no scheme, no port, no path.")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,24}", str(given["app_name"])):
        found.append(
            f"app_name is {given['app_name']!r}; it names a system user and units: take at most 25 lower-case letters, digits and "
            "dashes, a letter first."
        )
    if not str(given["site_health_path"]).startswith("/"):
        found.append(
            f"site_health_path is {given['site_health_path']!r}: it has to begin with a slash, such as /readyz."
        )
    for name, value in (given["app_environment"] or {}).items():
        if not isinstance(value, str):
            found.append(f'app_environment: {name} is {value!r}, not text. Quote it: {name}: "{value}".')
    return found
