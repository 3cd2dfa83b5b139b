"""What RabbitMQ is given is looked at before anything changes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.plugin_utils import arguments, rabbitmq
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.rabbitmq import problems

GOOD: dict[str, Any] = {
    "rabbitmq_application": "shop",
    "rabbitmq_admin_password": "admin password",
    "rabbitmq_celery_password": "celery password",
    "rabbitmq_monitoring_password": "monitoring password",
}


def found(**keys: Any) -> list[str]:
    given, wrong = arguments.collect("rabbitmq", {**GOOD, **keys}, DataLoader())
    assert wrong == []
    return problems(given)


MEMBERS = [{"name": f"data-{number}", "address": f"10.0.0.{number}"} for number in (1, 2, 3)]
CLUSTER: dict[str, Any] = {
    "rabbitmq_members": MEMBERS,
    "rabbitmq_member": "data-1",
    "rabbitmq_cookie": "a cookie of the test".replace(" ", "-"),
    "rabbitmq_bind_addresses": ["127.0.0.1", "10.0.0.1"],
}


def test_three_servers_are_no_mistake() -> None:
    assert found(**CLUSTER) == []
    tls = {"rabbitmq_tls": True, "rabbitmq_authority": "/etc/ssl/authority.pem"}
    assert found(**CLUSTER, **tls) == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"rabbitmq_members": MEMBERS[:2]}, "rabbitmq_members names data-1, data-2: 3 servers"),
        ({"rabbitmq_members": [*MEMBERS[:2], MEMBERS[1]]}, "rabbitmq_members names data-1, data-2, data-2: 3 servers"),
        (
            {"rabbitmq_members": [*MEMBERS[:2], {"name": "c", "address": "fd00::3"}]},
            "rabbitmq_members: c has the address",
        ),
        (
            {"rabbitmq_members": [*MEMBERS[:2], {"name": "c d", "address": "10.0.0.3"}]},
            "rabbitmq_members: the name 'c d'",
        ),
        ({"rabbitmq_member": "data-9"}, "rabbitmq_member is 'data-9'"),
        ({"rabbitmq_cookie": ""}, "rabbitmq_cookie: give members at least 16 characters"),
        ({"rabbitmq_bind_addresses": ["127.0.0.1"]}, "rabbitmq_bind_addresses lacks 10.0.0.1"),
        ({"rabbitmq_tls": True}, "rabbitmq_authority is no whole path"),
    ],
)
def test_a_mistake_of_several_servers_is_named(keys: dict[str, Any], said: str) -> None:
    (problem,) = found(**CLUSTER | keys)
    assert problem.startswith(said)


def test_what_ships_has_no_mistake() -> None:
    assert found() == []
    assert found(rabbitmq_memory="512MB", rabbitmq_disk_free="1GiB", rabbitmq_settings={"channel_max": 64}) == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"rabbitmq_application": "guest"}, "rabbitmq_application is 'guest'"),
        ({"rabbitmq_application": "My shop"}, "rabbitmq_application is 'My shop'"),
        ({"rabbitmq_celery_password": ""}, "rabbitmq_celery_password is empty"),
        ({"rabbitmq_bind_addresses": ["10.0.0.5"]}, "rabbitmq_bind_addresses lacks 127.0.0.1"),
        ({"rabbitmq_memory": "half"}, "rabbitmq_memory: bytes, or a number with kB, MB"),
        ({"rabbitmq_disk_free": ""}, "rabbitmq_disk_free is empty"),
        ({"rabbitmq_memory_percent": 95}, "rabbitmq_memory_percent is 95"),
        ({"rabbitmq_port": 70000}, "rabbitmq_port is 70000"),
        ({"rabbitmq_port": 15672}, "rabbitmq_management_port is 15672, which is rabbitmq_port"),
        ({"rabbitmq_tls_port": 5672}, "rabbitmq_tls_port is 5672, which is rabbitmq_port"),
        ({"rabbitmq_certificate": "own.pem"}, "rabbitmq_certificate is 'own.pem'"),
        ({"rabbitmq_clear_text": False}, "rabbitmq_clear_text is false and rabbitmq_tls too"),
        ({"rabbitmq_settings": {"ssl_options.verify": 1}}, "rabbitmq_settings: ssl_options.verify belongs to the role"),
        ({"rabbitmq_consumer_timeout": 5}, "rabbitmq_consumer_timeout is 5"),
        ({"rabbitmq_delivery_limit": 0}, "rabbitmq_delivery_limit is 0"),
        (
            {"rabbitmq_settings": {"listeners.tcp.default": 1}},
            "rabbitmq_settings: listeners.tcp.default belongs to the role",
        ),
        ({"rabbitmq_settings": {"consumer_timeout": 1}}, "rabbitmq_settings: consumer_timeout belongs to the role"),
        ({"rabbitmq_settings": {"a": "b\nc = d"}}, "rabbitmq_settings: a has several lines"),
    ],
)
def test_a_mistake_is_named_with_its_variable(keys: dict[str, Any], said: str) -> None:
    (problem,) = found(**keys)
    assert problem.startswith(said)
    assert problem.endswith(".")


@pytest.mark.parametrize(
    ("amount", "size"), [("1000", 1000), ("2kB", 2000), ("2KiB", 2048), ("512MB", 512 * 10**6), ("1GiB", 2**30)]
)
def test_an_amount_is_what_rabbitmq_takes_it_for(amount: str, size: int) -> None:
    assert rabbitmq.amount_bytes(amount) == size


def test_memory_is_a_share_that_it_can_live_with() -> None:
    assert rabbitmq.memory_bytes("", 25, 4096) == 1024 * 2**20
    assert rabbitmq.memory_bytes("", 5, 2048) == 256 * 2**20, "what it needs by itself"
    assert rabbitmq.memory_bytes("", 25, 3924) == rabbitmq.memory_bytes("", 25, 3911) == 976 * 2**20, "another kernel"
    assert rabbitmq.memory_bytes("300MB", 5, 2048) == 300 * 10**6
    with pytest.raises(ValueError, match="no amount"):
        rabbitmq.memory_bytes("much", 5, 2048)
