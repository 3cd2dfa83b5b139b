"""What may be taken of a host's memory together is added up as the daemons and systemd read it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import memory

REDIS = {"redis_maxmemory": "200mb", "redis_memory_percent": 25, "redis_members": []}
POSTGRESQL: dict[str, Any] = {"postgresql_memory_percent": 10, "postgresql_settings": {}}


def taken(*definitions: dict[str, Any], megabytes: int = 1000, **roles: Any) -> memory.Memory:
    """What may be taken on a host that runs these processes, and these roles beside them."""
    return memory.of_host("one", megabytes, {**roles, "process_manager": {"process_manager_definitions": definitions}})


@pytest.mark.parametrize(
    ("limit", "megabytes"),
    [("512M", 512), ("1G", 1024), ("1.5G", 1536), ("2048K", 2), ("1048576", 1), ("20%", 200), ("", None)],
)
def test_a_limit_is_read_as_systemd_reads_it(limit: str, megabytes: int | None) -> None:
    assert memory.limit_megabytes(limit, 1000) == megabytes


def test_what_is_no_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="'512 MB' is no limit"):
        memory.limit_megabytes("512 MB", 1000)


@pytest.mark.parametrize(
    ("buffers", "megabytes"),
    [
        ({}, 150),
        ({"shared_buffers": "256MB"}, 384),
        ({"shared_buffers": "'1 GB'"}, 1536),
        ({"shared_buffers": 16384}, 192),
    ],
)
def test_postgresql_takes_its_buffers_and_half_as_much_again(buffers: dict[str, Any], megabytes: int) -> None:
    found = taken(postgresql={**POSTGRESQL, "postgresql_settings": buffers})
    variable = "postgresql_settings (shared_buffers)" if buffers else "postgresql_memory_percent"
    assert found.shares[1] == memory.Share("PostgreSQL", megabytes, variable)


def test_redis_takes_its_data_and_half_as_much_again() -> None:
    """A rewrite of the append-only file copies what is written meanwhile."""
    assert taken(redis=REDIS).shares[1] == memory.Share("Redis", 300, "redis_maxmemory")
    assert taken(redis={**REDIS, "redis_maxmemory": ""}).shares[1].megabytes == 375


def test_a_cache_of_its_own_takes_its_share_beside_the_broker_s() -> None:
    cache = {**REDIS, "redis_maxmemory": "", "redis_memory_percent": 10}
    assert taken(redis=REDIS, **{memory.CACHE: cache}).shares[1:] == [
        memory.Share("Redis", 300, "redis_maxmemory"),
        memory.Share("the cache's Redis", 150, "redis_cache_instance"),
    ]


def test_limits_that_fit_are_no_mistake_and_one_mib_more_is() -> None:
    fits = taken({"name": "web", "memory_max": "508M"}, redis=REDIS)
    assert fits.together == 1000
    assert memory.problems(fits, 100) == []
    [sentence] = memory.problems(taken({"name": "web", "memory_max": "509M"}, redis=REDIS), 100)
    assert "may take 1001 MiB together, and it has 1000 MiB: web 509, Redis 300, the system 192." in sentence
    assert "Lower redis_maxmemory, django_app_web_memory_max;" in sentence
    assert sentence.endswith("allow 101 percent.")


def test_more_may_be_allowed_by_name() -> None:
    over = taken({"name": "worker-mail", "memory_max": "1G"})
    assert memory.problems(over, 121) != []
    assert memory.problems(over, 122) == []


def test_what_has_no_limit_is_named_with_the_sum() -> None:
    found = taken({"name": "worker-mail", "memory_max": "300M"}, {"name": "listener"})
    assert str(found) == (
        "What runs on one may take 492 MiB of its 1000 MiB together, not counting listener, which has no limit: "
        "worker-mail 300, the system 192, listener without a limit."
    )
