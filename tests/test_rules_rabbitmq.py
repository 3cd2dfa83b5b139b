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
    assert rabbitmq.memory_bytes("300MB", 5, 2048) == 300 * 10**6
    with pytest.raises(ValueError, match="no amount"):
        rabbitmq.memory_bytes("much", 5, 2048)
