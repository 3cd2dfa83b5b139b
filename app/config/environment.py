"""Reads settings from the environment; what is missing or malformed stops the process with the variable's name."""

from typing import Any
from urllib.parse import unquote, urlsplit

from environs import Env, EnvValidationError, ValidationError


class Environment(Env):
    """environs, but an empty variable counts as missing: a template that has nothing to say writes `NAME=`."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        return super()._get_value(env_key, default) or default


env = Environment()


def database(name: str, *, pool_size: int) -> dict[str, Any]:
    """Django's settings for postgresql://user:password@host:port/name?sslmode=verify-full; the query goes to libpq.

    pool_size: most connections one process keeps open; 0 opens one for every request.
    Raises EnvError if the variable is missing or not an address of PostgreSQL.
    """
    found: dict[str, Any] = {**env.dj_db_url(name, conn_health_checks=bool(pool_size))}
    if found["ENGINE"] != "django.db.backends.postgresql" or not found["NAME"]:
        raise EnvValidationError(f'Environment variable "{name}" is not postgresql://user:password@host:port/name', [])
    found["OPTIONS"] = {"connect_timeout": 5, **found.get("OPTIONS", {})}
    if pool_size:
        found["OPTIONS"]["pool"] = {"min_size": 1, "max_size": pool_size, "timeout": 2}
    return found


@env.parser_for("email")
def email(value: str) -> dict[str, Any]:
    """Django's settings for smtp://user:password@host:port, smtp+tls:// for STARTTLS, or console: to print mails.

    Raises ValidationError for another kind of address.
    """
    if value == "console:":
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    address = urlsplit(value)
    try:
        port = address.port or 25
    except ValueError as error:
        raise ValidationError("The port is no number.") from error
    if address.scheme not in ("smtp", "smtp+tls") or not address.hostname:
        raise ValidationError("It is neither smtp://user:password@host:port nor console:")
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": address.hostname,
        "EMAIL_PORT": port,
        "EMAIL_HOST_USER": unquote(address.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(address.password or ""),
        "EMAIL_USE_TLS": address.scheme == "smtp+tls",
        "EMAIL_TIMEOUT": 10,
    }
