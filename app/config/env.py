"""Reads settings from the environment; what is missing or malformed stops the process with the variable's name."""

import os
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str | None = None) -> str:
    """The variable as it stands; an empty one counts as missing.

    Raises ImproperlyConfigured if it is missing and there is no default.
    """
    value = os.environ.get(name) or default
    if value is None:
        raise ImproperlyConfigured(f"The environment variable {name} is missing.")
    return value


def whole(name: str, default: int) -> int:
    """The variable as a whole number. Raises ImproperlyConfigured if it is none."""
    value = text(name, str(default))
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(f"The environment variable {name} is {value!r}, not a whole number.") from None


def flag(name: str, default: bool = False) -> bool:
    """The variable as 0 or 1. Raises ImproperlyConfigured for anything else."""
    value = text(name, "1" if default else "0")
    if value not in ("0", "1"):
        raise ImproperlyConfigured(f"The environment variable {name} is {value!r}, not 0 or 1.")
    return value == "1"


def items(name: str, default: str | None = None) -> list[str]:
    """The variable as a list, separated by commas."""
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def database(name: str, *, pool_size: int) -> dict[str, Any]:
    """Django's settings for postgresql://user:password@host:port/name.

    pool_size: most connections one process keeps open; 0 opens one for every request.
    Raises ImproperlyConfigured if the address is not one of PostgreSQL.
    """
    address = urlsplit(text(name))
    if address.scheme not in ("postgresql", "postgres") or not address.path.strip("/"):
        raise ImproperlyConfigured(f"The environment variable {name} is not postgresql://user:password@host:port/name.")
    options: dict[str, Any] = {"connect_timeout": 5}
    if pool_size:
        options["pool"] = {"min_size": 1, "max_size": pool_size, "timeout": 5}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(address.path.strip("/")),
        "USER": unquote(address.username or ""),
        "PASSWORD": unquote(address.password or ""),
        "HOST": address.hostname or "",
        "PORT": str(address.port or ""),
        "CONN_HEALTH_CHECKS": bool(pool_size),
        "OPTIONS": options,
    }


def email(name: str) -> dict[str, Any]:
    """Django's e-mail settings for smtp://user:password@host:port, or smtp+tls:// for STARTTLS; empty prints mails.

    Raises ImproperlyConfigured for another kind of address.
    """
    value = os.environ.get(name, "")
    if not value:
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    address = urlsplit(value)
    if address.scheme not in ("smtp", "smtp+tls") or not address.hostname:
        raise ImproperlyConfigured(f"The environment variable {name} is not smtp://user:password@host:port.")
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": address.hostname,
        "EMAIL_PORT": address.port or 25,
        "EMAIL_HOST_USER": unquote(address.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(address.password or ""),
        "EMAIL_USE_TLS": address.scheme == "smtp+tls",
        "EMAIL_TIMEOUT": 10,
    }
