"""Rules of several applications on one host: what one has, the other cannot have."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ansible_collections.stockpot.stack.plugins.plugin_utils import rabbitmq as rabbit
from ansible_collections.stockpot.stack.plugins.plugin_utils.redis import agreement
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.memory import CACHE, OVERHEAD, Share, limit_megabytes

# System users and groups that an application has beside its own name.
SUFFIXES = ("", "-flower", "-media")
MEBIBYTE = 1024**2
# The port of the cache's own Redis as an operator knows it.
CACHE_PORT = "redis_cache_instance: port"
CACHE_TLS_PORT = "redis_cache_instance: tls_port"
SIZES = {"B": 1, "kB": 1024, "MB": MEBIBYTE, "GB": 1024**3, "TB": 1024**4}


class Wanted(NamedTuple):
    """What the deployment wants of a host."""

    application: str
    host: str
    units: list[str]
    """The units of its processes."""
    services: list[str]
    """Its Redis and PostgreSQL, as units without suffix."""
    ports: dict[str, int]
    """By variable."""
    names: list[str]
    """The names of its site; empty where it has none on this host."""
    nginx_ports: list[int]
    """Where nginx is to listen; empty where it has no site on this host."""
    cache: str
    """The service of the cache's own Redis; empty where it has none."""
    redis_members: list[dict[str, str]]
    """Servers of Redis that replace each other, and which of them this host is."""
    redis_member: str
    redis_tls: bool
    """Whether its Redis speaks TLS, with the other members too."""
    redis_agreement: dict[str, str]
    """Tells what all members have to have alike, their Sentinels and their Redis; empty where its Redis is none of several."""
    rabbitmq: dict[str, tuple[str, str]]
    """What it gives RabbitMQ, which all applications of a host share: by setting, the variable and the value."""
    rabbitmq_node: str
    """The name by which its RabbitMQ keeps data; empty where it has none on this host."""


def wanted(application: str, host: str, right: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any]) -> Wanted:
    """What the arguments of the roles that a host gets come to.

    Args:
        application: the deployment's.
        host: its name.
        right: by role, and by CACHE for the cache's own Redis, the arguments; roles whose arguments are wrong are left out.
        facts: the host's.
    """
    redis, postgresql, nginx, flower = (right.get(role, {}) for role in ("redis", "postgresql", "nginx", "flower"))
    manager = right.get("process_manager", {})
    units, services, ports = [], [], {}
    for process in manager.get("process_manager_definitions", ()):
        units.append(f"{application}-{process['name']}.service")
        port = re.fullmatch(r".+:(\d+)", process.get("socket", ""))
        if port and process["name"] == "web":
            ports["web_port"] = int(port[1])
    if redis:
        services.append(redis_service(redis))
        ports["redis_port"] = redis["redis_port"]
        if redis["redis_tls"]:
            ports["redis_tls_port"] = redis["redis_tls_port"]
    if own_cache := right.get(CACHE, {}):
        services.append(redis_service(own_cache))
        ports[CACHE_PORT] = own_cache["redis_port"]
        if own_cache["redis_tls"]:
            ports[CACHE_TLS_PORT] = own_cache["redis_tls_port"]
    if postgresql:
        version = {"12": "15", "13": "17"}[facts["distribution_major_version"]]
        services.append(f"postgresql@{version}-{postgresql['postgresql_cluster']}")
        ports["postgresql_port"] = postgresql["postgresql_port"]
    if flower:
        ports["flower_port"] = flower["flower_port"]
    return Wanted(
        application=application,
        host=host,
        units=units,
        services=services,
        ports=ports,
        names=list(nginx.get("nginx_server_names", ())),
        nginx_ports=[nginx["nginx_http_port"], nginx["nginx_https_port"]] if nginx else [],
        cache=redis_service(own_cache) if own_cache else "",
        redis_members=redis.get("redis_members", []),
        redis_member=redis.get("redis_member_address", ""),
        redis_tls=redis.get("redis_tls", False),
        redis_agreement=agreement_of(redis) if redis.get("redis_members") else {},
        rabbitmq=_rabbitmq_settings(right["rabbitmq"], facts) if "rabbitmq" in right else {},
        rabbitmq_node=rabbit.node(right["rabbitmq"]) if "rabbitmq" in right else "",
    )


def redis_service(given: Mapping[str, Any]) -> str:
    """The service of the Redis that has these arguments of the role."""
    return f"redis-server@{given['redis_instance']}" if given["redis_instance"] else "redis-server"


def agreement_of(given: Mapping[str, Any]) -> dict[str, str]:
    """What the role redis with these arguments has its members agree on."""
    return agreement(
        given["redis_primary_name"],
        given["redis_port"],
        given["redis_tls_port"],
        given["redis_sentinel_port"],
        given["redis_sentinel_tls_port"],
        given["redis_tls"],
        given["redis_internal_password"],
    )


def cache_moves(want: Wanted, found: Mapping[str, Any]) -> bool:
    """Whether the cache is to have a Redis of its own, and its user is still in the one that it has left."""
    known = found["applications"].get(want.application, {}).get("redis", {})
    others = set(want.services) - {want.cache}
    return bool(want.cache) and any("cache" in users for service, users in known.items() if service in others)


def members_go_over(want: Wanted, found: Mapping[str, Any]) -> bool:
    """Whether this Redis, one of several, is to have what all of them have to have alike, and runs with something else: TLS or none,
    another port, another password between them, another name of the primary."""
    known = found["applications"].get(want.application, {})
    is_member = bool(want.redis_members) and known.get("redis_is_member", False)
    # Those that an older version has written tell nothing.
    agreed = want.redis_agreement | known.get("redis_members_agreed", {})
    speaks_tls = known.get("redis_members_speak_tls", False)
    return is_member and (agreed != want.redis_agreement or speaks_tls != want.redis_tls)


def left(want: Wanted, found: Mapping[str, Any]) -> list[str]:
    """The instances of Redis that were the application's cache alone and are wanted no more.

    One without configuration is what a run left that was cut off while it removed it: its users may be gone, its mark is the last to go.
    """
    own = found["applications"].get(want.application, {})
    return [
        service.partition("@")[2]
        for service, users in own.get("redis", {}).items()
        if "celery" not in users
        and (users or service in own.get("redis_remains", ()))
        and "@" in service
        and service not in want.services
    ]


def _rabbitmq_settings(given: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """As its template writes them."""
    memory = rabbit.memory_bytes(given["rabbitmq_memory"], given["rabbitmq_memory_percent"], facts["memtotal_mb"])
    found = {
        "vm_memory_high_watermark.absolute": ("rabbitmq_memory", str(memory)),
        "disk_free_limit.absolute": ("rabbitmq_disk_free", str(rabbit.amount_bytes(given["rabbitmq_disk_free"]))),
        "consumer_timeout": ("celery_visibility_timeout", str(given["rabbitmq_consumer_timeout"] * 1000)),
        "management.tcp.port": ("rabbitmq_management_port", str(given["rabbitmq_management_port"])),
    }
    for number, address in enumerate(given["rabbitmq_bind_addresses"], 1):
        if given["rabbitmq_clear_text"]:
            found[f"listeners.tcp.{number}"] = (
                "rabbitmq_bind_addresses",
                rabbit.listener(address, given["rabbitmq_port"]),
            )
        if given["rabbitmq_tls"]:
            found[f"listeners.ssl.{number}"] = (
                "rabbitmq_bind_addresses",
                rabbit.listener(address, given["rabbitmq_tls_port"]),
            )
    if given["rabbitmq_tls"]:
        found["ssl_options.certfile"] = ("service_tls", given["rabbitmq_certificate"])
    # The first two are the role's own unless it is given others.
    settings = {"heartbeat": 60, "log.file.level": "info", **given["rabbitmq_settings"]}
    for name, value in settings.items():
        found[name] = ("rabbitmq_settings", (str(value).lower() if isinstance(value, bool) else str(value)).strip())
    return found


def problems(want: Wanted, found: Mapping[str, Any]) -> list[str]:
    """What another application of the host has already.

    Args:
        want: what this one wants.
        found: what the module `neighbours` returned.
    """
    others = {name: known for name, known in found["applications"].items() if name != want.application}
    taken = {port for known in others.values() for port in known["ports"].values()}
    own = found["applications"].get(want.application, {})
    told = list(_same_name(want, own)) or [*_messages(want, own), *_redis_members(want, own)]
    for name, known in others.items():
        told += [
            *_names(want, name, known),
            *_services(want, name, known, taken),
            *_ports(want, name, known, taken),
            *_site(want, name, known),
        ]
    told += _rabbitmq(want, found, others, own)
    return [*told, *_nginx(want, found, others), *_rabbitmq_data(want, found, own)]


def _same_name(want: Wanted, known: Mapping[str, Any]) -> Iterator[str]:
    """Another project by the same name, most likely one that nobody named, is known by its site: they share no host name."""
    if want.names and known.get("names") and not set(want.names) & set(known["names"]):
        yield (
            f"app_name is {want.application}, but {want.application} on {want.host} answers to {', '.join(known['names'])}, and site_names "
            "holds none of them: if that is another project, choose another app_name; if it is this one with new names, keep an old one "
            "beside them for one run."
        )


def _messages(want: Wanted, known: Mapping[str, Any]) -> Iterator[str]:
    """Whoever names another Redis for the broker leaves queued tasks behind, and a Redis that goes on for nobody."""
    wanted_redis = [service for service in want.services if service.startswith("redis-server")]
    for service, users in known.get("redis", {}).items():
        if wanted_redis and service not in wanted_redis and "celery" in users:
            yield (
                f"redis_instance means {wanted_redis[0]}, but the queued tasks of {want.application} on {want.host} are in {service}: set "
                f"redis_instance: '{service.partition('@')[2]}' again. If that one is to be given up, tasks and all: "
                f"`systemctl disable --now {service}`, and remove /etc/systemd/system/{service}.service.d/application.conf."
            )


def _redis_members(want: Wanted, known: Mapping[str, Any]) -> Iterator[str]:
    """One Redis that becomes several keeps its data only as their first primary; which of several has the data is theirs to say."""
    if "redis-server" not in set(want.services) & set(known.get("services", ())):
        return
    is_member = known.get("redis_is_member", False)
    if want.redis_members and not is_member and want.redis_members[0]["address"] != want.redis_member:
        yield (
            f"The group redis begins with {want.redis_members[0]['name']}, but {want.host} is where this application's Redis has its data, "
            f"which the others copy from the first one: name {want.host} first."
        )
    if is_member and not want.redis_members:
        yield (
            f"The group redis holds {want.host} alone, but its Redis is one of several and may be a replica. Put the others back; to give "
            "them up, see what roles/redis/README.md says."
        )


def _names(want: Wanted, name: str, known: Mapping[str, Any]) -> Iterator[str]:
    own = {f"{want.application}{suffix}" for suffix in SUFFIXES}
    users = own & {f"{name}{suffix}" for suffix in SUFFIXES}
    units = set(want.units) & set(known["units"])
    for shared, what in ((users, "system user"), (units, "unit")):
        if shared:
            yield (
                f"app_name is {want.application}, but {', '.join(sorted(shared))} on {want.host} is a {what} of {name}, another application "
                "there: choose another app_name."
            )
            return


def _services(want: Wanted, name: str, known: Mapping[str, Any], taken: set[int]) -> Iterator[str]:
    for service in want.services:
        if service not in known["services"]:
            continue
        if service == want.cache:
            yield (
                f"redis_cache_instance: {service} on {want.host} is a Redis of {name}, another application there: give this one another "
                f"name: redis_cache_instance: {{name: {want.application}-cache, port: {_free(want.ports[CACHE_PORT], taken)}}}."
            )
            continue
        if service.startswith("redis-server"):
            variable, port, what = "redis_instance", "redis_port", "Redis"
        else:
            variable, port, what = "postgresql_cluster", "postgresql_port", "PostgreSQL cluster"
        yield (
            f"{variable}: {service} on {want.host} is the {what} of {name}, another application there. Give this one its own: "
            f"{variable}: {want.application.replace('-', '_') if port == 'postgresql_port' else want.application}, "
            f"{port}: {_free(want.ports[port], taken)}."
        )


def _ports(want: Wanted, name: str, known: Mapping[str, Any], taken: set[int]) -> Iterator[str]:
    for variable, port in want.ports.items():
        # One service, one port: told already.
        shares_service = any(
            service in known["services"] for service in want.services if service.startswith(variable.partition("_")[0])
        )
        for theirs, number in known["ports"].items():
            if number == port and not shares_service:
                yield (
                    f"{variable} is {port}, which {name}, another application on {want.host}, has ({theirs}): take a free one, such as "
                    f"{_free(port, taken)}."
                )


def _rabbitmq_data(want: Wanted, found: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """One RabbitMQ that becomes several, or a member that gets another name, would begin anew beside what is queued."""
    data = found["rabbitmq_data"]
    has_queued = bool(known.get("rabbitmq")) or want.application in found["rabbitmq_kept"]
    if not (want.rabbitmq_node and has_queued and data) or want.rabbitmq_node in data:
        return
    ways = {
        rabbit.ALONE: f"RabbitMQ on {want.host} is to stand alone",
        "": f"RabbitMQ on {want.host} is to be {want.rabbitmq_node}, one of several,",
    }
    yield (
        f"The group rabbitmq: {ways.get(want.rabbitmq_node, ways[''])} but what is queued there was kept as {', '.join(data)}, and cannot go over. Have the "
        f"group, and its servers' names, as they were; or let the workers empty its queues, then stop RabbitMQ there and give up what it has: systemctl "
        f"disable --now rabbitmq-server && rm -r /var/lib/rabbitmq/mnesia."
    )


def _rabbitmq(
    want: Wanted, found: Mapping[str, Any], others: Mapping[str, Any], own: Mapping[str, Any]
) -> Iterator[str]:
    """What the host's RabbitMQ has of others that share it. A change that is this application's own is theirs to follow, by their next run."""
    sharing = {name: known for name, known in others.items() if known.get("rabbitmq")}
    kept = [name for name in found["rabbitmq_kept"] if name != want.application]
    if not want.rabbitmq or not (sharing or kept):
        return
    if want.rabbitmq_node != rabbit.ALONE:
        yield (
            f"The group rabbitmq holds several servers, but {want.host} is one that {', '.join([*sharing, *kept])} shares, or has queued tasks in: "
            "several are one application's. Take other servers, or leave one in the group."
        )
        return
    live = next(iter(sharing.values()), {}).get("rabbitmq", {})
    asked = {name: known.get("rabbitmq_given") or live for name, known in sharing.items()}
    before = own.get("rabbitmq_given", {})
    listens = {value for key, (_, value) in want.rabbitmq.items() if key.startswith("listeners.")}
    for key in sorted(want.rabbitmq.keys() | live.keys()) if sharing else ():
        variable, ours = want.rabbitmq.get(key, (_unwanted(key), ""))
        # A certificate is one application's: no other could follow.
        is_own_change = bool(before) and ours != before.get(key, "") and variable != "service_tls"
        if not variable or ours == live.get(key, ""):
            continue
        if is_own_change:
            yield from _shut(want, variable, live.get(key, ""), asked) if live.get(key) not in listens else ()
            continue
        names = [name for name, given in asked.items() if given.get(key, "") != ours]
        if names:
            who = (
                "another application there, which shares"
                if len(names) == 1
                else "other applications there, which share"
            )
            later = " Another value for all is set after that: by the one who runs first, then by the others."
            yield (
                f"{variable}: this run would give RabbitMQ on {want.host} {ours or 'nothing'} as {key}, but {', '.join(names)}, {who} it, gave it "
                f"{live.get(key, 'nothing')}: set the same here.{later if variable != 'service_tls' else ''}"
            )


def _shut(want: Wanted, variable: str, address: str, asked: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Others may be reached there by their workers at this moment."""
    for name, given in asked.items():
        if address in (value for key, value in given.items() if key.startswith("listeners.")):
            yield (
                f"{variable}: this run would have RabbitMQ on {want.host} listen on {address} no more, which {name}, another application there, "
                f"asked for: keep it here. If {name} needs it no more, take that line out of "
                f"/etc/systemd/system/rabbitmq-server.service.d/{name}.conf on {want.host} first."
            )


def _unwanted(key: str) -> str:
    """The variable of a setting that this application gives no value; empty for one that goes with others."""
    if key.startswith("listeners.tcp."):
        return "rabbitmq_bind_addresses"
    if key.startswith(("listeners.ssl.", "ssl_options.certfile")):
        return "service_tls"
    return "" if rabbit.OWN_SETTINGS.fullmatch(key) else "rabbitmq_settings"


def _site(want: Wanted, name: str, known: Mapping[str, Any]) -> Iterator[str]:
    if both := [host for host in want.names if host in known["names"]]:
        yield (
            f"site_names holds {', '.join(both)}, which {name}, another application on {want.host}, answers to: give each site names of "
            "its own."
        )


def _nginx(want: Wanted, found: Mapping[str, Any], others: Mapping[str, Any]) -> Iterator[str]:
    alone = found["site_in_nginx_conf"]
    if want.names and alone and alone != want.application:
        yield (
            f"app_name is {want.application}, but nginx on {want.host} still has the site of {alone} in nginx.conf, which this run would "
            f"write anew: run site.yml for {alone} first, which gives its site a file of its own."
        )
        return
    sites = [name for name, known in others.items() if known["names"]]
    if sites and want.nginx_ports and set(want.nginx_ports) != set(found["nginx_ports"]):
        ports = [str(port) for port in found["nginx_ports"]]
        yield (
            f"nginx_https_port and nginx_http_port are {want.nginx_ports[1]} and {want.nginx_ports[0]}, but nginx on {want.host} listens "
            f"on {' and '.join(ports)}, for {', '.join(sites)} too: take the same for all sites of a host."
        )


def _free(port: int, taken: set[int]) -> int:
    """The next port that no application has."""
    return next(number for number in range(port + 1, 65536) if number not in taken)


def shares(application: str, found: Mapping[str, Any], megabytes: int, *, has_rabbitmq: bool = False) -> list[Share]:
    """What the other applications may take of a host's memory, one share each.

    Args:
        application: this one.
        found: what the module `neighbours` returned.
        megabytes: the host's memory in MiB.
        has_rabbitmq: whether this one counts the RabbitMQ that all share.
    """
    is_counted = has_rabbitmq
    told = []
    for name, known in found["applications"].items():
        if name == application or not known["memory"]:
            continue
        taken = {unit: limit for unit, limit in known["memory"].items() if unit != "rabbitmq-server" or not is_counted}
        is_counted = is_counted or "rabbitmq-server" in taken
        told.append(Share(f"the application {name}", _together(taken.items(), megabytes), ""))
    return told


def _together(limits: Iterable[tuple[str, str]], megabytes: int) -> int:
    """The sum of limits by unit, in MiB; what cannot be read, written by hand, counts nothing."""
    total = 0.0
    for unit, limit in limits:
        if unit == "rabbitmq-server" or unit.startswith("redis-server"):
            total += int(limit) / MEBIBYTE * OVERHEAD if limit.isdigit() else 0
        elif unit.startswith("postgresql@"):
            size = re.fullmatch(r"(\d+)\s*(B|kB|MB|GB|TB)", limit)
            total += int(size[1]) * SIZES[size[2]] / MEBIBYTE * OVERHEAD if size else 0
        else:
            with contextlib.suppress(ValueError):
                total += limit_megabytes(limit, megabytes) or 0
    return int(total)
