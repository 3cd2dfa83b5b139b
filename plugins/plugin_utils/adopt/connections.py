"""What a project reads from its environment, bound to what Stockpot knows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .evaluate import UNKNOWN, Joined, Read, Scope
from .findings import FOUND, GUESS, OPEN, Template, Value, guess, unknown

HOSTS = "(site_names + ['localhost', '127.0.0.1'] + ([] if web_on_socket else [private_address])) | unique"
SECRETS = re.compile(
    r"secret|token|passw|passphrase|api_?key|private_?key|credential|salt|signing|encryption|_key$|dsn", re.I
)
# So many names that begin with one word make it the project's own.
LEAST_PREFIXED = 4
# A setting's path, and what Stockpot has for it.
SETTINGS: dict[str, str] = {
    r"DATABASES\.default": "database_url",
    r"DATABASES\.default\.HOST": "postgresql_address",
    r"DATABASES\.default\.NAME": "postgresql_database",
    r"DATABASES\.default\.USER": "postgresql_user",
    r"DATABASES\.default\.PASSWORD": "postgresql_password",
    r"DATABASES\.default\.PORT": "postgresql_port",
    r"DATABASES\.default\.ENGINE": "engine",
    r"DATABASES\.\w+": "database_url",
    r"CACHES\.\w+(\.LOCATION(\.\d+)?)?": "cache_url",
    r"CACHES\.\w+\.KEY_PREFIX": "redis_cache_key_prefix",
    r"CELERY\.broker_url": "broker_url",
    r"CELERY\.result_backend": "result_backend_url",
    r"CELERY\.(broker|result_backend)_transport_options\.global_keyprefix": "redis_celery_key_prefix",
    r"[A-Z_]+\.(broker|result_backend)_transport_options\.visibility_timeout": "celery_visibility_timeout",
    r"CHANNEL_LAYERS\.\w+\.CONFIG\.hosts(\.\d+)*(\.address)?": "broker_url",
    r"SECRET_KEY": "app_secret_key",
    r"ALLOWED_HOSTS(\.0)?": "hosts",
    r"CSRF_TRUSTED_ORIGINS(\.0)?": "site_origins",
    r"MEDIA_ROOT": "django_app_media_root",
    r"DEBUG": "debug",
}
# A variable's name, where no setting tells what it is for.
NAMES: dict[str, str] = {
    r"(DATABASE|DB|POSTGRES|POSTGRESQL|PG|SQL)_?(URL|DSN|URI)": "database_url",
    r"(DATABASE|DB|POSTGRES|POSTGRESQL|PG|SQL)_?HOST(NAME)?": "postgresql_address",
    r"(DATABASE|DB|POSTGRES|POSTGRESQL|PG|SQL)_?(NAME|DB|DATABASE)": "postgresql_database",
    r"(DATABASE|DB|POSTGRES|POSTGRESQL|PG|SQL)_?(USER|USERNAME)": "postgresql_user",
    r"(DATABASE|DB|POSTGRES|POSTGRESQL|PG|SQL)_?(PASSWORD|PASS)": "postgresql_password",
    r"(DATABASE|DB|POSTGRES|POSTGRESQL|PG|SQL)_?PORT": "postgresql_port",
    r"(DATABASE|DB|SQL)_?ENGINE": "engine",
    r"(DATABASE|DB|SQL)_?TYPE": "kind",
    r"(CELERY_)?BROKER(_URL)?|RABBITMQ_URL|AMQP_URL|CLOUDAMQP_URL": "broker_url",
    r"(CELERY_)?RESULTS?_BACKEND(_URL)?|CELERY_(RESULTS?|BACKEND)(_URL)?": "result_backend_url",
    r"(DJANGO_)?CACHE_(URL|LOCATION)|REDIS_CACHE_URL": "cache_url",
    r"REDIS(_BROKER|_TLS)?_?(URL|URI)|REDIS": "broker_url",
    r"REDIS_?HOST(NAME)?|REDIS_SERVER": "redis_address",
    r"REDIS_?PORT": "redis_port",
    r"REDIS_?(PASSWORD|PASS)": "redis_celery_password",
    r"REDIS_?(USER|USERNAME)": "redis_user",
    r"(DJANGO_|APP_)?SECRET_KEY": "app_secret_key",
    r"(DJANGO_)?ALLOWED_HOSTS?": "hosts",
    r"(DJANGO_)?CSRF_TRUSTED_ORIGINS?|TRUSTED_ORIGINS": "site_origins",
    r"(DJANGO_|APP_)?DEBUG": "debug",
    r"(DJANGO_)?MEDIA_ROOT": "django_app_media_root",
    r"(SITE|BASE|APP|PUBLIC|ROOT)_UR[LI]": "origin",
    r"(SITE_)?(DOMAIN|DOMAIN_NAME|HOST_NAME)": "host",
}
TEMPLATES: dict[str, str] = {
    "hosts": f"{{{{ {HOSTS} | join('%s') }}}}",
    "site_origins": "{{ site_origins | join('%s') }}",
    "origin": "{{ site_origins | first }}",
    "host": "{{ site_names | first }}",
    "engine": "django.db.backends.postgresql",
    "kind": "postgresql",
    "redis_user": "celery",
}
LISTS = {"hosts": HOSTS, "site_origins": "site_origins"}
# What channels_redis sends, and Celery does not.
CHANNELS_COMMANDS = ["+eval", "+bzpopmin", "+zpopmin", "+zremrangebyscore"]
# Celery looks for these itself, before its settings.
CELERYS_OWN = {
    "broker_url": ("CELERY_BROKER_URL", "broker_url"),
    "result_backend": ("CELERY_RESULT_BACKEND", "result_backend_url"),
}


@dataclass
class Variable:
    """An environment variable, with all that is known of it.

    Attributes:
        name: its own.
        where: where it is read first.
        required: whether the project does not start without it.
        default: what stands for it.
        kind, separator: as in `Read`.
        settings: the paths of the settings that it goes into, `SETTING#role` for a part of an address.
        own: its name without the word that most of the project's variables begin with.
    """

    name: str
    where: str
    required: bool
    default: Any
    kind: str = ""
    separator: str = ","
    settings: list[str] = field(default_factory=list)
    own: str = ""


def variables_of(reads: list[Read], scope: Scope, celery: Mapping[str, Any]) -> dict[str, Variable]:
    """The variables that are read, by name.

    Args:
        reads: every place that reads one.
        scope: the settings.
        celery: Celery's configuration, by its own names.
    """
    variables: dict[str, Variable] = {}
    for read in reads:
        known = variables.setdefault(read.name, Variable(read.name, read.where, False, read.default))
        known.required |= read.required
        known.kind = known.kind or read.kind
        if read.required:
            known.where = read.where
    settings = {name: value for name, value in scope.names.items() if name.isupper()}
    for path, read in (*_flows(settings, ""), *_flows(celery, "CELERY.")):
        variable = variables.setdefault(read.name, Variable(read.name, read.where, read.required, read.default))
        variable.settings.append(path)
        if read.kind:
            variable.kind, variable.separator = read.kind, read.separator
    prefix = _prefix(variables)
    for name, variable in variables.items():
        variable.own = name.removeprefix(prefix)
    return variables


def _prefix(names: Collection[str]) -> str:
    """The word, with its underscore, that most of the names begin with, as in SHOP_DB_HOST; empty for none."""
    words = Counter(f"{name.partition('_')[0]}_" for name in names if "_" in name)
    word, count = max(words.items(), key=lambda found: found[1], default=("", 0))
    return word if count >= LEAST_PREFIXED and count * 2 > len(names) else ""


def _flows(values: Mapping[Any, Any], before: str) -> Iterator[tuple[str, Read]]:
    """Every variable in settings, with the setting's path."""
    for key, value in values.items():
        yield from _inside(f"{before}{key}", value)


def _inside(path: str, value: Any) -> Iterator[tuple[str, Read]]:
    if isinstance(value, Read):
        yield path, value
        if isinstance(value.default, Read | Joined):
            yield from ((f"{inner}#default", read) for inner, read in _inside(path, value.default))
    elif isinstance(value, Joined):
        before = ""
        for index, part in enumerate(value.parts):
            if isinstance(part, Read):
                after = value.parts[index + 1] if index + 1 < len(value.parts) else ""
                yield f"{path}#{_role(before, after if isinstance(after, str) else '')}", part
                before += "x"
            else:
                before += part if isinstance(part, str) else "x"
    elif isinstance(value, Mapping):
        yield from _flows(value, f"{path}.")
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from _inside(f"{path}.{index}", one)


def _role(before: str, after: str) -> str:
    """What a part of an address is, by what stands around it."""
    _, is_address, rest = before.partition("://")
    if not is_address:
        return "part"
    if after.startswith("@") or (":" in after.partition("@")[0] and "@" in after):
        return "password" if ":" in rest else "user"
    rest = rest.rpartition("@")[2]
    if "/" in rest:
        return "path"
    return "port" if ":" in rest else "host"


PARTS = {
    "redis": {"host": "redis_address", "port": "redis_port", "password": "redis_celery_password", "user": "redis_user"},
    "database": {
        "host": "postgresql_address",
        "port": "postgresql_port",
        "password": "postgresql_password",
        "user": "postgresql_user",
        "path": "postgresql_database",
    },
}


def meaning_of(variable: Variable) -> tuple[str, str]:
    """What Stockpot has for a variable, and the setting that says so; the setting is empty where the name alone does."""
    said: list[tuple[str, str]] = []
    for path in variable.settings:
        setting, _, role = path.partition("#")
        if role == "default":
            continue
        if role:
            family = "database" if setting.startswith("DATABASES") else "redis"
            is_ours = setting.startswith(("DATABASES", "CACHES", "CELERY.broker", "CELERY.result", "CHANNEL_LAYERS"))
            if is_ours and (part := PARTS[family].get(role)):
                said.append((part, setting))
            continue
        for pattern, stands_for in SETTINGS.items():
            if re.fullmatch(pattern, setting):
                said.append((stands_for, setting))
                break
    # One address for several: the user of the broker may be given every key.
    for first in ("broker_url", "redis_celery_password"):
        if chosen := [one for one in said if one[0] == first]:
            return chosen[0]
    if said:
        return said[0]
    for pattern, stands_for in NAMES.items():
        if re.fullmatch(pattern, variable.name) or re.fullmatch(pattern, variable.own):
            return stands_for, ""
    return "", ""


def bound(variable: Variable, meaning: str) -> Any:
    """What is written for a variable of this meaning; None to leave it out."""
    if meaning == "debug":
        if variable.kind == "not":
            return variable.separator
        off = {"int": "0", "truthy": ""}.get(variable.kind, "False")
        is_off = not variable.required and variable.default in (None, False, "", 0, "0", "False", "false", "no", "off")
        return None if is_off else off
    if meaning in LISTS:
        if variable.kind == "json":
            return Template(f"{{{{ {LISTS[meaning]} | to_json }}}}")
        separator = variable.separator if variable.kind == "list" else ","
        return Template(TEMPLATES[meaning] % separator.replace("'", ""))
    if meaning in TEMPLATES:
        return Template(TEMPLATES[meaning])
    return Template(f"{{{{ {meaning} }}}}")


def connection_values(
    variables: Mapping[str, Variable], celery: Mapping[str, Any], where: Mapping[str, str], choices: Mapping[str, str]
) -> list[Value]:
    """`app_connections` and `app_environment`.

    Args:
        variables: what is read.
        celery: Celery's configuration, by its own names.
        where: where each of them is set.
        choices: variables that choose PostgreSQL, with what they have to say.
    """
    connections, environment, optional = [], [], []
    meanings = {name: meaning_of(variable) for name, variable in variables.items()}
    for name, variable in sorted(variables.items()):
        meaning, setting = meanings[name]
        value = bound(variable, meaning) if meaning else None
        if name in choices:
            connections.append(Value(name, choices[name], f"{variable.where}: what chooses PostgreSQL"))
        elif value is not None:
            paths = {path.partition("#")[0] for path in variable.settings if "#default" not in path}
            shared = sorted(path for path in paths if any(re.fullmatch(pattern, path) for pattern in SETTINGS))
            is_shared = meaning == "broker_url" and any(
                path.startswith(("CACHES", "CHANNEL_LAYERS")) for path in shared
            )
            if not setting:
                connections.append(Value(name, value, f"guess: by its name ({variable.where})", GUESS))
            elif is_shared:
                why = f"guess: the broker's Redis, for {', '.join(shared)} ({variable.where})"
                connections.append(Value(name, value, why, GUESS))
            else:
                connections.append(Value(name, value, variable.where))
        elif meaning != "debug" and variable.required:
            environment.append(_required(variable))
        else:
            default = variable.default
            shown = (
                repr(default) if isinstance(default, str | int | float | bool) else "a default" if default else "none"
            )
            optional.append(f"{name}: {shown} without it ({variable.where})")
    connections += _celerys_own(connections, variables, celery, where)
    return [
        Value("app_connections", {}, "", entries=connections),
        Value("app_environment", {}, "", FOUND, entries=environment, optional=_optional(optional)),
    ]


def _optional(lines: list[str]) -> list[str]:
    return ["It reads these too, and does without:", *lines] if lines else []


def _required(variable: Variable) -> Value:
    if SECRETS.search(variable.name):
        name = f"vault_{variable.name.lower()}"
        return Value(
            variable.name, Template(f"{{{{ {name} }}}}"), f"{variable.where}; write {name} into vault.yml", OPEN
        )
    what = {"int": "a number", "bool": "True or False", "list": "entries, with commas"}.get(variable.kind, "its value")
    return unknown(variable.name, what, variable.where)


def _celerys_own(
    connections: list[Value], variables: Mapping[str, Variable], celery: Mapping[str, Any], where: Mapping[str, str]
) -> list[Value]:
    """What Celery reads before its settings, where these have no room for Redis's user and password."""
    values = []
    written = {entry.name for entry in connections}
    for setting, (name, stands_for) in CELERYS_OWN.items():
        value = celery.get(setting, UNKNOWN)
        is_address = isinstance(value, Joined) or (
            isinstance(value, str) and re.match(r"(redis|rediss|amqp|pyamqp|redis\+socket)://", value)
        )
        if name in written or not is_address:
            continue
        values.append(
            guess(
                name,
                Template(f"{{{{ {stands_for} }}}}"),
                f"Celery reads it before {setting} ({where.get(setting, '')}), which has no room for Redis's user and password",
            )
        )
    return values


def prefix_values(
    variables: Mapping[str, Variable], scope: Scope, celery: Mapping[str, Any], where: Mapping[str, str]
) -> list[Value]:
    """What the project puts before its keys in Redis."""
    values = []
    meanings = [meaning_of(variable)[0] for variable in variables.values()]
    broker = _option(celery, "broker_transport_options")
    results = _option(celery, "result_backend_transport_options")
    backend = celery.get("result_backend", UNKNOWN)
    no_results = backend in (None, UNKNOWN) or (isinstance(backend, str) and not backend.startswith("redis"))
    place = where.get("broker_transport_options", scope.file)
    if isinstance(broker, Read):
        pass
    elif isinstance(broker, str) and (no_results or results == broker) and re.search(r"[:_.-]$", broker):
        values.append(Value("redis_celery_key_prefix", broker, place))
    elif broker:
        values.append(
            guess(
                "redis_celery_key_prefix",
                "",
                f"{place}: the prefix of broker and results is not one that ends in : _ . or -",
            )
        )
    else:
        values.append(Value("redis_celery_key_prefix", "", "Celery's settings have no global_keyprefix"))
    if "channels_redis" in str(scope.names.get("CHANNEL_LAYERS")):
        layers = scope.where.get("CHANNEL_LAYERS", scope.file)
        values.append(
            guess(
                "redis_celery_extra_commands", CHANNELS_COMMANDS, f"{layers}: what channels_redis sends beside Celery"
            )
        )
    caches = scope.names.get("CACHES")
    default = caches.get("default") if isinstance(caches, Mapping) else caches
    if not _in_redis(default) or "redis_cache_key_prefix" in meanings:
        return values
    prefix = default.get("KEY_PREFIX") if isinstance(default, Mapping) else None
    is_shared = any(
        meaning_of(variable)[0] == "broker_url" and any(path.startswith("CACHES") for path in variable.settings)
        for variable in variables.values()
    )
    line = scope.where.get("CACHES", scope.file)
    own = isinstance(default, Mapping) and "KEY_FUNCTION" in default
    if isinstance(prefix, str) and prefix and not own and not is_shared:
        values.append(Value("redis_cache_key_prefix", f"{prefix.rstrip(':')}:", line))
    else:
        values.append(Value("redis_cache_key_prefix", "", f"{line}: CACHES has no KEY_PREFIX"))
    return values


def _option(celery: Mapping[str, Any], name: str) -> Any:
    options = celery.get(name)
    return options.get("global_keyprefix") if isinstance(options, Mapping) else None


def _in_redis(cache: Any) -> bool:
    if isinstance(cache, Read):
        return True
    return isinstance(cache, Mapping) and "redis" in str(cache.get("BACKEND", "")).lower()


def mends(scope: Scope, variables: Mapping[str, Variable]) -> list[str]:
    """What no variable can change: the project's settings say it themselves, in sentences."""
    found = []
    databases = scope.names.get("DATABASES")
    default = databases.get("default") if isinstance(databases, Mapping) else databases
    line = scope.where.get("DATABASES", scope.file)
    if isinstance(default, Mapping):
        said = [value for value in default.values() if isinstance(value, Read | Joined) or value is UNKNOWN]
        if "sqlite" in str(default.get("ENGINE", "")) or "mysql" in str(default.get("ENGINE", "")):
            found.append(f"whose database is PostgreSQL, which is expected ({line} has {default.get('ENGINE')})")
        elif not said:
            found.append(f"that reads its database from the environment ({line} has it in writing)")
    caches = scope.names.get("CACHES")
    cache = caches.get("default") if isinstance(caches, Mapping) else None
    location = cache.get("LOCATION") if isinstance(cache, Mapping) and _in_redis(cache) else None
    if isinstance(location, str | Joined) and not (isinstance(location, Joined) and _has_login(location)):
        found.append(
            f"whose cache reads its whole address from the environment ({scope.where.get('CACHES', scope.file)} has no room for "
            "Redis's user and password)"
        )
    if scope.names.get("DEBUG") is True:
        found.append(f"without DEBUG = True ({scope.where.get('DEBUG', scope.file)})")
    return found


def _has_login(address: Joined) -> bool:
    roles = {path.partition("#")[2] for path, _ in _inside("", address)}
    return {"user", "password"} <= roles
