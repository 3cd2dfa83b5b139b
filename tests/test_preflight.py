"""Mistakes are named before anything is changed: the variable, the file to edit and the fix."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
from collections import ChainMap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.stockpot.stack.plugins.plugin_utils import authority, preflight, secret_values
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import stack
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = Path(__file__).resolve().parent.parent
STRONG = "k3J9-fW2qLmZ0pXv7RtYb1Nc"
FUNCTIONS = ("redis", "postgresql", "web", "workers", "beat", "flower", "proxy")
FACTS = {
    "distribution": "Debian",
    "distribution_major_version": "13",
    "memtotal_mb": 3750,  # of a server sold with 4 GiB
    "nodename": "server-1",
    "default_ipv4": {"address": "10.0.0.5"},
    "virtualization_tech_guest": [],
    "python": {"version": {"major": 3, "minor": 13}},
}
# What a server of the environment production has of its own; all else is what the repository ships.
GOOD = {
    "site_names": ["www.example.com"],
    "django_app_source": str(ROOT / "app"),
    "vault_app_secret_key": STRONG,
    "vault_postgresql_password": STRONG,
    "vault_redis_admin_password": STRONG,
    "vault_redis_cache_password": STRONG,
    "vault_redis_celery_password": STRONG,
    "vault_flower_password": STRONG,
}
MAIN = "group_vars/production/main.yml"
HOSTS = "inventories/production/hosts.yml"
VAULT = "group_vars/production/vault.yml"
CLEAR_TEXT = {"service_tls": False}


def write_inventory(folder: Path, variables: dict[str, Any], groups: dict[str, list[str]] | None = None) -> Path:
    """An inventory of the environment production: server-1 does everything unless `groups` says otherwise; group_vars are the real ones,
    but for TLS, which those tests ask for that want it."""
    members = {key: ["server-1"] for key in FUNCTIONS} | (groups or {})
    hosts = {name: CLEAR_TEXT for group in members.values() for name in group}
    hosts["server-1"] = {**CLEAR_TEXT, **GOOD, **variables}
    children = {group: {"hosts": {key: {} for key in names}} for group, names in members.items()}
    if not (folder / "group_vars").exists():
        (folder / "group_vars").symlink_to(ROOT / "group_vars")
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"production": {"hosts": hosts, "children": children}}))
    return path


def variables_of(folder: Path, loader: DataLoader, facts: dict[str, Any]) -> dict[str, Any]:
    """The variables of server-1 in the inventory of a folder, as an action gets them."""
    inventory = InventoryManager(loader, sources=[str(folder / "hosts.yml")])
    manager = VariableManager(loader, inventory)
    HostVars(inventory, manager, loader)  # which the manager then knows
    for host in inventory.get_hosts():
        manager.set_host_facts(host.name, FACTS | facts)
    return manager.get_vars(host=inventory.get_host("server-1"))


def value_of(name: str, folder: Path) -> Any:
    """A variable of server-1, computed."""
    loader = DataLoader()
    variables = variables_of(folder, loader, {})
    return Templar(loader=loader, variables=variables).template(variables[name])


def limited(folder: Path, variables: dict[str, Any], groups: dict[str, list[str]], **others: dict[str, Any]) -> str:
    """What the preflight says of server-1 in a run for it alone; others: what of the other hosts is changed, by their names with _."""
    write_inventory(folder, variables, groups)
    loader = DataLoader()
    found = variables_of(folder, loader, {})
    about = {
        name: ChainMap(others.get(name.replace("-", "_"), {}), found["hostvars"][name])
        for name in found["groups"]["all"]
    }
    return "\n".join(
        preflight.look(found | {"hostvars": about, "ansible_play_hosts_all": ["server-1"]}, loader).problems
    )


@pytest.fixture
def problems(tmp_path: Path) -> Callable[..., list[str]]:
    """What the preflight says of server-1 in an inventory with these variables: `problems({...}, groups={...}, facts={...})`."""

    def ask(
        variables: dict[str, Any] | None = None,
        groups: dict[str, list[str]] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> list[str]:
        write_inventory(tmp_path, variables or {}, groups)
        loader = DataLoader()
        return preflight.look(variables_of(tmp_path, loader, facts or {}), loader).problems

    return ask


def test_what_the_repository_ships_has_no_mistake(problems: Callable[..., list[str]]) -> None:
    """No false alarms."""
    assert problems() == []


SEVERAL = {"web": ["server-2"], "proxy": ["server-1"]}
OVER_TLS = {"service_tls": True, "media_is_shared": True, "private_address": "10.0.0.5"}


def test_tls_between_servers_needs_an_authority_that_is_good(problems: Callable[..., list[str]]) -> None:
    """The sentence names the command that writes one."""
    own = dict(zip(secret_values.AUTHORITY, authority.new_authority(), strict=True))
    assert problems({**OVER_TLS, **own}, groups=SEVERAL) == []
    [missing] = problems(OVER_TLS, groups=SEVERAL)
    assert missing.startswith("vault_service_authority_key and vault_service_authority_certificate are missing")
    assert "make secrets ENV=production" in missing
    assert VAULT in missing
    other = {"vault_service_authority_key": authority.new_authority().key}
    [wrong] = problems({**OVER_TLS, **own, **other}, groups=SEVERAL)
    assert "do not belong together" in wrong
    assert VAULT in wrong


def test_messages_are_signed_with_a_key_that_can(problems: Callable[..., list[str]]) -> None:
    own = authority.new_authority()
    signer, other = (authority.new_signer(own) for _ in range(2))

    def said(pair: authority.Pair) -> list[str]:
        return problems({"celery_message_signing": True, **dict(zip(secret_values.SIGNER, pair, strict=True))})

    assert said(signer) == []
    for pair, why in (
        (signer._replace(key=other.key), "do not belong together"),
        (own, "its key is not RSA"),
        (signer._replace(key="no key"), "its key is no PEM text"),
        (signer._replace(certificate="none"), "its certificate is no PEM text"),
    ):
        [wrong] = said(pair)
        assert wrong.startswith("vault_celery_signing_certificate cannot be used, for ")
        assert why in wrong
        assert "make secrets ENV=production" in wrong
        assert VAULT in wrong


def test_over_tls_a_managed_services_address_is_left_as_it_is(tmp_path: Path) -> None:
    """Its own query says how it is asked; the stack's own services' URLs say it by themselves."""
    address = "rediss://u:p@cache.example.com:6380/0"
    write_inventory(tmp_path, {**OVER_TLS, "cache_url": address}, SEVERAL)
    assert value_of("cache_url", tmp_path) == address
    trusted = "/etc/ssl/services/stockpot/authority.pem"
    assert value_of("broker_url", tmp_path).endswith(
        f"@127.0.0.1:16379/1?ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs={trusted}"
    )
    assert value_of("database_url", tmp_path).endswith(f"?sslmode=verify-full&sslrootcert={trusted}")
    assert "sslmode" not in value_of("django_app_database", tmp_path)


def test_another_web_server_is_told_of_its_certificate_by_its_command(problems: Callable[..., list[str]]) -> None:
    own = dict(zip(secret_values.AUTHORITY, authority.new_authority(), strict=True))
    given = {**OVER_TLS, **own, "web_tls": True, "django_app_web_command": ["uvicorn", "--fd", "3", "shop:app"]}
    found = [problem for problem in problems(given, groups=SEVERAL) if problem.startswith("web_tls ")]
    assert "/etc/ssl/services/stockpot/web.pem" in found[0]


def test_without_static_files_nothing_of_the_release_is_shown(tmp_path: Path) -> None:
    write_inventory(tmp_path, {"django_app_static_root": ""})
    assert value_of("nginx_static_path", tmp_path) == ""


def test_workers_write_to_shared_folders_and_start_anew_with_given_files(tmp_path: Path) -> None:
    files = [{"path": "shop/local_settings.py", "content": ""}]
    write_inventory(tmp_path, {"django_app_shared_paths": ["exports"], "django_app_files": files})
    assert value_of("celery_writable_paths", tmp_path) == ["/srv/stockpot/media", "/srv/stockpot/shared/exports"]
    assert value_of("celery_read_paths", tmp_path) == ["/etc/stockpot/files/shop/local_settings.py"]


@pytest.mark.parametrize(
    ("groups", "runs"), [({}, True), ({group: ["two"] for group in ("web", "workers", "beat")}, False)]
)
def test_a_host_that_only_builds_the_project_runs_none_of_its_processes(
    tmp_path: Path, groups: dict[str, list[str]], runs: bool
) -> None:
    write_inventory(tmp_path, {}, groups)
    assert value_of("django_app_run", tmp_path) is runs


def test_what_another_application_has_is_refused_with_the_file_to_edit(tmp_path: Path) -> None:
    """As the values that ship are a second project's, too; what the first may take of the memory is counted."""
    first = {
        "units": ["shop-web.service"],
        "services": ["redis-server", "postgresql@17-main"],
        "ports": {"redis_port": 6379, "postgresql_port": 5432, "flower_port": 5555},
        "names": ["www.example.com"],
        "memory": {"shop-web.service": "3G"},
    }
    seen = {**preflight.NOBODY, "applications": {"shop": first}, "nginx_ports": [80, 443]}
    write_inventory(tmp_path, {})
    loader = DataLoader()
    found = preflight.look(variables_of(tmp_path, loader, {}), loader, seen)
    told = {problem.split()[0].rstrip(":"): problem for problem in found.problems}
    clashes = {"redis_instance", "postgresql_cluster", "flower_port", "site_names"}
    assert set(told) == clashes | {"memory_overcommit_percent"}
    assert all(MAIN in problem for problem in told.values())
    assert "the application shop 3072" in told["memory_overcommit_percent"]
    own = {
        "redis_instance": "blog",
        "redis_port": 6380,
        "postgresql_cluster": "blog",
        "postgresql_port": 5433,
        "flower_port": 5556,
        "site_names": ["blog.example.com"],
        "memory_overcommit_percent": 200,
    }
    write_inventory(tmp_path, own)
    assert preflight.look(variables_of(tmp_path, loader, {}), DataLoader(), seen).problems == []


def test_a_managed_redis_and_postgresql_are_an_address_each(problems: Callable[..., list[str]]) -> None:
    """No secret of ours is asked for what is not ours, and no group needs a host."""
    managed = {
        "broker_url": "redis://default:secret@redis.provider.example:6379/5",
        "result_backend_url": "redis://default:secret@redis.provider.example:6379/6",
        "cache_url": "redis://default:secret@redis.provider.example:6379/7",
        "database_url": "postgresql://customer-17:secret@postgresql.provider.example:5432/webshop",
        "redis_celery_key_prefix": "",
        "redis_cache_key_prefix": "",
    }
    ours = {name: "" for name in GOOD if name.startswith(("vault_redis_", "vault_postgresql_"))}
    assert problems(managed | ours, {"redis": [], "postgresql": []}) == []
    del managed["cache_url"]
    [sentence] = problems(managed | ours, {"redis": [], "postgresql": []})
    assert sentence.startswith("cache_url cannot be computed")


def test_a_cache_may_have_a_redis_of_its_own(tmp_path: Path, problems: Callable[..., list[str]]) -> None:
    """By one line: its address, its user, and the order of the processes go with it; both fit where one did."""
    own = {"redis_cache_instance": {"port": 6380}}
    assert problems(own) == []
    assert value_of("cache_url", tmp_path).endswith("@127.0.0.1:6380/0")
    assert value_of("broker_url", tmp_path).endswith("@127.0.0.1:6379/1")
    assert value_of("redis_users", tmp_path) == ["celery"]
    after = ["redis-server.service", "redis-server@stockpot-cache.service", "postgresql.service"]
    assert value_of("process_manager_after", tmp_path) == after
    assert problems() == []
    assert value_of("cache_url", tmp_path).endswith("@127.0.0.1:6379/0")
    assert value_of("redis_users", tmp_path) == ["cache", "celery"]
    assert value_of("redis_cache_arguments", tmp_path) == {}


def test_a_cache_of_its_own_is_one_server_s(problems: Callable[..., list[str]]) -> None:
    several = {"redis": ["server-1", "server-2"]}
    told = problems({"redis_cache_instance": {"port": 6380}}, several)
    [sentence] = [problem for problem in told if problem.startswith("redis_cache_instance")]
    assert "the group redis holds server-1, server-2" in sentence
    assert MAIN in sentence


def test_while_a_cache_moves_its_user_stays_where_it_was(tmp_path: Path) -> None:
    moving = {"redis_cache_moves": True, "redis_left": [], "roles": []}
    write_inventory(tmp_path, {"redis_cache_instance": {"port": 6380}, "stockpot_preflight": moving})
    assert value_of("redis_users", tmp_path) == ["cache", "celery"]


@pytest.mark.parametrize(("instance", "unit"), [("", "redis-server.service"), ("blog", "redis-server@blog.service")])
def test_processes_wait_for_their_own_redis(tmp_path: Path, instance: str, unit: str) -> None:
    write_inventory(tmp_path, {"redis_instance": instance})
    assert value_of("process_manager_after", tmp_path) == [unit, "postgresql.service"]


# Changes to a good inventory, and the words that tell an operator what to mend and where.
BAD: list[tuple[dict[str, Any], list[str]]] = [
    # secrets
    (
        {"vault_redis_celery_password": ""},
        ["vault_redis_celery_password is missing", "make secrets ENV=production", VAULT],
    ),
    ({"vault_app_secret_key": "change-me-before-use"}, ["vault_app_secret_key", "placeholder", VAULT]),
    ({"vault_postgresql_password": "short"}, ["vault_postgresql_password", "5 characters", VAULT]),
    ({"vault_flower_password": ""}, ["vault_flower_password is missing", VAULT]),
    # the site
    ({"site_names": []}, ["site_names is empty", MAIN, "group_vars/all/proxy.yml"]),
    ({"site_names": ["www.example.invalid"]}, ["site_names", "placeholder", MAIN]),
    ({"site_names": ["https://shop.example.com"]}, ["site_names", "no scheme", MAIN]),
    ({"site_health_path": "readyz"}, ["site_health_path", "begin with a slash", MAIN, "group_vars/all/app.yml"]),
    ({"app_name": "My App"}, ["app_name", "lower-case", MAIN]),
    ({"app_name": "ssl"}, ["app_name is 'ssl'", "Debian", MAIN]),
    ({"app_state": "gone"}, ["app_state", "present, absent", MAIN, "group_vars/all/app.yml"]),
    ({"app_log_format": "xml"}, ["app_log_format", "plain, json", MAIN, "group_vars/all/app.yml"]),
    ({"app_environment": {"DEBUG": True}}, ["app_environment: DEBUG", "in quotes", MAIN]),
    ({"app_environment": {"KEY": "-----BEGIN\0hunter2"}}, ["app_environment: KEY", "base64", MAIN]),
    ({"django_app_shared_paths": ["staticfiles"]}, ["django_app_shared_paths", "visitors would read it", MAIN]),
    ({"django_app_files": [{"path": "a.py"}]}, ["django_app_files", "content", MAIN, "group_vars/all/app.yml"]),
    (
        {"django_app_processes_extra": [{"name": "tail", "command": ["tail"], "hosts": ["server-9"]}]},
        ["django_app_processes_extra: tail names the host server-9", "Mend its `hosts`", MAIN],
    ),
    ({"app_environment": "KEY=hunter2"}, ["app_environment: this is no dict", "{name: value}", MAIN]),
    (
        {"app_environment": {"PAY": "FILL_IN the key"}},
        ["app_environment: PAY still says FILL_IN: put there the key", MAIN],
    ),
    ({"celery_workers": [{"name": "a", "queues": ["FILL_IN"]}]}, ["celery_workers: queues still says FILL_IN", MAIN]),
    ({"django_app_wsgi": "FILL_IN the application"}, ["django_app_wsgi still says FILL_IN: put there the app", MAIN]),
    ({"site_names": ["FILL_IN the names"]}, ["site_names still says FILL_IN: put there the names.", MAIN]),
    ({"ansible_host": "FILL_IN"}, ["ansible_host still says FILL_IN: put there its value", HOSTS]),
    (
        {"app_environment": {"PAY": "{{ vault_pay_key }}"}},
        ["vault_pay_key is missing, which app_environment: PAY is made of", "ansible-vault edit", VAULT],
    ),
    ({"site_names": None}, ["site_names has no value", MAIN, "group_vars/all/proxy.yml"]),
    ({"site_names": "www.example.com"}, ["site_names: this is no list", "[one, another]", MAIN]),
    ({"vault_flower_password": None}, ["vault_flower_password is missing", VAULT]),
    ({"django_app_celery": "config"}, ["django_app_celery is called celery_app now", MAIN]),
    ({"web_bind": "10.0.0.5:80"}, ["web_bind is called django_app_bind now", MAIN]),
    ({"proxy_upstreams": ["10.0.0.5:80"]}, ["proxy_upstreams is called nginx_upstreams now", MAIN]),
    # what has no effect
    ({"celery_processes": []}, ["celery_processes is worked out by the role celery", "take it out", MAIN]),
    ({"django_app_release": "1"}, ["django_app_release is worked out by the role django_app", MAIN]),
    (
        {"django_app_web_worker": 4},
        ["django_app_web_worker is no variable", "did you mean django_app_web_workers?", MAIN],
    ),
    ({"redis_max_memory": "1gb"}, ["redis_max_memory is no variable", "did you mean redis_maxmemory?", MAIN]),
    # what visitors may read
    ({"django_app_media_root": "/srv/stockpot"}, ["django_app_media_root", "nobody outside", MAIN]),
    ({"nginx_static_path": "/srv/stockpot/current/source/"}, ["nginx_static_path", "nobody outside", MAIN]),
    # redis
    (
        {"redis_maxmemory": "lots"},
        ["redis_maxmemory: bytes, or a number with kb, mb or gb", "'lots'", MAIN, "group_vars/all/redis.yml"],
    ),
    ({"redis_cache_instance": {"name": "c"}}, ["redis_cache_instance has no port", MAIN, "group_vars/all/redis.yml"]),
    ({"redis_cache_instance": {"port": 6379}}, ["redis_cache_instance: port is 6379", MAIN]),
    (
        {"redis_cache_instance": {"port": 70000}},
        ["redis_cache_instance: port is 70000", MAIN, "group_vars/all/redis.yml"],
    ),
    ({"redis_cache_instance": {"port": 6380, "name": "C"}}, ["redis_cache_instance: name is 'C'", MAIN]),
    ({"redis_cache_instance": {"port": 6380, "maxmemory": "lots"}}, ["redis_cache_instance: maxmemory: bytes", MAIN]),
    (
        {"redis_cache_instance": {"port": 6380, "maxmemory_policy": "lru"}},
        ["redis_cache_instance: maxmemory_policy", MAIN],
    ),
    ({"redis_cache_instance": {"port": 6380, "memory": "1gb"}}, ["redis_cache_instance: 'memory' is unknown", MAIN]),
    ({"redis_maxmemory_policy": "allkeys-lru"}, ["redis_maxmemory_policy is allkeys-lru, but the user celery", MAIN]),
    ({"redis_appendfsync": "sometimes"}, ["redis_appendfsync", "everysec, always", MAIN]),
    (
        {"redis_settings": {"maxmemory-policy": "allkeys-lru"}},
        ["redis_settings: maxmemory-policy belongs to the role", MAIN],
    ),
    (
        {"redis_celery_key_prefix": "cache:celery:"},
        ["redis_celery_key_prefix", "neither may begin with the other", MAIN],
    ),
    ({"redis_celery_databases": [1, 99]}, ["redis_celery_databases: there is no database 99", MAIN]),
    # a value that the wiring gives, overridden wrongly
    ({"redis_bind_addresses": []}, ["redis_bind_addresses is empty", MAIN, "group_vars/all/wiring.yml"]),
    ({"redis_port": "broker"}, ["redis_port", "int", MAIN]),
    ({"redis_settings": None}, ["redis_settings has no value", MAIN]),
    ({"redis_extra_users": ["x:hunter2"]}, ["redis_extra_users", "dict", MAIN]),
    # postgresql
    (
        {"postgresql_settings": {"password_encryption": "md5"}},
        ["postgresql_settings: password_encryption belongs", MAIN],
    ),
    ({"postgresql_database": "template1"}, ["postgresql_database", "no name of PostgreSQL", MAIN]),
    (
        {"postgresql_client_addresses": ["everywhere"]},
        ["postgresql_client_addresses: everywhere is neither", MAIN, "group_vars/all/wiring.yml"],
    ),
    # workers
    ({"celery_workers": []}, ["celery_workers is empty", MAIN, "group_vars/all/celery.yml"]),
    ({"celery_workers": [{"name": "a", "queues": ["x"], "concurency": 4}]}, ["celery_workers", "concurency", MAIN]),
    (
        {"celery_workers": [{"name": "a", "queues": ["x"], "time_limit": 50000}]},
        ["celery_visibility_timeout is 43200 s", "50000", MAIN],
    ),
    ({"celery_worker_defaults": {"time_limit": 43200}}, ["celery_visibility_timeout", "43200", MAIN]),
    (
        {"celery_workers": [{"name": "a", "queues": ["x"], "hosts": ["other"]}]},
        ["celery_workers", "other", "group workers", MAIN],
    ),
    ({"celery_visibility_timeout": "long"}, ["celery_visibility_timeout", "int", MAIN, "group_vars/all/celery.yml"]),
    (
        {"celery_workers": [{"name": "a", "queues": ["x"], "time_limit": "long"}]},
        ["celery_workers", "time_limit", "float", MAIN],
    ),
    ({"celery_worker_defaults": [1]}, ["celery_worker_defaults", "dict", MAIN]),
    (
        {"celery_workers": [{"name": "a", "queues": ["x"], "nice": 20}]},
        ["celery_workers: worker 'a': nice is 20.", MAIN],
    ),
    ({"celery_beat_cpu_max": "half"}, ["celery_beat_cpu_max is 'half'", MAIN]),
    ({"flower_cpu_max": "half"}, ["flower_cpu_max is 'half'", MAIN]),
    ({"django_app_web_memory_max": "1 G"}, ["django_app_web_memory_max is '1 G'", MAIN, "group_vars/all/web.yml"]),
    (
        {"celery_workers": [{"name": "a", "queues": ["x"], "hosts": "server-9"}]},
        ["celery_workers: a names the host server-9,", "group workers", MAIN],
    ),
    # Flower
    ({"flower_url_prefix": ""}, ["flower_url_prefix is empty", MAIN, "group_vars/all/flower.yml"]),
    ({"flower_url_prefix": "/"}, ["flower_url_prefix is empty", MAIN]),
    # the application
    (
        {"django_app_processes_extra": [{"name": "listener", "command": "python -m x"}]},
        ["django_app_processes_extra: listener: the command", "list of words", MAIN],
    ),
    ({"django_app_processes_extra": [{"name": "listener"}]}, ["django_app_processes_extra", "command", MAIN]),
    ({"django_app_processes_extra": [{"name": "listener", "command": []}]}, ["django_app_processes_extra", "command"]),
    ({"django_app_web_workers": "many"}, ["django_app_web_workers", "int", MAIN, "group_vars/all/web.yml"]),
    ({"nginx_certificate": "/nowhere/site.pem"}, ["nginx_certificate_key", "set both", MAIN]),
    (
        {"stockpot_archive": {"problems": ["django_app_source: there is no folder /x."]}},
        ["django_app_source: there is no", MAIN],
    ),
]


@pytest.mark.parametrize(("changes", "words"), BAD, ids=[",".join(changes) for changes, _ in BAD])
def test_a_mistake_is_named_once_with_its_variable_file_and_fix(
    problems: Callable[..., list[str]], changes: dict[str, Any], words: list[str]
) -> None:
    """An operator can mend it from the sentence alone."""
    found = problems(changes)
    named = [sentence for sentence in found if words[0] in sentence]
    assert len(named) == 1, found
    for word in words:
        assert word in named[0]
    assert "hunter2" not in " ".join(found)


ALONE = [
    *(
        {"app_environment": value}
        for value in ({"PIN": [123456]}, {"PIN": "12\0 34"}, {"1PIN": "123456"}, "PIN=123456", None)
    ),
    *({"site_names": value} for value in ([], "www.example.com", None)),
    *({"flower_url_prefix": value} for value in ("", "//", None)),
    *({"redis_extra_users": value} for value in (["x:y"], [None], "x")),
    *({"django_app_processes_extra": [{"name": "x", **keys}]} for keys in ({"command": "a b"}, {"command": []}, {})),
    {"app_name": "My App"},
    {"celery_visibility_timeout": "long"},
    {"celery_worker_defaults": [1]},
    {"celery_worker_defaults": {"memory_max": "1 G"}, "celery_workers": [{"name": "a", "queues": ["x"]}]},
    {"celery_workers": [{"name": "a", "queues": ["x"], "nice": 20}]},
    {"celery_workers": [{"name": "a", "queues": ["x"], "instances": 2, "cpu_max": "1"}]},
    {"celery_beat_cpu_max": "half"},
    {"flower_nice": 20},
    {"django_app_web_memory_max": "1 G"},
    {"celery_workers": [{"name": "a", "queues": ["x"], "time_limit": "long"}]},
    {"celery_workers": [{"name": "a", "queues": ["x"], "hosts": "other"}]},
    {"topology_web": "server-1"},
    {"private_address": "{{ nowhere }}", "redis_bind_addresses": "{{ [private_address] }}"},
]


@pytest.mark.parametrize("changes", ALONE, ids=str)
def test_one_mistake_makes_one_sentence_that_begins_with_a_variable_and_shows_no_value(
    problems: Callable[..., list[str]], changes: dict[str, Any]
) -> None:
    """Whatever is made of the variable is not told too."""
    [sentence] = problems(changes)
    assert preflight.subject(sentence) in {**changes, "redis_bind_addresses": ""}
    assert "123456" not in sentence


def test_a_worker_s_host_may_be_given_as_text_and_the_environment_hold_whole_numbers(
    problems: Callable[..., list[str]],
) -> None:
    """Both are what the roles make of them."""
    workers = [{"name": "a", "queues": ["x"], "hosts": "server-1"}]
    assert problems({"celery_workers": workers, "app_environment": {"PIN": 123456}}) == []


@pytest.mark.parametrize("prefix", ["flower", "/tools/flower/"])
def test_flower_stands_at_the_path_that_is_given_with_or_without_slashes(
    problems: Callable[..., list[str]], tmp_path: Path, prefix: str
) -> None:
    """Nginx wants one slash at either end."""
    assert problems({"flower_url_prefix": prefix}) == []
    assert value_of("flower_location", tmp_path)["path"] == f"/{prefix.strip('/')}/"


def test_where_the_inventory_is_not_the_repository_s_its_own_file_is_named(
    problems: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the installed collection, which holds no inventories."""
    (tmp_path / "collection/group_vars").mkdir(parents=True)
    (tmp_path / "collection/group_vars/all").symlink_to(ROOT / "group_vars/all")
    monkeypatch.setattr(preflight, "GROUP_VARS", tmp_path / "collection/group_vars")
    [sentence] = [found for found in problems({}, {"web": []}) if "The group web has no host" in found]
    assert sentence.endswith(f"({tmp_path}/hosts.yml)")


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"web": []}, ["The group web has no host", HOSTS]),
        ({"beat": ["server-1", "server-2"]}, ["The group beat", "fire twice", HOSTS]),
        ({"redis": ["server-1", "server-2"]}, ["The group redis", "Leave one", HOSTS]),
        ({"postgresql": []}, ["database_url cannot be computed", "group postgresql", MAIN]),
    ],
)
def test_a_group_that_cannot_be_is_named(
    problems: Callable[..., list[str]], groups: dict[str, list[str]], words: list[str]
) -> None:
    """With the inventory's file."""
    named = [sentence for sentence in problems({}, groups) if words[0] in sentence]
    assert len(named) == 1
    for word in words:
        assert word in named[0]


def test_three_servers_of_redis_need_secrets_of_their_own_and_one_debian(
    problems: Callable[..., list[str]], tmp_path: Path
) -> None:
    """A vault that was written for one server lacks them."""
    three = {"redis": ["server-1", "server-2", "server-3"]}
    addresses = {f"vault_redis_{name}_password": "" for name in ("internal", "sentinel")}
    told = "\n".join(problems(addresses, three))
    for name in addresses:
        assert f"{name} is missing" in told
    assert problems(addresses) == []
    secrets = dict.fromkeys(addresses, "a-long-and-random-value")
    write_inventory(tmp_path, secrets, three)
    loader = DataLoader()
    variables = variables_of(tmp_path, loader, {})
    assert value_of("broker_url", tmp_path).count("sentinel://celery:") == 3
    variables["hostvars"] = {
        name: {"ansible_facts": FACTS | {"distribution_major_version": release}}
        for name, release in (("server-1", "12"), ("server-2", "13"), ("server-3", "12"))
    }
    typed = {"topology_redis": three["redis"]}
    [sentence] = stack._one_debian(
        variables | {"ansible_facts": variables["hostvars"]["server-1"]["ansible_facts"]}, typed
    )
    assert "The group redis holds server-1 with Debian 12 beside server-2 with Debian 13" in sentence


THREE = {"redis": ["server-1", "server-2", "server-3"]}


def test_a_run_for_some_servers_does_without_one_that_does_not_answer_where_its_address_is_known(
    tmp_path: Path,
) -> None:
    away: dict[str, Any] = {"ansible_facts": {}, "private_address": ""}
    told = limited(tmp_path, {}, THREE, server_2=away)
    assert "private_address of server-2 is not known" in told
    assert "server-3" not in told
    assert "server-2" not in limited(tmp_path, {}, THREE, server_2=away | {"private_address": "10.0.0.2"})
    told = limited(tmp_path, {}, {"workers": ["server-1", "server-2"]}, server_2=away)
    assert "The group workers holds server-2, which does not answer" in told


def test_no_server_leaves_in_a_run_for_some(tmp_path: Path) -> None:
    told = limited(tmp_path, {}, {"leaving": ["server-2"]})
    assert "The group leaving holds server-2, but --limit leaves out server-2" in told
    assert "without --limit" in told
    assert "leaving" not in limited(tmp_path, {}, {"leaving": []})


def test_all_hosts_of_an_inventory_go_over_in_the_same_parts(tmp_path: Path) -> None:
    told = limited(tmp_path, {}, SEVERAL, server_2={"app_rollout_serial": 1})
    assert "app_rollout_serial is '100%', but 1 for server-2" in told


# For a Sentinel beside everything else.
MORE = {"memtotal_mb": 4400}


def test_three_servers_of_redis_have_no_cache_of_its_own_and_that_is_named_once(
    problems: Callable[..., list[str]],
) -> None:
    """With the group, the variable and the file; no role says it again by its own words. TLS they have."""
    own = dict(zip(secret_values.AUTHORITY, authority.new_authority(), strict=True))
    secrets = {f"vault_redis_{name}_password": STRONG for name in ("internal", "sentinel")}
    addresses = zip(THREE["redis"], ("10.0.0.5", "10.0.0.6", "10.0.0.7"), strict=True)
    given = {**own, **secrets, "redis_members": [{"name": name, "address": address} for name, address in addresses]}
    assert problems(given, THREE, MORE) == []
    assert problems({**given, "service_tls": True}, THREE, MORE) == []
    [sentence] = problems({**given, "redis_cache_instance": {"port": 6380}}, THREE, MORE)
    for word in ("redis_cache_instance is set, but the group redis holds", "{}", ", ".join(THREE["redis"]), MAIN):
        assert word in sentence


def test_whoever_asks_sentinels_over_tls_is_told_by_each_of_their_addresses(tmp_path: Path) -> None:
    write_inventory(tmp_path, {"service_tls": True}, THREE)
    told = {
        name: [urlsplit(one) for one in value_of(name, tmp_path).split(";")]
        for name in ("broker_url", "result_backend_url", "cache_url")
    }
    query = "ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs=/etc/ssl/services/stockpot/authority.pem"
    for urls in told.values():
        assert [(url.scheme, url.port, url.query) for url in urls] == [("sentinel", 36379, query)] * 3
    assert [url.path for urls in told.values() for url in urls] == ["/1"] * 3 + ["/2"] * 3 + ["/0"] * 3
    own = {service["name"]: service for service in value_of("certificates_services", tmp_path)}
    # It is restarted, having no other way: the Redis beside it goes on, and nobody has to take over.
    assert own["sentinel"]["load"] == ["systemctl", "try-restart", *own["sentinel"]["units"]]


@pytest.mark.parametrize(
    ("variables", "behind", "flower"),
    [({}, True, True), ({"celery_broker": "rabbitmq"}, True, False), ({"redis_members": []}, False, False)],
)
def test_sentinels_are_told_of_whoever_asks_them(
    tmp_path: Path, variables: dict[str, Any], behind: bool, flower: bool
) -> None:
    """RabbitMQ's messages leave results and cache with them."""
    groups = {**THREE, "rabbitmq": ["server-1"]}
    write_inventory(
        tmp_path, {f"vault_redis_{name}_password": STRONG for name in ("internal", "sentinel")} | variables, groups
    )
    assert value_of("redis_is_behind_sentinels", tmp_path) is behind
    told = value_of("app_connections", tmp_path)
    assert (told["REDIS_PRIMARY_NAME"], told["REDIS_SENTINEL_PASSWORD"]) == (
        ("primary", STRONG) if behind else ("", "")
    )
    options = value_of("flower_broker_options", tmp_path)
    assert bool(options) is flower
    if flower:
        kwargs = {"password": STRONG, "socket_timeout": 1, "socket_connect_timeout": 1, "retry": None}
        assert options == {"master_name": "primary", "sentinel_kwargs": kwargs}


def test_uploads_on_several_servers_need_storage_that_they_share(problems: Callable[..., list[str]]) -> None:
    """Said before the first change; silent where storage is shared, or where nothing is uploaded."""
    apart = {"workers": ["server-2"], "proxy": ["server-3"]}
    [sentence] = problems({}, apart)
    for word in ("django_app_media_root", "server-1, server-2, server-3", "media_is_shared: true", MAIN):
        assert word in sentence


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"leaving": ["server-1"]}, "which holds the application's data (Redis and PostgreSQL)"),
        (
            {"leaving": ["server-1"], "redis": ["server-2"], "postgresql": ["server-2"]},
            "which is in web, workers, beat, flower, proxy too",
        ),
        ({"leaving": ["server-1"], **{group: ["server-2"] for group in FUNCTIONS}}, ""),
        ({"leaving": ["server-2"]}, ""),
    ],
)
def test_a_server_that_leaves_holds_no_data_and_does_nothing_else(
    problems: Callable[..., list[str]], groups: dict[str, list[str]], words: str
) -> None:
    found = [sentence for sentence in problems({}, groups) if "The group leaving" in sentence]
    assert len(found) == bool(words)
    for sentence in found:
        assert words in sentence
        assert sentence.startswith("The group leaving holds server-1")
        assert sentence.endswith(f"({HOSTS})")


def test_nothing_that_is_stored_goes_with_a_server_that_leaves(problems: Callable[..., list[str]]) -> None:
    """A storage that is mounted there is the others' too."""
    gone = {"leaving": ["server-1"], **{group: ["server-2"] for group in FUNCTIONS}}
    [sentence] = problems({"app_state_remove_data": True}, gone)
    assert sentence.startswith("app_state_remove_data is true")
    assert MAIN in sentence


@pytest.mark.parametrize(
    ("known", "told", "has_left"),
    [
        ({}, 0, True),
        ({"units": ["stockpot-web.service"]}, 0, False),
        ({"names": ["www.example.com"]}, 0, False),
        ({"services": ["redis-server"]}, 1, True),
        ({"rabbitmq": {"consumer_timeout": "1000"}}, 1, True),
    ],
)
def test_what_a_server_that_leaves_holds_is_looked_up_on_it(
    tmp_path: Path, known: dict[str, Any], told: int, has_left: bool
) -> None:
    """Whatever the inventory says of it."""
    write_inventory(tmp_path, {}, {"leaving": ["server-1"], **{group: ["server-2"] for group in FUNCTIONS}})
    empty = {"units": [], "services": [], "ports": {}, "names": [], "memory": {}}
    seen = {**preflight.NOBODY, "applications": {"stockpot": empty | known} if known else {}}
    loader = DataLoader()
    found = preflight.look(variables_of(tmp_path, loader, {}), loader, seen)
    assert len(found.problems) == told
    assert all(re.search(r"\((redis|rabbitmq)-server\)", sentence) for sentence in found.problems)
    assert found.has_left is has_left


def test_a_server_that_leaves_is_let_in_until_it_has_left(tmp_path: Path) -> None:
    """PostgreSQL names it among its clients, and RabbitMQ listens for it; a second run has neither, and changes nothing."""
    for left, clients in ((False, ["10.0.0.5"]), (True, [])):
        groups = {"leaving": ["server-2"], "rabbitmq": ["server-1"]}
        inventory = write_inventory(tmp_path, {"celery_broker": "rabbitmq"}, groups)
        loader = DataLoader()
        variables = variables_of(tmp_path, loader, {})
        if left:
            told = yaml.safe_load(inventory.read_text())
            told["production"]["hosts"]["server-2"] = {"stockpot_preflight": {"left": True}}
            inventory.write_text(yaml.safe_dump(told))
            variables = variables_of(tmp_path, loader, {})
        templar = Templar(loader=loader, variables=variables)
        assert templar.template(variables["postgresql_client_addresses"]) == clients
        assert templar.template(variables["firewall_broker_clients"]) == clients
        for service in ("redis", "rabbitmq"):
            assert ("10.0.0.5" in templar.template(variables[f"{service}_bind_addresses"])) is bool(clients)


def test_several_proxies_reach_flower_and_the_web_servers_and_are_believed(
    problems: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Though one of them is on the host of both."""
    groups = {"proxy": ["server-1", "server-2"]}
    assert problems({"media_is_shared": True}, groups) == []
    assert value_of("flower_address", tmp_path) == "10.0.0.5"
    assert value_of("nginx_upstreams", tmp_path) == ["10.0.0.5:8000"]
    assert value_of("django_app_trusted_proxies", tmp_path) == ["127.0.0.1", "10.0.0.5"]


@pytest.mark.parametrize(
    ("serial", "told"),
    [
        (1, 0),
        ("2", 0),
        ("25%", 0),
        ("100%", 0),
        ([1, "50%"], 0),
        (0, 1),
        ("half", 1),
        ("0%", 1),
        ([], 1),
        ([1, -1], 1),
        (True, 1),
    ],
)
def test_a_roll_out_in_parts_takes_what_ansible_takes(
    problems: Callable[..., list[str]], serial: object, told: int
) -> None:
    found = [sentence for sentence in problems({"app_rollout_serial": serial}) if "app_rollout_serial" in sentence]
    assert len(found) == told
    assert all(sentence.startswith("app_rollout_serial") and MAIN in sentence for sentence in found)


def test_a_second_web_server_beside_one_with_uploads_is_refused(problems: Callable[..., list[str]]) -> None:
    """So is a server of workers alone, which write them too."""
    for groups in ({"web": ["server-1", "server-2"]}, {"workers": ["server-1", "server-2"]}):
        [sentence] = problems({}, groups)
        for word in (
            "django_app_media_root is /srv/stockpot/media",
            "server-1, server-2",
            "media_is_shared: true",
            MAIN,
        ):
            assert word in sentence
        assert problems({"media_is_shared": True}, groups) == []


@pytest.mark.parametrize(
    ("given", "private"),
    [
        ({}, True),
        ({"django_app_source": "/srv/library"}, False),
        ({"django_app_source": "https://git.example/shop.git"}, False),
        ({"django_app_source": "/srv/library", "media_is_private": True}, True),
        ({"media_is_private": False}, False),
        ({"django_app_media_root": ""}, False),
    ],
)
def test_the_reference_applications_uploads_are_private_and_others_where_they_say_so(
    tmp_path: Path, given: dict[str, Any], private: bool
) -> None:
    """nginx and the project are told the same."""
    folder = tmp_path / "inventories/production"
    folder.mkdir(parents=True)
    (tmp_path / "app").symlink_to(ROOT / "app")
    write_inventory(folder, given)
    assert value_of("nginx_media_private", folder) is private
    assert value_of("app_connections", folder)["MEDIA_IS_PRIVATE"] == int(private)


@pytest.mark.parametrize(
    ("given", "file"),
    [
        ({}, "gunicorn.conf.py"),
        ({"django_app_source": "/srv/library"}, ""),
        ({"django_app_web_command": ["granian", "config.wsgi:application"]}, ""),
        (
            {"django_app_source": "/srv/library", "django_app_gunicorn_config": "deploy/gunicorn.py"},
            "deploy/gunicorn.py",
        ),
    ],
)
def test_the_reference_application_s_configuration_of_gunicorn_is_read_and_others_where_they_name_it(
    tmp_path: Path, given: dict[str, Any], file: str
) -> None:
    folder = tmp_path / "inventories/production"
    folder.mkdir(parents=True)
    (tmp_path / "app").symlink_to(ROOT / "app")
    write_inventory(folder, given)
    assert value_of("django_app_gunicorn_config", folder) == file


@pytest.mark.parametrize(
    ("locked", "answers"), [({"celery": "5.6.3"}, False), ({"celery": "5.7.0"}, True), ({}, False)]
)
def test_beat_is_run_as_the_locked_celery_can(tmp_path: Path, locked: dict[str, str], answers: bool) -> None:
    packed = {"archive": "/cache/x.tar.gz", "digest": "x", "versions": locked}
    write_inventory(tmp_path, {"stockpot_archive": packed, "django_app_release_path": "/srv/stockpot/current"})
    (beat,) = [one for one in value_of("process_manager_definitions", tmp_path) if one["name"] == "beat"]
    assert ("--enable-remote-control" in beat["command"]) is answers


def test_a_celery_too_old_is_named(problems: Callable[..., list[str]]) -> None:
    packed = {
        "archive": "/cache/x.tar.gz",
        "digest": "x",
        "versions": {"celery": "5.1.2", "django-celery-beat": "2.8.0"},
    }
    (sentence,) = problems({"stockpot_archive": packed})
    assert sentence.startswith("celery_version is 5.1.2: Celery 5.2 and later are run.")


def test_a_scheduler_that_no_package_brings_is_named(problems: Callable[..., list[str]]) -> None:
    packed = {"archive": "/cache/x.tar.gz", "digest": "x", "versions": {"celery": "5.6.0"}}
    scheduler = {"celery_beat_scheduler": "django_celery_beat.schedulers:DatabaseScheduler"}
    (sentence,) = problems({"stockpot_archive": packed, **scheduler})
    assert sentence.startswith(
        "celery_beat_scheduler is django_celery_beat.schedulers:DatabaseScheduler, but the project's packages lack"
    )
    assert "group_vars/all/celery.yml" in sentence
    packed["versions"]["django-celery-beat"] = "2.8.0"
    assert problems({"stockpot_archive": packed, **scheduler}) == []


def test_a_pool_that_no_package_brings_is_named(problems: Callable[..., list[str]]) -> None:
    versions = {"celery": "5.6.0", "django-celery-beat": "2.8.0"}
    workers = {"celery_workers": [{"name": "a", "queues": ["x"]}], "celery_worker_defaults": {"pool": "gevent"}}
    packed = {"archive": "/cache/x.tar.gz", "digest": "x", "versions": versions}
    (sentence,) = problems({"stockpot_archive": packed, **workers})
    assert sentence.startswith("celery_workers: worker 'a': its pool is gevent, but the project's packages lack gevent")
    versions["gevent"] = "25.9.1"
    assert problems({"stockpot_archive": packed, **workers}) == []


@pytest.mark.parametrize("given", [{"media_is_shared": True}, {"django_app_media_root": ""}])
def test_uploads_that_are_shared_or_not_taken_are_no_mistake(
    problems: Callable[..., list[str]], given: dict[str, Any]
) -> None:
    """On several servers."""
    assert problems(given, {"workers": ["server-2"], "proxy": ["server-3"]}) == []


def test_what_a_host_does_not_have_is_not_promised(problems: Callable[..., list[str]]) -> None:
    """Each process with its share, the sum, the host's memory, and where to change them."""
    [sentence] = problems({"django_app_web_memory_max": "2G"}, facts={"memtotal_mb": 3000})
    assert sentence.startswith("memory_overcommit_percent is 100, but what runs on server-1 may take ")
    for word in (
        "it has 3000 MiB: web 2048, ",
        "worker-critical 256",
        "beat 176",
        "watch 96",
        "flower 192",
        "Redis 225",
        MAIN,
    ):
        assert word in sentence
    for name in ("memory", "celery", "web", "redis", "postgresql", "flower"):
        assert f"group_vars/all/{name}.yml" in sentence
    assert problems({"memory_overcommit_percent": 200}, facts={"memtotal_mb": 3000}) == []


PUBLIC = "93.184.215.14"
# The database apart from those who ask it.
APART = {"workers": ["server-2"], "proxy": ["server-3"]}
ON_THE_INTERNET = {"default_ipv4": {"address": PUBLIC}, "all_ipv4_addresses": [PUBLIC]}
TWO_NETWORKS = {**ON_THE_INTERNET, "all_ipv4_addresses": [PUBLIC, "10.0.0.5", "192.168.7.1"]}
WITHOUT_IPV4 = {"default_ipv4": {}, "all_ipv4_addresses": []}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            ON_THE_INTERNET,
            ["Redis (port 6379), PostgreSQL (port 5432), gunicorn (port 8000), Flower (port 5555) would be open"],
        ),
        (TWO_NETWORKS, ["Redis (port 6379)", "It has 10.0.0.5, 192.168.7.1."]),
    ],
)
def test_services_for_other_servers_are_not_put_on_the_internet(
    problems: Callable[..., list[str]], facts: dict[str, Any], words: list[str]
) -> None:
    """The host, its address, the services, and both ways out are told."""
    [sentence] = problems({"media_is_shared": True}, APART, facts)
    for word in (f"private_address is {PUBLIC} on server-1", *words, "public_service_addresses: true", HOSTS):
        assert word in sentence


@pytest.mark.parametrize(
    ("variables", "facts"),
    [
        ({"private_address": "10.0.0.5"}, TWO_NETWORKS),
        ({"private_address": "100.101.102.103"}, ON_THE_INTERNET),
        ({"public_service_addresses": True}, ON_THE_INTERNET),
        ({"public_service_addresses": "true"}, ON_THE_INTERNET),
        ({}, {**ON_THE_INTERNET, "all_ipv4_addresses": [PUBLIC, "10.0.0.5"]}),
        ({}, {}),
    ],
    ids=[
        "one is chosen",
        "an overlay's is given",
        "it is meant",
        "it is meant, said with -e",
        "it has one private address",
        "its own is private",
    ],
)
def test_services_for_other_servers_may_listen_on_a_private_address_or_where_it_is_meant(
    problems: Callable[..., list[str]], variables: dict[str, Any], facts: dict[str, Any]
) -> None:
    """No false alarms."""
    assert problems({"media_is_shared": True, **variables}, APART, facts) == []


@pytest.mark.parametrize("facts", [ON_THE_INTERNET, TWO_NETWORKS, WITHOUT_IPV4], ids=["public", "three", "IPv6 alone"])
def test_one_server_listens_for_itself_whatever_its_addresses(
    problems: Callable[..., list[str]], tmp_path: Path, facts: dict[str, Any]
) -> None:
    """On loopback and a socket file."""
    assert problems({}, facts=facts) == []
    assert value_of("redis_bind_addresses", tmp_path) == ["127.0.0.1"]
    assert value_of("postgresql_listen_addresses", tmp_path) == ["127.0.0.1"]
    assert value_of("flower_address", tmp_path) == "127.0.0.1"
    assert value_of("django_app_bind", tmp_path).startswith("/")


PUT_ON_THE_INTERNET = [
    ({"redis_bind_addresses": ["127.0.0.1", "-::"]}, ["redis_bind_addresses holds ::", "Redis (port 6379)"]),
    ({"postgresql_listen_addresses": ["*"]}, ["postgresql_listen_addresses holds *", "PostgreSQL (port 5432)"]),
    ({"flower_address": PUBLIC}, [f"flower_address holds {PUBLIC}", "Flower (port 5555)"]),
    ({"django_app_bind": f"{PUBLIC}:8000"}, [f"django_app_bind holds {PUBLIC}", "gunicorn (port 8000)"]),
]


@pytest.mark.parametrize(("variables", "words"), PUT_ON_THE_INTERNET)
def test_an_address_given_to_one_service_is_not_put_on_the_internet_unseen(
    problems: Callable[..., list[str]], variables: dict[str, Any], words: list[str]
) -> None:
    """On a single server, too; and every address is a public one where the host has one."""
    [sentence] = problems(variables, facts=ON_THE_INTERNET)
    for word in (*words, "on server-1", "public_service_addresses: true", MAIN):
        assert word in sentence


@pytest.mark.parametrize("variables", [variables for variables, _ in PUT_ON_THE_INTERNET], ids=str)
def test_a_service_may_be_put_on_the_internet_where_that_is_said(
    problems: Callable[..., list[str]], variables: dict[str, Any]
) -> None:
    """A firewall of the provider stands before it, for example."""
    assert problems(variables | {"public_service_addresses": True}, facts=ON_THE_INTERNET) == []


def test_a_server_without_an_ipv4_address_is_asked_for_one_where_others_reach_it(
    problems: Callable[..., list[str]],
) -> None:
    """Redis would listen on nothing for them."""
    [sentence] = problems({"media_is_shared": True}, APART, WITHOUT_IPV4)
    for word in ("private_address is '' on server-1", "IPv4", HOSTS):
        assert word in sentence


# Nothing on server-1 listens for others: it runs workers.
CLIENT = {group: ["server-2"] for group in FUNCTIONS if group != "workers"}


def test_a_client_of_the_database_with_two_private_networks_is_asked_which(problems: Callable[..., list[str]]) -> None:
    """PostgreSQL would let in an address that the client does not come from."""
    [sentence] = problems({"media_is_shared": True}, CLIENT, TWO_NETWORKS)
    for word in (f"private_address is {PUBLIC} on server-1", "several private ones", "10.0.0.5, 192.168.7.1", HOSTS):
        assert word in sentence


def test_a_client_on_the_internet_is_let_be(problems: Callable[..., list[str]]) -> None:
    """Nothing of it is open."""
    assert problems({"media_is_shared": True}, CLIENT, ON_THE_INTERNET) == []


def test_several_servers_without_a_firewall_are_refused_unless_another_one_is_meant(
    problems: Callable[..., list[str]],
) -> None:
    off = {"media_is_shared": True, "firewall_enabled": False}
    [sentence] = problems(off, APART)
    for word in (
        "firewall_enabled is false",
        "server-1, server-2, server-3",
        "firewall_elsewhere: true",
        MAIN,
        "firewall.yml",
    ):
        assert word in sentence
    assert problems({**off, "firewall_elsewhere": True}, APART) == []
    assert problems({"firewall_enabled": False}) == []


def test_each_server_lets_in_those_whom_the_topology_sends_there(tmp_path: Path) -> None:
    """The database's and the broker's server-1: the code and Flower come to it, the proxy does not."""
    groups = {
        "web": ["server-2"],
        "workers": ["server-3"],
        "beat": ["server-3"],
        "flower": ["server-2"],
        "proxy": ["server-4"],
    }
    write_inventory(tmp_path, {}, groups)
    addresses = {name: f"10.0.0.{name[-1]}" for name in ("server-2", "server-3", "server-4")}
    inventory = yaml.safe_load((tmp_path / "hosts.yml").read_text())
    for name, address in addresses.items():
        inventory["production"]["hosts"][name] = {"private_address": address}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    services = {
        entry["name"]: (entry["ports"], entry["addresses"]) for entry in value_of("firewall_services", tmp_path)
    }
    assert services == {
        "site": ([80, 443], []),
        "Redis": ([6379], ["10.0.0.2", "10.0.0.3"]),
        "RabbitMQ": ([5672], []),
        "RabbitMQ members": ([4369, 25672], []),
        "PostgreSQL": ([5432], ["10.0.0.2", "10.0.0.3"]),
        "web": ([8000], []),
        "Flower": ([5555], []),
    }
    # The application may go on by what another inventory had opened of them, until the end of the run.
    assert value_of("firewall_kept_services", tmp_path) == list(services)


@pytest.mark.parametrize(
    ("variables", "ports"),
    [
        ({"redis_cache_instance": {"port": 6380}}, [6379, 6380]),
        ({"service_tls": True}, [16379]),
        ({"service_tls": True, "redis_cache_instance": {"port": 6380}}, [16379, 16380]),
        ({"service_tls": True, "service_tls_clear_text": True}, [16379, 6379]),
    ],
)
def test_redis_is_let_in_where_it_listens(tmp_path: Path, variables: dict[str, Any], ports: list[int]) -> None:
    """And its clients are told of those ports."""
    write_inventory(tmp_path, variables)
    assert value_of("firewall_services", tmp_path)[1] == {"name": "Redis", "ports": ports, "addresses": []}
    scheme = "rediss" if "service_tls" in variables else "redis"
    for name, port in (
        ("broker_url", ports[0]),
        ("cache_url", ports[-1] if "redis_cache_instance" in variables else ports[0]),
    ):
        url = urlsplit(value_of(name, tmp_path))
        assert (url.scheme, url.port) == (scheme, port)


def test_members_and_their_sentinels_are_let_in_by_each_other(tmp_path: Path) -> None:
    write_inventory(
        tmp_path, {"redis_members": [{"name": "server-1", "address": "10.0.0.5"}], "redis_sentinel_port": 26380}
    )
    assert value_of("firewall_redis_ports", tmp_path) == [6379, 26380]
    write_inventory(tmp_path, {}, THREE)
    assert value_of("firewall_redis_ports", tmp_path) == [6379, 26379]
    write_inventory(tmp_path, {"service_tls": True}, THREE)
    assert value_of("firewall_redis_ports", tmp_path) == [16379, 36379]
    write_inventory(tmp_path, {"service_tls": True, "service_tls_clear_text": True}, THREE)
    assert value_of("firewall_redis_ports", tmp_path) == [16379, 6379, 36379, 26379]
    write_inventory(tmp_path, {}, THREE)
    assert value_of("topology_redis_clients", tmp_path) == ["server-2", "server-3"]


@pytest.mark.parametrize(
    ("variables", "ports"),
    [
        ({}, [5672]),
        ({"service_tls": True}, [5671]),
        ({"service_tls": True, "service_tls_clear_text": True}, [5671, 5672]),
    ],
)
def test_rabbitmq_is_let_in_where_it_listens_and_clients_know_whom_to_trust(
    tmp_path: Path, variables: dict[str, Any], ports: list[int]
) -> None:
    groups = {**SEVERAL, "rabbitmq": ["server-1"]}
    write_inventory(tmp_path, {**variables, **RABBITMQ, "celery_broker": "rabbitmq"}, groups)
    assert value_of("firewall_services", tmp_path)[2]["ports"] == ports
    url, told = urlsplit(value_of("broker_url", tmp_path)), value_of("app_connections", tmp_path)
    assert (url.scheme, url.port) == ("amqps" if variables else "amqp", ports[0])
    assert told["CELERY_BROKER_TLS_NAME"] == ("rabbitmq.stockpot.internal" if variables else "")
    assert told["CELERY_BROKER_CA"] == ("/etc/ssl/services/stockpot/authority.pem" if variables else "")


@pytest.mark.parametrize("over_tls", [False, True])
def test_three_servers_of_rabbitmq_are_one(tmp_path: Path, over_tls: bool) -> None:
    """Each client asks another one first, and all of them in turn; Erlang's own ports are for members alone."""
    groups = {**THREE, "rabbitmq": ["server-1", "server-2", "server-3"], "web": ["server-2"], "workers": ["server-2"]}
    write_inventory(tmp_path, {"service_tls": over_tls, **RABBITMQ, "celery_broker": "rabbitmq"}, groups)
    urls = [urlsplit(url) for url in value_of("broker_url", tmp_path).split(";")]
    assert {(url.scheme, url.port) for url in urls} == {("amqps", 5671) if over_tls else ("amqp", 5672)}
    members = value_of("rabbitmq_members", tmp_path)
    assert [member["name"] for member in members] == groups["rabbitmq"]
    assert sorted(url.hostname for url in urls) == sorted(member["address"] for member in members)
    services = {entry["name"]: entry for entry in value_of("firewall_services", tmp_path)}
    assert services["RabbitMQ members"]["ports"] == [4369, 25672]
    assert services["RabbitMQ members"]["addresses"] == [member["address"] for member in members[1:]]
    assert members[0]["address"] in value_of("rabbitmq_bind_addresses", tmp_path)


def test_rabbitmq_over_tls_is_no_mistake(problems: Callable[..., list[str]]) -> None:
    own = dict(zip(secret_values.AUTHORITY, authority.new_authority(), strict=True))
    given = {**OVER_TLS, **own, **RABBITMQ, "celery_broker": "rabbitmq"}
    assert problems(given, groups={**SEVERAL, "rabbitmq": ["server-1"]}, facts={"memtotal_mb": 4400}) == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"firewall_ssh_addresses": ["10.0.0.0/8"]},
            "firewall_ssh_addresses does not hold 203.0.113.9, from which this run",
        ),
        ({"firewall_ssh_ports": [2222]}, "firewall_ssh_ports is [2222], but this run reaches the server at port 22: "),
        ({"firewall_ssh_ports": [2222], "firewall_enabled": False}, ""),
        ({"firewall_ssh_addresses": ["203.0.113.0/24"]}, ""),
    ],
)
def test_who_would_shut_himself_out_is_told_before_anything_is_changed(
    tmp_path: Path, variables: dict[str, Any], said: str
) -> None:
    """By where this very run comes from, as the host has seen it."""
    write_inventory(tmp_path, variables)
    loader = DataLoader()
    seen = {**preflight.NOBODY, "ssh": ["203.0.113.9", "10.0.0.5", 22]}
    found = preflight.look(variables_of(tmp_path, loader, {}), loader, seen).problems
    assert len(found) == bool(said)
    for sentence in found:
        assert sentence.startswith(said)
        assert MAIN in sentence
        assert "group_vars/all/firewall.yml" in sentence


def test_certificates_that_nobody_wants_any_more_are_known(tmp_path: Path) -> None:
    """Of this application alone."""
    own = dict(zip(secret_values.AUTHORITY, authority.new_authority(), strict=True))
    for variables, renewed, left in (
        ({}, ["blog", "stockpot"], True),
        ({}, ["blog"], False),
        ({**OVER_TLS, **own}, ["stockpot"], False),
    ):
        write_inventory(tmp_path, variables)
        loader = DataLoader()
        seen = {**preflight.NOBODY, "certificates": renewed}
        found = preflight.look(variables_of(tmp_path, loader, {}), loader, seen)
        assert (found.problems, found.certificates_left) == ([], left)


def test_one_server_lets_in_the_site_alone(tmp_path: Path) -> None:
    """Where nginx listens."""
    write_inventory(tmp_path, {"nginx_https_port": 8443})
    [site] = [entry for entry in value_of("firewall_services", tmp_path) if entry["addresses"]]
    assert (site["name"], site["ports"]) == ("site", [80, 8443])


def test_a_client_of_redis_with_two_private_networks_is_asked_which(problems: Callable[..., list[str]]) -> None:
    """The firewall of Redis's server would let in an address that Flower does not come from."""
    groups = {group: ["server-2"] for group in FUNCTIONS if group != "flower"}
    sentences = problems({"media_is_shared": True}, groups, {**TWO_NETWORKS, "default_ipv4": {"address": PUBLIC}})
    assert any("private_address is" in sentence and "server-1" in sentence for sentence in sentences)


def test_another_system_is_named(problems: Callable[..., list[str]]) -> None:
    """Before a package of it is touched."""
    found = problems(facts={"distribution": "Ubuntu", "distribution_major_version": "24"})
    assert any("server-1 runs Ubuntu 24; supported are Debian 12 and 13" in sentence for sentence in found)


def test_a_managed_server_takes_the_place_of_a_group(problems: Callable[..., list[str]]) -> None:
    """No host, but an address: nothing is missed, its password in the vault neither."""
    given = {"database_url": "postgresql://shop:x@db.example.com/shop", "vault_postgresql_password": ""}
    assert problems(given, {"postgresql": []}) == []


def certificate(folder: Path, *, days: int) -> tuple[str, str]:
    """A certificate that ends in so many days, and its key: their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "www.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=90))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("www.example.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    (folder / "site.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (folder / "site.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "site.pem"), str(folder / "site.key")


def test_a_good_certificate_passes(problems: Callable[..., list[str]], tmp_path: Path) -> None:
    """Its file and its key's."""
    pem, key = certificate(tmp_path / "good", days=30)
    assert problems({"nginx_certificate": pem, "nginx_certificate_key": key}) == []


@pytest.mark.parametrize("mistake", ["expired", "another key", "another name"])
def test_a_certificate_that_cannot_be_used_is_named(
    problems: Callable[..., list[str]], tmp_path: Path, mistake: str
) -> None:
    """With the variable and the file; more of them in test_rules_nginx.py."""
    pem, key = certificate(tmp_path / "site", days=-1 if mistake == "expired" else 30)
    _, other = certificate(tmp_path / "other", days=30)
    given = {"nginx_certificate": pem, "nginx_certificate_key": other if mistake == "another key" else key}
    if mistake == "another name":
        given["site_names"] = ["other.example.com"]
    words = {"expired": "expired on", "another key": "does not belong", "another name": "is not for other.example.com"}
    [sentence] = problems(given)
    assert words[mistake] in sentence
    assert sentence.startswith("nginx_certificate")
    assert MAIN in sentence


RABBITMQ = {f"vault_rabbitmq_{user}_password": STRONG for user in ("admin", "celery", "monitoring")}


def test_rabbitmq_is_the_broker_by_one_variable(problems: Callable[..., list[str]], tmp_path: Path) -> None:
    """Results, cache and Beat's turn stay with Redis; without the variable its group means nothing."""
    group = {"rabbitmq": ["server-1"]}
    assert problems({}, groups=group) == []
    assert value_of("broker_url", tmp_path).startswith("redis://celery:")
    # It needs half a GiB more than a server of 4 GiB that does everything has.
    assert problems({"celery_broker": "rabbitmq", **RABBITMQ}, groups=group, facts={"memtotal_mb": 4400}) == []
    assert value_of("broker_url", tmp_path) == f"amqp://stockpot-celery:{STRONG}@127.0.0.1:5672/stockpot"
    assert value_of("result_backend_url", tmp_path).startswith("redis://celery:")
    assert value_of("rabbitmq_bind_addresses", tmp_path) == ["127.0.0.1"]
    assert "rabbitmq-server.service" in value_of("process_manager_after", tmp_path)
    assert value_of("flower_broker_api", tmp_path).endswith("@127.0.0.1:15672/api/")


@pytest.mark.parametrize(
    ("broker", "used", "kept", "is_left"),
    [
        ("redis", ["blog", "stockpot"], [], True),
        ("rabbitmq", ["stockpot"], [], False),
        ("redis", ["blog"], ["stockpot"], False),
    ],
)
def test_a_rabbitmq_that_is_the_broker_no_more_is_left(
    tmp_path: Path, broker: str, used: list[str], kept: list[str], is_left: bool
) -> None:
    """Once: then it is marked as kept. And whatever the broker is, the application is taken out of it when it goes."""
    write_inventory(tmp_path, {"celery_broker": broker, **RABBITMQ}, {"rabbitmq": ["server-1"]})
    loader = DataLoader()
    variables = variables_of(tmp_path, loader, {})
    seen = {**preflight.NOBODY, "rabbitmq_used": used, "rabbitmq_kept": kept}
    assert preflight.look(variables, loader, seen).rabbitmq_left is is_left
    plays = {name: yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text()) for name in ("absent", "moved")}
    tasks = {
        name: task
        for name, found in plays.items()
        for play in found
        for task in play["tasks"]
        if "rabbitmq" in str(task.get("ansible.builtin.import_role", task.get("ansible.builtin.include_role")))
    }
    templar = Templar(loader=loader, variables={**variables, "stockpot_preflight": {"rabbitmq_left": is_left}})
    assert templar.evaluate_conditional(trust_as_template(tasks["absent"]["when"]))
    assert templar.evaluate_conditional(trust_as_template(tasks["moved"]["when"])) is is_left
    assert tasks["moved"]["vars"] == {"app_state_remove_data": False}


def test_flower_elsewhere_sends_no_password_to_what_stands_at_rabbitmq_s_port_there(tmp_path: Path) -> None:
    write_inventory(tmp_path, {"celery_broker": "rabbitmq", **RABBITMQ}, {"rabbitmq": ["server-2"]})
    assert value_of("flower_broker_api", tmp_path) == ""


@pytest.mark.parametrize(
    ("variables", "group", "said"),
    [
        ({}, ["server-1"], "vault_rabbitmq_celery_password is missing: .*vault.yml"),
        (RABBITMQ, [], "broker_url cannot be computed, because the group rabbitmq has no host: .*main.yml"),
        (
            RABBITMQ,
            ["server-1", "server-2"],
            "The group rabbitmq holds server-1, server-2: one RabbitMQ is one server, or",
        ),
        (
            RABBITMQ,
            [f"server-{n}" for n in (1, 2, 3, 4)],
            "The group rabbitmq holds .*server-4: .* Leave one of them, or",
        ),
        (RABBITMQ, ["server-1", "server-2", "server-3"], "vault_rabbitmq_cookie is missing: .*vault.yml"),
        (
            {**RABBITMQ, "rabbitmq_memory": "2GB"},
            ["server-1"],
            "memory_overcommit_percent is 100, but .* RabbitMQ 2861",
        ),
        (
            {**RABBITMQ, "celery_visibility_timeout": 3600},
            ["server-1"],
            "celery_visibility_timeout is 3600 s, .* queues",
        ),
    ],
)
def test_what_keeps_rabbitmq_from_being_the_broker_is_named(
    problems: Callable[..., list[str]], variables: dict[str, Any], group: list[str], said: str
) -> None:
    found = problems({"celery_broker": "rabbitmq", **variables}, groups={"rabbitmq": group})
    assert [problem for problem in found if re.match(said, problem)], found


def test_the_preflight_knows_which_roles_the_plays_give_to_a_group() -> None:
    """Whatever a play runs on a host was checked before."""
    given: dict[str, set[str]] = {group: set() for group in stack.ROLES}
    for path in (ROOT / "playbooks").glob("*.yml"):
        for play in yaml.safe_load(path.read_text()):
            blocks = [task.get("block", [task]) for task in play.get("tasks", [])]
            entries = [entry if isinstance(entry, dict) else {"role": entry} for entry in play.get("roles", [])] + [
                {"role": role["name"], "when": task.get("when", "")}
                for block in blocks
                for task in block
                if "tasks_from" not in (role := task.get("ansible.builtin.import_role", {"tasks_from": ""}))
            ]
            for entry in entries:
                role, only = entry["role"], re.findall(r"^inventory_hostname in topology_(\w+)$", entry.get("when", ""))
                for group in only or [word for word in re.findall(r"\w+", play["hosts"]) if word in given]:
                    given[group].add(role.removeprefix("stockpot.stack."))
    assert {group: set(roles) for group, roles in stack.ROLES.items()} == given


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """An inventory whose one server is this machine."""
    return write_inventory(tmp_path, {"ansible_connection": "local", "ansible_become": False})


@pytest.mark.parametrize("environment", ["production", "staging", "demo"])
def test_the_inventories_that_ship_fit_servers_of_4_gib(problems: Callable[..., list[str]], environment: str) -> None:
    """Each of their hosts, with the variables as they ship."""
    inventory = yaml.safe_load((ROOT / "inventories" / environment / "hosts.yml").read_text())[environment]
    members = {group: list(entry["hosts"]) for group, entry in inventory["children"].items()}
    own = yaml.safe_load((ROOT / "group_vars" / environment / "main.yml").read_text())
    taken = {
        key: own[key] for key in own if "memory" in key or key in ("postgresql_settings", "django_app_processes_extra")
    }
    for host in {name for names in members.values() for name in names}:
        # The fixture looks at server-1.
        groups = {group: ["server-1" if name == host else name for name in names] for group, names in members.items()}
        assert problems({**taken, "media_is_shared": True}, groups) == [], host


def run_preflight(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the preflight as site.yml does."""
    return subprocess.run(
        ["ansible-playbook", "-i", str(inventory), str(ROOT / "playbooks/preflight.yml"), *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_play_names_all_mistakes_at_once_and_shows_no_secret(inventory: Path) -> None:
    """One run, the whole list, also of a source that cannot be packed."""
    wrong = {
        "vault_flower_password": "",
        "redis_appendfsync": "never",
        "site_names": [],
        "django_app_source": "/nowhere/shop",
    }
    result = run_preflight(inventory, "-e", json.dumps(wrong))
    output = " ".join(result.stdout.split())
    assert result.returncode != 0
    for word in ("Nothing was changed", "vault_flower_password", "redis_appendfsync", "site_names", "/nowhere/shop"):
        assert word in output
    assert "changed=0" in output
    assert STRONG not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"django_app_requirements": "other.txt"}, ["django_app_requirements", "other.txt"]),
        ({"django_app_source": str(ROOT), "django_app_version": "v0-never"}, ["django_app_version", "v0-never"]),
        (
            {"django_app_source": str(ROOT / "app/config")},
            ["django_app_subdirectory", "no manage.py", "django_app_manage"],
        ),
        ({"django_app_gunicorn_config": "deploy/none.py"}, ["django_app_gunicorn_config", "no deploy/none.py"]),
    ],
)
def test_the_play_names_a_source_that_cannot_be_packed(
    inventory: Path, arguments: dict[str, str], words: list[str]
) -> None:
    """The project is packed before any host is touched."""
    result = run_preflight(inventory, "-e", json.dumps(arguments))
    assert result.returncode != 0
    for word in (*words, MAIN):
        assert word in " ".join(result.stdout.split()), result.stdout


def test_the_play_passes_the_values_that_ship(inventory: Path) -> None:
    """What the repository holds, with secrets given, has no mistakes; what may be taken of the memory is shown."""
    result = run_preflight(inventory)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(
        r"What runs on server-1 may take \d+ MiB of its \d+ MiB together: .*worker-critical 256", result.stdout
    )
