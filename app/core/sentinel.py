"""Of several Redis servers the one that takes writes, for whoever speaks to Redis without Celery."""

from typing import Any

from redis.connection import parse_url
from redis.sentinel import Sentinel, SentinelConnectionPool

SCHEME = "sentinel://"


class PrimaryPool(SentinelConnectionPool):
    """Connections to the primary, which the Sentinels are asked for whenever one is made; pool_class of Django's cache."""

    @classmethod
    def from_url(cls, url: str, *, master_name: str, sentinel_kwargs: dict[str, Any], **options: Any) -> "PrimaryPool":
        """A pool for sentinel://user:password@host:port/database;sentinel://…, the login being Redis's, as Celery has it.

        master_name: what the Sentinels call the primary; sentinel_kwargs: of connections to them; options: of those to Redis.
        """
        parsed = [dict(parse_url(one.replace(SCHEME, "redis://", 1))) for one in url.split(";")]
        manager = Sentinel([(one["host"], one.get("port", 26379)) for one in parsed], sentinel_kwargs=sentinel_kwargs)
        login = {key: parsed[0][key] for key in ("db", "username", "password") if key in parsed[0]}
        return cls(master_name, manager, **login, **options)
