"""Of several Redis servers the one that takes writes, for whoever speaks to Redis without Celery."""

from typing import Any

from redis.connection import parse_url
from redis.sentinel import Sentinel, SentinelConnectionPool

SCHEME = "sentinel://"


def tls(url: str) -> dict[str, Any]:
    """What addresses of Sentinels say of TLS (?ssl_cert_reqs=required&ssl_ca_certs=/path), as options of a connection; nothing of others.

    kombu takes it from there for its connections to Redis. Celery's results, and all connections to Sentinels, have to be told.
    """
    if not url.startswith(SCHEME):
        return {}
    return {name: value for name, value in _parsed(url)[0].items() if name.startswith("ssl_")}


def _parsed(url: str) -> list[dict[str, Any]]:
    """The options of the connection to each of the addresses."""
    return [
        parse_url(one.replace(SCHEME, "redis://", 1))  # type: ignore[no-untyped-call]
        for one in url.split(";")
    ]


class PrimaryPool(SentinelConnectionPool):
    """Connections to the primary, which the Sentinels are asked for whenever one is made; pool_class of Django's cache."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> "PrimaryPool":
        """A pool for sentinel://user:password@host:port/database;sentinel://…, the login being Redis's, as Celery has it, and TLS, too.

        options: of the connections to Redis; and master_name, what the Sentinels call the primary, with sentinel_kwargs, the options of
        the connections to them.
        """
        parsed = _parsed(url)
        sentinels = [(one["host"], one.get("port", 26379)) for one in parsed]
        manager = Sentinel(sentinels, sentinel_kwargs=options.pop("sentinel_kwargs"))  # type: ignore[no-untyped-call]
        login = {key: parsed[0][key] for key in ("db", "username", "password") if key in parsed[0]}
        secured = tls(url)
        return cls(options.pop("master_name"), manager, ssl=bool(secured), **login, **secured, **options)
