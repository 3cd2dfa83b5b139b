"""Of several Redis servers the one that takes writes, for whoever speaks to Redis without Celery."""

from typing import Any

from redis.connection import parse_url
from redis.sentinel import Sentinel, SentinelConnectionPool

SCHEME = "sentinel://"


class PrimaryPool(SentinelConnectionPool):
    """Connections to the primary, which the Sentinels are asked for whenever one is made; pool_class of Django's cache."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> "PrimaryPool":
        """A pool for sentinel://user:password@host:port/database;sentinel://…, the login being Redis's, as Celery has it.

        options: of the connections to Redis; and master_name, what the Sentinels call the primary, with sentinel_kwargs, the options of
        the connections to them.
        """
        parsed: list[dict[str, Any]] = [
            parse_url(one.replace(SCHEME, "redis://", 1))  # type: ignore[no-untyped-call]
            for one in url.split(";")
        ]
        sentinels = [(one["host"], one.get("port", 26379)) for one in parsed]
        manager = Sentinel(sentinels, sentinel_kwargs=options.pop("sentinel_kwargs"))  # type: ignore[no-untyped-call]
        login = {key: parsed[0][key] for key in ("db", "username", "password") if key in parsed[0]}
        return cls(options.pop("master_name"), manager, **login, **options)
