"""Rules of a whole deployment: what no single role can know, about its hosts, its secrets, and roles beside each other."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.plugin_utils import arguments, authority
from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import environment_problems
from ansible_collections.stockpot.stack.plugins.plugin_utils.processes import complete_workers, messages_ahead, pool_of
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import leaving, listening
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.patterns import DEBIANS, application_problems

APPLICATION = ("firewall", "django_app", "celery", "process_manager")
# The roles that the plays give to a group's hosts; a test compares it with the playbooks.
ROLES = {
    "redis": ("firewall", "redis"),
    "rabbitmq": ("firewall", "rabbitmq"),
    "postgresql": ("firewall", "postgresql"),
    "web": APPLICATION,
    "workers": APPLICATION,
    "beat": APPLICATION,
    "flower": (*APPLICATION, "flower"),
    "proxy": (*APPLICATION, "nginx"),
}
# What no group's hosts get as such.
BESIDE = {"certificates", "uv"}
# The hosts of these run the project's processes.
APP_GROUPS = ("web", "workers", "beat")
# What a managed server in place of a group's host has to be named by.
MANAGED = {
    "redis": ("result_backend_url", "cache_url"),
    "postgresql": ("database_url",),
}
# Each secret with its name in vault.yml, and the group that it is for.
SECRETS = {
    "app_secret_key": ("vault_app_secret_key", ""),
    "postgresql_password": ("vault_postgresql_password", "postgresql"),
    "redis_admin_password": ("vault_redis_admin_password", "redis"),
    "redis_cache_password": ("vault_redis_cache_password", "redis"),
    "redis_celery_password": ("vault_redis_celery_password", "redis"),
    "redis_internal_password": ("vault_redis_internal_password", "redis"),
    "redis_sentinel_password": ("vault_redis_sentinel_password", "redis"),
    "rabbitmq_admin_password": ("vault_rabbitmq_admin_password", "rabbitmq"),
    "rabbitmq_celery_password": ("vault_rabbitmq_celery_password", "rabbitmq"),
    "rabbitmq_monitoring_password": ("vault_rabbitmq_monitoring_password", "rabbitmq"),
    "rabbitmq_cookie": ("vault_rabbitmq_cookie", "rabbitmq"),
    "flower_basic_auth_password": ("vault_flower_password", "flower"),
}
# Asked for where the group has several hosts.
OF_SEVERAL = ("redis_internal_password", "redis_sentinel_password", "rabbitmq_cookie")
# So many are one RabbitMQ: with two, none may fail, and four bear no more than three.
RABBITMQ_MEMBERS = (1, 3)
RENAMED = {
    "django_app_celery": "celery_app",
    "proxy_upstreams": "nginx_upstreams",
    "web_bind": "django_app_bind",
}
PLACEHOLDER = re.compile(
    r"change[-_ ]?me|replace[-_ ]?me|^(secret|password|xxx+|todo|example|placeholder)$", re.IGNORECASE
)
# What `make adopt` leaves to be written; what that is follows it.
FILL_IN = re.compile(r"\bFILL_IN\b[:,]?\s*(.*)", re.DOTALL)
# A secret that a value cannot be computed without.
VAULT = re.compile(r"\{\{-?\s*(vault_[a-z0-9_]+)\s*(?:\|(?!\s*(?:default|d)\b)|-?\}\})")
# Ansible's own: no values of the deployment.
NO_VALUES = ("hostvars", "vars", "groups", "ansible_facts", "stockpot_archive")
SHORTEST_SECRET = 16  # characters
# What the rules look at, beside the arguments of celery. The roles' own options are theirs to judge.
OPTIONS: dict[str, dict[str, Any]] = {
    "app_name": {"type": "str", "description": "It names a system user and units."},
    "app_connections": {"type": "dict", "description": "The variables with the project's connections."},
    "app_environment": {"type": "dict", "description": "The project's further variables; {} for none."},
    "app_log_format": {
        "type": "str",
        "choices": ["plain", "json"],
        "description": "How the application writes its log lines: plain or json.",
    },
    "app_rollout_serial": {
        "type": "raw",
        "description": "How many hosts at once go over to a new release: a number, a percentage, or a list of both.",
    },
    "app_state": {
        "type": "str",
        "choices": ["present", "absent"],
        "description": "Whether the application is deployed (present) or taken away (absent).",
    },
    "app_state_remove_data": {"type": "bool", "description": "Whether absent removes what the application has stored."},
    "celery_broker": {
        "type": "str",
        "choices": ["redis", "rabbitmq"],
        "description": "What keeps the messages: redis or rabbitmq.",
    },
    "celery_visibility_timeout": {
        "type": "int",
        "description": "Seconds until the broker hands out an unfinished task again.",
    },
    "django_app_archive": {
        "type": "dict",
        "description": "What stockpot.stack.project_archive returned; {} for nothing.",
    },
    "django_app_processes_extra": arguments.options("django_app")["django_app_processes_extra"],
    "django_app_media_root": {"type": "str", "description": "Where uploads are kept; empty for none."},
    "firewall_elsewhere": {
        "type": "bool",
        "description": "Whether a firewall that is not this one keeps strangers from the servers.",
    },
    "firewall_enabled": arguments.options("firewall")["firewall_enabled"],
    "flower_url_prefix": {"type": "str", "description": "The path of the site below which Flower stands."},
    "media_is_shared": {
        "type": "bool",
        "description": "Whether all servers find the same uploads in django_app_media_root.",
    },
    "public_service_addresses": {
        "type": "bool",
        "description": "Whether services may listen for other servers on public addresses.",
    },
    "django_app_web_command": arguments.options("django_app")["django_app_web_command"],
    "service_tls": {"type": "bool", "description": "Whether servers speak TLS to each other."},
    "service_tls_clear_text": {
        "type": "bool",
        "description": "Whether Redis, RabbitMQ and PostgreSQL answer clear text beside TLS.",
    },
    "web_tls": {"type": "bool", "description": "Whether the web servers speak TLS to the proxy."},
    "celery_message_signing": {"type": "bool", "description": "Whether Celery's messages are signed."},
    **{
        f"celery_signing_{part}": {"type": "str", "description": f"Its value is vault_celery_signing_{part}."}
        for part in authority.Pair._fields
    },
    **{
        f"service_authority_{part}": {"type": "str", "description": f"Its value is vault_service_authority_{part}."}
        for part in authority.Pair._fields
    },
    "service_tls_folder": {"type": "str", "description": "Where a server's certificates are."},
    "redis_cache_instance": {
        "type": "dict",
        "description": "The cache's own Redis; {} for none.",
        "options": {
            "port": {"type": "int"},
            "tls_port": {"type": "int"},
            "name": {"type": "str"},
            "maxmemory": {"type": "str"},
            "memory_percent": {"type": "int"},
            "maxmemory_policy": {"type": "str"},
        },
    },
    "site_health_path": {"type": "str", "description": "The page that a site that works answers; empty for none."},
    "site_names": {"type": "list", "elements": "str", "description": "The site's host names, the main one first."},
    **{
        f"topology_{group}": {"type": "list", "elements": "str", "description": f"The hosts of the group {group}."}
        for group in ROLES
    },
    "topology_leaving": {
        "type": "list",
        "elements": "str",
        "description": "The hosts that the application is taken away from.",
    },
    **{name: {"type": "str", "description": f"Its value is {vault}."} for name, (vault, _) in SECRETS.items()},
}

MEMORY: dict[str, dict[str, Any]] = {
    "memory_overcommit_percent": {
        "type": "int",
        "required": True,
        "description": "Percent of a host's memory that the limits of what runs there may add up to.",
    },
}


def roles_of(variables: Mapping[str, Any], loader: DataLoader) -> list[str]:
    """The roles that a host gets, each once: those of its groups, and what is switched on.

    Args:
        variables: the host's variables as an action gets them.
        loader: the plugin's own.
    """
    given, _ = arguments.typed({name: OPTIONS[name] for name in ("celery_broker", "service_tls")}, variables, loader)
    unused = {"rabbitmq"} - {given.get("celery_broker")}
    groups = [group for group in variables["group_names"] if group in ROLES]
    certificates = ["certificates"] if groups and given.get("service_tls") else []
    return certificates + list(dict.fromkeys(role for group in groups if group not in unused for role in ROLES[group]))


class AlreadyTold(LookupError):
    """A rule looks at a variable that has a mistake of its own, and that is told."""


class Given(dict[str, Any]):
    """The values of variables, without those that cannot be looked at."""

    def __missing__(self, name: str) -> Any:
        raise AlreadyTold(name)


def problems(variables: Mapping[str, Any], loader: DataLoader, written: Mapping[str, Any]) -> list[str]:
    """What is wrong with a host's variables beside what its roles say themselves.

    Args:
        variables: the host's variables, settled.
        loader: the plugin's own.
        written: the same as an action gets them, templates and all.

    Returns:
        A sentence for each mistake, beginning with the variable's name or "The group"; empty when nothing is wrong.
    """
    typed, found = arguments.typed(
        {name: {**option, "required": True} for name, option in OPTIONS.items()}, variables, loader
    )
    # The role celery tells itself what is wrong with them.
    celery, _ = arguments.collect("celery", variables, loader)
    given = Given({**celery, **typed})
    found += [
        *_platform(variables),
        *_one_debian(variables, typed),
        *_unanswered(variables, typed),
        *_limited(variables, typed),
        *_differing_rollouts(variables, typed),
        *_renamed(variables),
        *_unknown(variables),
        *_left_open(written),
    ]
    for rule in RULES:
        try:
            found += rule(given)
        except AlreadyTold:
            continue
    return [*found, *_managed(variables, loader, given), *_listening(variables, loader, given)]


def _platform(variables: Mapping[str, Any]) -> list[str]:
    facts = variables.get("ansible_facts", {})
    name, release = facts.get("distribution"), facts.get("distribution_major_version")
    if name == "Debian" and release in DEBIANS:
        return []
    return [
        f"The group all: {variables['inventory_hostname']} runs {name} {release}; supported are Debian {' and '.join(DEBIANS)}. "
        "Reinstall it, or take it out."
    ]


def _one_debian(variables: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """A replica does not read what a primary of a younger Redis sends, and RabbitMQ 3.10 and 4.0 cannot be one."""
    why = {"redis": "one cannot read the other's data", "rabbitmq": "different versions of RabbitMQ cannot be one"}
    return [problem for group in why for problem in _of_one_debian(variables, given, group, why[group])]


def _of_one_debian(variables: Mapping[str, Any], given: Mapping[str, Any], group: str, why: str) -> list[str]:
    members = given.get(f"topology_{group}", [])
    host = variables["inventory_hostname"]
    if len(members) < 2 or host not in members:
        return []
    release = variables.get("ansible_facts", {}).get("distribution_major_version")
    facts = {name: variables["hostvars"][name].get("ansible_facts", {}) for name in members}
    # Of one that --limit left out it is not known.
    others = {name: found.get("distribution_major_version", release) for name, found in facts.items()}
    different = [f"{name} with Debian {other}" for name, other in others.items() if other != release]
    if not different:
        return []
    return [
        f"The group {group} holds {host} with Debian {release} beside {', '.join(different)}: {why}. Have the same Debian on all of them."
    ]


def _others(variables: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The deployment's hosts that are not in the play."""
    groups = (f"topology_{group}" for group in (*ROLES, "leaving"))
    hosts = dict.fromkeys(host for group in groups for host in given.get(group, []))
    return [host for host in hosts if host not in variables.get("ansible_play_hosts_all", hosts)]


def _address(about: Mapping[str, Any]) -> str:
    """A host's private address; empty where it would be one of the facts, and there are none."""
    try:
        return str(about.get("private_address", ""))
    except AnsibleError:
        return ""


def _unanswered(variables: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Of a host that is away, its address is needed, and of one with workers its name."""
    found = []
    for host in _others(variables, given):
        about = variables["hostvars"][host]
        if about.get("ansible_facts"):
            continue
        if host in given.get("topology_workers", []):
            found.append(
                f"The group workers holds {host}, which does not answer: take it out of its groups until it is back, or delete it if it is dead."
            )
        elif not _address(about):
            found.append(
                f"private_address of {host} is not known, because it does not answer: set it beside the host to run for the others with --limit, or "
                "take the host out of its groups."
            )
    return found


def _limited(variables: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    others = _others(variables, given)
    if not others or not given.get("topology_leaving"):
        return []
    return [
        f"The group leaving holds {', '.join(given['topology_leaving'])}, but --limit leaves out {', '.join(others)}: what a server did is done by the "
        "others before it leaves. Run site.yml without --limit, or take it out of leaving."
    ]


def _differing_rollouts(variables: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """A play has one value, that of the group web's first host."""
    mine = given.get("app_rollout_serial", "")
    first = next(iter(variables.get("groups", {}).get("web", [])), None)
    theirs = variables["hostvars"][first].get("app_rollout_serial", mine) if first else mine
    if theirs == mine:
        return []
    return [
        f"app_rollout_serial is {mine!r}, but {theirs!r} for {first}: one run goes by that of the first host of the group web. Set the same for all "
        "hosts of the inventory."
    ]


def _groups(given: Given) -> list[str]:
    found = [
        f"The group {group} has no host. Put one into it."
        for group in ("web", "workers", "proxy")
        if not given[f"topology_{group}"]
    ]
    only_one = {
        "beat": "every schedule would fire twice",
        "flower": "the proxy knows one dashboard",
        "postgresql": "one server is supported",
    }
    for group, why in only_one.items():
        members = given[f"topology_{group}"]
        if len(members) > 1:
            found.append(f"The group {group} holds {', '.join(members)}: {why}. Leave one of them.")
    rabbitmq = given["topology_rabbitmq"]
    if rabbitmq and len(rabbitmq) not in RABBITMQ_MEMBERS:
        found.append(
            f"The group rabbitmq holds {', '.join(rabbitmq)}: one RabbitMQ is one server, or three of which one may fail. Leave one of them, or three."
        )
    redis = given["topology_redis"]
    if redis and len(redis) % 2 == 0:
        found.append(
            f"The group redis holds {', '.join(redis)}: of so many no majority could tell which one is the primary. Leave one of them, "
            f"or {len(redis) + 1}."
        )
    return found


def _leaving(given: Given) -> list[str]:
    topology = {group: given[f"topology_{group}"] for group in ROLES}
    found = leaving.problems(given["inventory_hostname"], topology, given["topology_leaving"])
    if given["app_state_remove_data"] and given["inventory_hostname"] in given["topology_leaving"]:
        found.append(
            "app_state_remove_data is true, but a server that leaves keeps what is stored there, which others may share: set it to false."
        )
    return found


def _rollout(given: Given) -> list[str]:
    serial = given["app_rollout_serial"]
    return [
        f"app_rollout_serial holds {part!r}: give a number of servers from 1, a percentage such as 25%, or a list of them."
        for part in (serial if isinstance(serial, list) and serial else [serial])
        if isinstance(part, bool) or not re.fullmatch(r"[1-9]\d*|([1-9]\d?|100)%", str(part))
    ]


def _managed(variables: Mapping[str, Any], loader: DataLoader, given: Given) -> list[str]:
    found = []
    managed = {group: list(names) for group, names in MANAGED.items()}
    managed.setdefault(given.get("celery_broker", "redis"), []).append("broker_url")
    for group, names in managed.items():
        for name in names if given.get(f"topology_{group}") == [] else ():
            if arguments.typed({name: {"type": "str"}}, variables, loader)[1]:
                found.append(
                    f"{name} cannot be computed, because the group {group} has no host: set it to the managed server's address, "
                    "or put a host into the group."
                )
    return found


def _listening(variables: Mapping[str, Any], loader: DataLoader, given: Given) -> list[str]:
    try:
        topology = {group: given[f"topology_{group}"] for group in ROLES}
        is_meant = given["public_service_addresses"]
    except AlreadyTold:
        return []
    return [] if is_meant else listening.problems(variables, loader, topology)


def _scheduler(given: Given) -> list[str]:
    """A Beat whose scheduler is in no package of the project would end as soon as it is started."""
    scheduler, packages = given["celery_beat_scheduler"], given["django_app_archive"].get("versions", {})
    package = scheduler.partition(".")[0].replace("_", "-")
    if not (given["topology_beat"] and package == "django-celery-beat" and packages) or package in packages:
        return []
    return [
        f"celery_beat_scheduler is {scheduler}, but the project's packages lack {package}: set celery.beat:PersistentScheduler for a "
        "schedule in the settings, add the package to the project, or leave the group beat without a host where nothing is scheduled."
    ]


def _gevent(given: Given) -> list[str]:
    """A worker without its pool's package would end as soon as it is started."""
    packages = given["django_app_archive"].get("versions", {})
    return [
        f"celery_workers: worker {worker['name']!r}: its pool is gevent, but the project's packages lack gevent: add it to the project, or "
        "use threads."
        for worker in complete_workers(given)
        if pool_of(worker) == "gevent" and packages and "gevent" not in packages
    ]


def _archive(given: Given) -> list[str]:
    """What kept the preflight from packing the project; told even where the role's other arguments cannot be computed."""
    return list(given["django_app_archive"].get("problems", []))


def _firewall(given: Given) -> list[str]:
    """Passwords and orders would go between servers that anybody may ask."""
    servers = dict.fromkeys(host for group in ROLES for host in given[f"topology_{group}"])
    if given["firewall_enabled"] or given["firewall_elsewhere"] or len(servers) < 2:
        return []
    return [
        f"firewall_enabled is false, but {', '.join(servers)} talk over a network: whoever is in it reaches their services, too. Take it "
        "out, or set firewall_elsewhere: true, if another firewall keeps strangers away."
    ]


def _cache_instance(given: Given) -> list[str]:
    own, hosts = given["redis_cache_instance"], given["topology_redis"]
    if own and "port" not in own:
        return ["redis_cache_instance has no port: give it one that nothing else on its host has, such as 6380."]
    if own and len(hosts) > 1:
        return [
            f"redis_cache_instance is set, but the group redis holds {', '.join(hosts)}: each would have a cache apart from the others'. Set "
            "it to {}, or set cache_url to a Redis that is elsewhere."
        ]
    return []


def _secrets(given: Given) -> list[str]:
    found = []
    for name, (vault, group) in SECRETS.items():
        value = str(given[name] or "")
        if group and len(given[f"topology_{group}"]) < (2 if name in OF_SEVERAL else 1):
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


def _authority(given: Given) -> list[str]:
    """Without an authority no server can show who it is."""
    if not given["service_tls"]:
        return []
    own = authority.Pair(given["service_authority_key"], given["service_authority_certificate"])
    missing = [f"vault_service_authority_{part}" for part, value in own._asdict().items() if not value]
    if missing:
        return [
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing, with which service_tls makes the servers' "
            "certificates: `make secrets ENV=<environment>` adds what is missing; or set service_tls: false."
        ]
    if problem := authority.problem(own):
        return [
            f"vault_service_authority_certificate cannot be used, for {problem}: take it and vault_service_authority_key out of the file "
            "with `.venv/bin/ansible-vault edit`, and have `make secrets ENV=<environment>` add new ones."
        ]
    return []


def _signing(given: Given) -> list[str]:
    """What Celery needs to sign, and to know what is signed."""
    if not given["celery_message_signing"]:
        return []
    found = [
        f"vault_celery_signing_{part} is missing, with which celery_message_signing has messages signed: `make secrets ENV=<environment>` "
        "adds what is missing; or set celery_message_signing: false."
        for part in authority.Pair._fields
        if not given[f"celery_signing_{part}"]
    ]
    own = authority.Pair(given["celery_signing_key"], given["celery_signing_certificate"])
    if not found and (problem := authority.signer_problem(own)):
        found.append(
            f"vault_celery_signing_certificate cannot be used, for {problem}: take it and vault_celery_signing_key out of the file with "
            "`.venv/bin/ansible-vault edit`, and have `make secrets ENV=<environment>` add new ones."
        )
    packages = given["django_app_archive"].get("versions", {})
    if packages and "cryptography" not in packages:
        found.append(
            "celery_message_signing is true, but the project's packages lack cryptography, with which Celery signs: add celery[auth] to the "
            "project, or set celery_message_signing: false."
        )
    return found


def _web_tls(given: Given) -> list[str]:
    """A server that is no gunicorn is told of its certificate by its command."""
    certificate = f"{given['service_tls_folder']}/web.pem"
    command = given["django_app_web_command"]
    if not given["web_tls"] or not command or certificate in " ".join(command):
        return []
    return [
        f"web_tls is true, but django_app_web_command does not name {certificate}, the file of its key and certificate: add it by the server's "
        "own options, or take web_tls out."
    ]


def _left_open(variables: Mapping[str, Any]) -> list[str]:
    """Values that somebody has yet to write, wherever they stand."""
    found = []
    for name, value in variables.items():
        for path, text in _texts(name, value) if name not in NO_VALUES else ():
            if said := FILL_IN.search(text):
                what = " ".join(said[1].split()) or "its value"
                found.append(f"{path} still says FILL_IN: put there {what}.")
            found += [
                f"{vault} is missing, which {path} is made of: add it with `.venv/bin/ansible-vault edit`, or take the line out."
                for vault in VAULT.findall(text)
                if vault not in variables
            ]
    return found


def _texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """The texts in a value, each with its variable and its key."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _texts(f"{path}: {key}" if ":" not in path else f"{path}.{key}", one)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _texts(path, one)


def _renamed(variables: Mapping[str, Any]) -> list[str]:
    return [f"{old} is called {new} now: rename it." for old, new in RENAMED.items() if old in variables]


def _unknown(variables: Mapping[str, Any]) -> list[str]:
    """Variables with a role's prefix that no role looks at: those that it works out itself, and misspelt ones."""
    found = []
    known = _known()
    for role in sorted({role for roles in ROLES.values() for role in roles} | BESIDE):
        computed = {name for name in arguments.role_variables(role) if not name.startswith("_")}
        for name in sorted(name for name in variables if name.startswith(f"{role}_") and name not in known):
            if name in computed:
                found.append(f"{name} is worked out by the role {role} and cannot be set: take it out.")
            # Not the plural of one of ours: other roles call theirs so.
            elif name.removesuffix("s") not in known and (
                near := difflib.get_close_matches(name, known, n=1, cutoff=0.93)
            ):
                found.append(f"{name} is no variable of the role {role}: did you mean {near[0]}?")
    return found


@cache
def _known() -> frozenset[str]:
    """The options of all roles, and what the deployment's own group_vars set beside them."""
    roles = {role for roles in ROLES.values() for role in roles} | BESIDE
    options = {name for role in roles for name in arguments.options(role)}
    files = (arguments.ROLES.parent / "group_vars/all").glob("*.yml")
    return frozenset(options.union(*(yaml.safe_load(path.read_text(encoding="utf-8")) or {} for path in files)))


def _workers(given: Given) -> list[str]:
    if not given["celery_workers"]:
        return ["celery_workers is empty: no task would ever run. Define a worker."]
    return [
        f"celery_workers: {worker['name']} names the host {host}, which is not in the group workers. Mend its `hosts`."
        for worker in complete_workers(given)
        for host in worker.get("hosts", [])
        if host not in given["topology_workers"]
    ]


def _processes(given: Given) -> list[str]:
    running = {host for group in APP_GROUPS for host in given[f"topology_{group}"]}
    return [
        f"django_app_processes_extra: {process['name']} names the host {host}, which is in none of the groups {', '.join(APP_GROUPS)}. "
        "Mend its `hosts`."
        for process in given["django_app_processes_extra"]
        for host in process.get("hosts", [])
        if host not in running
    ]


def _uploads(given: Given) -> list[str]:
    """A web server takes an upload, a worker reads it, the proxy serves it."""
    folder = given["django_app_media_root"]
    servers = dict.fromkeys(host for group in ("web", "workers", "proxy") for host in given[f"topology_{group}"])
    if not folder or given["inventory_hostname"] not in servers or len(servers) < 2 or given["media_is_shared"]:
        return []
    return [
        f"django_app_media_root is {folder}, but {', '.join(servers)} are several servers: an upload would be on one of them alone. "
        "Mount storage there that they share and set media_is_shared: true; or set django_app_media_root to '' if the project takes "
        "no uploads."
    ]


def _time_limits(given: Given) -> list[str]:
    visibility = given["celery_visibility_timeout"]
    # RabbitMQ counts from when a worker was handed a message, which then waits for those of the worker's other queues.
    counts_waiting = given["celery_broker"] == "rabbitmq"
    limits = {
        worker["name"]: worker.get("time_limit", 0) * (messages_ahead(worker) if counts_waiting else 1)
        for worker in complete_workers(given)
    }
    too_long = [f"{limit:g} s in the worker {name}" for name, limit in limits.items() if limit >= visibility]
    if not too_long:
        return []
    return [
        f"celery_visibility_timeout is {visibility} s, but a task may run longer ({', '.join(too_long)}): "
        "the broker would hand it to a second worker while it runs. Raise it above the longest time_limit"
        + (", times the worker's queues and prefetch_multiplier." if counts_waiting else ".")
    ]


def _site_names(given: Given) -> list[str]:
    found = []
    names = given["site_names"]
    if not names:
        found.append("site_names is empty: give the site's host names, the main one first.")
    for name in names:
        if name.endswith(".invalid"):
            found.append(f"site_names holds the placeholder {name}: put the site's real host name.")
        elif not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", name):
            found.append(f"site_names holds {name!r}, which is not a host name: no scheme, no port, no path.")
    return found


def _application(given: Given) -> list[str]:
    return application_problems("app_name", given["app_name"])


def _health_path(given: Given) -> list[str]:
    path = given["site_health_path"]
    return (
        []
        if path.startswith("/") or not path
        else [
            f"site_health_path is {path!r}: it has to begin with a slash, such as /readyz, or be empty to ask no page."
        ]
    )


def _environment(given: Given) -> list[str]:
    return environment_problems(given["app_environment"], "app_environment")


def _connections(given: Given) -> list[str]:
    return environment_problems(given["app_connections"], "app_connections")


def _flower(given: Given) -> list[str]:
    # The role alone may serve it at the top; the site stands there.
    if given["topology_flower"] and not given["flower_url_prefix"].removeprefix("/"):
        return ["flower_url_prefix is empty: name the path of the site below which Flower stands, such as flower."]
    return []


RULES: tuple[Callable[[Given], list[str]], ...] = (
    *(
        _groups,
        _leaving,
        _rollout,
        _firewall,
        _archive,
        _scheduler,
        _gevent,
        _cache_instance,
        _secrets,
        _workers,
        _processes,
        _time_limits,
        _uploads,
    ),
    *(_site_names, _application, _health_path, _environment, _connections, _flower),
    *(_authority, _signing, _web_tls),
)
