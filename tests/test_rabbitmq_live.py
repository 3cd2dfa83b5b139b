"""What the running RabbitMQ is given, and what of it is compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.module_utils.rabbitmq import Refused
from ansible_collections.stockpot.stack.plugins.modules import rabbitmq_live
from ansible_collections.stockpot.stack.plugins.modules.rabbitmq_live import (
    definition,
    differences,
    hashed,
    is_password,
    prove,
    removals,
    steps,
)

ADMIN = {
    "name": "shop-admin",
    "password": "secret",
    "tags": ["administrator"],
    "configure": ".*",
    "write": ".*",
    "read": ".*",
}
CELERY = {**ADMIN, "name": "shop-celery", "tags": []}
POLICY = {"pattern": "^a", "apply-to": "queues", "priority": 0, "definition": {"delivery-limit": 9}}
GIVEN = {
    "vhost": "shop",
    "users": [ADMIN, CELERY],
    "policies": {"redelivery": POLICY},
    "dead_letters": "dead-letters",
    "dead_letters_limit": 10,
    "remove_vhost": False,
}
NOTHING: dict[str, list[Any]] = {name: [] for name in ("users", "vhosts", "permissions", "policies", "queues")}


def live(**others: list[Any]) -> dict[str, list[Any]]:
    """The definitions of a server that has what it should, and others."""
    own: dict[str, list[Any]] = {
        "users": [{"name": user["name"], **definition(user), "tags": user["tags"]} for user in (ADMIN, CELERY)],
        "vhosts": [{"name": "/"}, {"name": "shop"}],
        "permissions": [
            {"user": user["name"], "vhost": "shop", "configure": ".*", "write": ".*", "read": ".*"}
            for user in (ADMIN, CELERY)
        ],
        "policies": [{"name": "redelivery", "vhost": "shop", **POLICY}],
        "queues": [{"name": "dead-letters", "vhost": "shop"}],
    }
    return {name: own[name] + others.get(name, []) for name in own}


def sentences(found: dict[str, list[Any]], what: Callable[..., Any] = steps, **keys: Any) -> list[str]:
    return [sentence for sentence, _ in what({**GIVEN, **keys}, found)]


def test_a_password_is_known_again_by_its_hash_alone() -> None:
    """The example of RabbitMQ's own documentation (https://www.rabbitmq.com/docs/passwords)."""
    assert hashed("test12", bytes.fromhex("908DC60A")) == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    user = definition(CELERY)
    assert "secret" not in repr(user)
    assert is_password("secret", user)
    assert not is_password("another", user)
    assert not is_password("", {"name": "nobody"})
    assert definition(CELERY)["password_hash"] != user["password_hash"], "another salt each time"


def test_a_bare_server_gets_everything() -> None:
    assert sentences({**NOTHING, "users": [{"name": "guest"}]}) == [
        "the virtual host shop is made",
        "the user shop-admin is made",
        "the permissions of shop-admin are set",
        "the user shop-celery is made",
        "the permissions of shop-celery are set",
        "the user guest is removed",
        "the policy redelivery is set",
        "the queue dead-letters is made",
    ]


def test_what_is_as_it_should_be_is_left_alone_and_so_are_other_applications() -> None:
    others = {
        "users": [{"name": "blog-celery", "tags": []}],
        "permissions": [{"user": "blog-celery", "vhost": "blog", "configure": ".*", "write": ".*", "read": ".*"}],
        "policies": [{"name": "theirs", "vhost": "blog"}],
    }
    assert sentences(live(**others)) == []


def test_what_was_changed_by_hand_is_taken_back() -> None:
    foreign = {"user": "somebody", "vhost": "shop", "configure": ".*", "write": ".*", "read": ".*"}
    found = live(permissions=[foreign], policies=[{"name": "ha", "vhost": "shop"}])
    found["users"][1]["tags"] = ["administrator"]
    found["permissions"][0]["read"] = "^$"
    assert sentences(found) == [
        "the permissions of shop-admin are set",
        "the user shop-celery is changed",
        "somebody loses its permissions in shop",
        "the policy ha is removed",
    ]


def test_an_application_goes_with_its_messages_only_when_that_is_said() -> None:
    assert sentences(live(), removals) == ["the user shop-celery is removed", "the user shop-admin is removed"]
    assert sentences(live(), removals, remove_vhost=True)[0] == "the virtual host shop is removed"
    assert sentences(NOTHING, removals, remove_vhost=True) == []


class Broker:
    """A RabbitMQ with the virtual host of an application whose users are gone; root's way makes users."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.users: list[dict[str, Any]] = []
        self.vhosts = [{"name": "shop"}]
        monkeypatch.setattr(rabbitmq_live, "Api", self.log_in)
        monkeypatch.setattr(rabbitmq_live.shutil, "chown", lambda *_: None)

    def log_in(self, port: int, user: str, password: str) -> SimpleNamespace:
        def ask(method: str, *path: str) -> Any:
            known = [entry for entry in self.users if entry["name"] == user]
            # Nobody gets in without a password.
            if not known or not password or not is_password(password, known[0]):
                raise Refused("Not_Authorized")
            if method == "DELETE":
                kept = [entry for entry in getattr(self, path[0]) if entry["name"] != path[1]]
                setattr(self, path[0], kept)
            return {**NOTHING, "users": self.users, "vhosts": self.vhosts}

        return SimpleNamespace(ask=ask)

    def run_command(self, words: list[str], cwd: str) -> tuple[int, str, str]:
        with open(words[-1]) as file:
            self.users += json.load(file)["users"]
        return 0, "", ""

    def take_away(self, admin: dict[str, Any] = ADMIN, *, check: bool = False, data: bool = True) -> list[str]:
        given = {**GIVEN, "users": [admin, CELERY], "port": 1, "state": "absent", "remove_vhost": data}
        return prove(SimpleNamespace(params=given, check_mode=check, run_command=self.run_command))[0]


@pytest.mark.parametrize("password", ["secret", ""])
def test_what_is_kept_of_an_application_without_users_can_be_removed(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """Its administrator went with it, or has lost its password, which the vault may have no more."""
    admin = {**ADMIN, "password": password}
    broker = Broker(monkeypatch)
    broker.users = [{"name": "shop-celery"}]
    assert broker.take_away(admin, check=True) == ["the user shop-admin is made, or given its password"]
    assert "the virtual host shop is removed" in broker.take_away(admin)
    assert (broker.vhosts, broker.users) == ([], [])


class Answers:
    """An API that answers what it was given."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def ask(self, method: str, *path: str) -> Any:
        return self.answers[path[0]]


def test_a_live_server_that_differs_or_makes_its_senders_wait_is_told() -> None:
    node = {"name": "rabbit@a", "mem_limit": 5, "disk_free_limit": 7, "mem_alarm": False, "disk_free_alarm": False}
    listeners = [
        {"node": "rabbit@a", "protocol": "amqp", "ip_address": "127.0.0.1", "port": 5672},
        {"node": "rabbit@a", "protocol": "clustering", "ip_address": "::", "port": 25672},
        {"node": "rabbit@b", "protocol": "amqp", "ip_address": "10.0.0.6", "port": 5672},
    ]
    wanted = {"mem_limit": 5, "disk_free_limit": 7, "listeners": ["127.0.0.1:5672"]}
    overview = {"node": "rabbit@a", "listeners": listeners}
    another = {"name": "rabbit@b", "mem_limit": 9, "mem_alarm": True}
    assert differences(Answers(nodes=[node, another], overview=overview), wanted) == []
    worse = {**node, "mem_limit": 1, "mem_alarm": True}
    listeners.append({"node": "rabbit@a", "protocol": "amqp", "ip_address": "0.0.0.0", "port": 5672})  # noqa: S104  nothing is bound
    assert differences(Answers(nodes=[worse], overview=overview), wanted) == [
        "mem_limit is 1, not 5",
        "mem_alarm is raised, so publishers wait",
        "it listens on 0.0.0.0:5672, 127.0.0.1:5672, not 127.0.0.1:5672",
    ]
