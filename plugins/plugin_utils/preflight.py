"""Every mistake of a host's deployment that can be known before the first change, with the file that it stands in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.module_utils import ssh
from ansible_collections.stockpot.stack.plugins.plugin_utils import arguments
from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import options
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import (
    examined,
    firewall,
    leaving,
    memory,
    neighbours,
    redis,
    stack,
)

# What a role is given as it stands in a variable of the deployment.
WIRED = {"django_app_environment": ("app_environment", "app_connections"), "django_app_name": ("app_name",)}
# What is nothing but another variable, by other words of the role: a mistake in it is told by that name.
SAME = {"nginx_server_names": "site_names", "redis_tls": "service_tls"}
# Ansible's own, and too large to be searched.
NO_TEMPLATES = ("hostvars", "vars", "groups", "ansible_facts", "stockpot_archive")
# Differs from host to host: it is set beside the host.
OF_A_HOST = ("private_address", "ansible_host")
# What the module `neighbours` returns of a host that nobody has.
NOBODY: dict[str, Any] = {
    "applications": {},
    "site_in_nginx_conf": "",
    "nginx_ports": [],
    **{f"rabbitmq_{what}": [] for what in ("data", "used", "kept")},
}
# Whatever else is wrong with such a value will be mended with it.
STILL_OPEN = " still says FILL_IN: "
GROUP_VARS = Path(__file__).resolve().parents[2] / "group_vars"


class Found(NamedTuple):
    """What the preflight found on a host."""

    problems: list[str]
    """A sentence for each mistake, with the variable, the fix and the file to edit; empty when nothing is wrong."""
    memory: memory.Memory
    """What the roles whose arguments are right may take of the host's memory."""
    redis_cache_moves: bool = False
    """Whether the cache moves to a Redis of its own in this run."""
    redis_left: tuple[str, ...] = ()
    """The instances of Redis that the cache leaves in this run."""
    redis_goes_over: bool = False
    """Whether the host's Redis, one of several, goes over to another agreement with the others, as to TLS or back."""
    has_left: bool = False
    """Whether the host is to leave, and nothing of the application is there."""
    certificates_left: bool = False
    """Whether the host renews certificates that are wanted no more."""
    rabbitmq_left: bool = False
    """Whether the host's RabbitMQ was the application's broker and is no more."""


def look(variables: Mapping[str, Any], loader: DataLoader, seen: Mapping[str, Any] = NOBODY) -> Found:
    """What is wrong with what a host's roles are given, and with the deployment as a whole.

    Args:
        variables: the host's variables as an action gets them, `hostvars` among them.
        loader: the plugin's own.
        seen: what the module `neighbours` returned.
    """
    settled = arguments.settled(variables, loader)
    found = stack.problems(settled, loader, variables)
    told = " ".join(found)
    right: dict[str, dict[str, Any]] = {}
    roles = stack.roles_of(settled, loader)
    for role in roles:
        given, wrong = examined(role, settled, loader)
        if not wrong:
            right[role] = given
        # A secret that is missing is missed once, by its name in the vault.
        found += [problem for problem in wrong if stack.SECRETS.get(subject(problem), ("-",))[0] not in told]
    if "firewall" in right and seen.get("ssh"):
        found += firewall.shut_out(right["firewall"], ssh.Connection(*seen["ssh"]))
    own_cache, wrong = cache_of(variables, loader) if "redis" in right else ({}, [])
    found += [problem for problem in wrong if problem not in told]
    if own_cache:
        found += redis.apart_problems(right["redis"], own_cache)
        right[memory.CACHE] = own_cache
    host, facts = variables["inventory_hostname"], variables["ansible_facts"]
    taken = memory.of_host(host, facts["memtotal_mb"], right)
    named, _ = arguments.typed({"app_name": stack.OPTIONS["app_name"]}, settled, loader)
    leaves, _ = arguments.typed({"topology_leaving": stack.OPTIONS["topology_leaving"]}, settled, loader)
    moves, left, goes_over, has_left = False, (), False, False
    if (application := named.get("app_name")) and host in leaves.get("topology_leaving", ()):
        found += leaving.left_behind(host, application, seen)
        has_left = leaving.has_left(application, seen)
    elif application:
        want = neighbours.wanted(application, host, right, facts)
        found += neighbours.problems(want, seen)
        moves, left = neighbours.cache_moves(want, seen), tuple(neighbours.left(want, seen))
        goes_over = neighbours.members_go_over(want, seen)
        taken.shares.extend(
            neighbours.shares(application, seen, facts["memtotal_mb"], has_rabbitmq="rabbitmq" in right)
        )
    typed, wrong = arguments.typed(stack.MEMORY, variables, loader)
    found += wrong or memory.problems(taken, typed["memory_overcommit_percent"])
    where = Places(variables)
    return Found(
        [where.added_to(problem) for problem in dict.fromkeys(found) if not is_echo(problem, found, variables)],
        taken,
        moves,
        left,
        goes_over,
        has_left,
        bool(roles) and "certificates" not in roles and application in seen.get("certificates", ()),
        "rabbitmq" not in roles and application in seen["rabbitmq_used"],
    )


def cache_of(variables: Mapping[str, Any], loader: DataLoader) -> tuple[dict[str, Any], list[str]]:
    """What the role redis is given for the cache's own Redis, empty where it has none; and what is wrong with that, by the name of
    the operator's variable."""
    named, wrong = arguments.typed({"redis_cache_arguments": {"type": "dict"}}, variables, loader)
    if wrong or not named.get("redis_cache_arguments"):
        # What keeps it from being computed is told by its own name.
        return {}, []
    given, wrong = examined("redis", {**variables, **named["redis_cache_arguments"]}, loader)
    own = "|".join(stack.OPTIONS["redis_cache_instance"]["options"])
    told = [
        re.sub(
            rf"\bredis_({own})\b",
            r"redis_cache_instance: \1",
            problem.replace("redis_instance is", "redis_name is"),
            count=1,
        )
        for problem in wrong
    ]
    return {} if wrong else given, told


def is_echo(problem: str, found: list[str], variables: Mapping[str, Any]) -> bool:
    """Whether a sentence comes only of a mistake that is told by its own name, in another sentence of `found`."""
    about = subject(problem)
    others = [other for other in found if other != problem]
    if about in SAME and SAME[about] in words_behind(about, variables) & {subject(other) for other in others}:
        return True
    still_open = {subject(other) for other in others if STILL_OPEN in other}
    if STILL_OPEN not in problem and (about in still_open or (still_open and "FILL_IN" in problem)):
        return True
    if " cannot be computed: " in problem:
        told = {subject(other) for other in others} - {about}
        return any(other.rstrip(".") in problem for other in others) or bool(told & words_behind(about, variables))
    if about == "process_manager_definitions":
        # A definition is made of a role's arguments, of which the same is said.
        said = problem.split(": ", 2)[-1]
        return any(other.endswith((f": {said}", f"_{said}")) for other in others)
    return any(problem.replace(about, name, 1) in others for name in WIRED.get(about, ()))


def words_behind(name: str, variables: Mapping[str, Any]) -> set[str]:
    """The names that a variable's template holds, and those that their templates hold; a role's processes read all its options."""
    found: set[str] = set()
    waiting = {name}
    while waiting:
        text = " ".join(str(variables.get(name, "")) for name in waiting)
        seen = set(re.findall(r"[a-z_][a-z0-9_]*", text))
        for role in re.findall(r"lookup\('stockpot\.stack\.processes', '(\w+)'\)", text):
            seen |= set(options(role))
        waiting = {word for word in seen - found if word in variables and word not in NO_TEMPLATES}
        found |= seen
    return found


def subject(problem: str) -> str:
    """The variable that a sentence is about: its first word."""
    found = re.match(r"[a-z][a-z0-9_]*", problem)
    return found[0] if found else ""


class Places:
    """Knows in which file an operator mends a variable."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        """Takes the host's variables, for its environment: the group that has a folder of group_vars."""
        folder = Path(variables.get("inventory_dir") or ".") / "group_vars"
        groups = [group for group in variables["group_names"] if (folder / group).is_dir()]
        self._environment = groups[0] if groups else "all"
        hosts = f"inventories/{self._environment}/hosts.yml"
        there = (GROUP_VARS.parent / hosts).exists()
        self._hosts = hosts if there else str(variables.get("inventory_file") or "the inventory")
        self._topics = {
            name: path.stem
            for path in sorted((GROUP_VARS / "all").glob("*.yml"))
            for name in yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        }

    def added_to(self, problem: str) -> str:
        """The sentence, with the file to edit."""
        name = subject(problem)
        if problem.startswith("The group ") or name in OF_A_HOST:
            return f"{problem} ({self._hosts})"
        if name.startswith("vault_"):
            return f"{problem} (group_vars/{self._environment}/vault.yml)".replace("<environment>", self._environment)
        named = re.findall(r"[a-z][a-z0-9]*_[a-z0-9_]+", problem) if name in stack.MEMORY else [name]
        topics = dict.fromkeys(self._topics[word] for word in named if word in self._topics)
        default = "; default: " + ", ".join(f"group_vars/all/{topic}.yml" for topic in topics) if topics else ""
        return f"{problem} (group_vars/{self._environment}/main.yml{default})"
