"""What several servers of RabbitMQ are asked, and when they are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.module_utils.rabbitmq import RabbitError
from ansible_collections.stockpot.stack.plugins.modules.rabbitmq_cluster import Cluster, Local, NotYet, wait

A, B, C, D = (f"rabbit@{name}" for name in "abcd")
MEMBERS = [A, B, C]


class Api:
    """Answers for a cluster, and changes with what is run on it."""

    def __init__(self, running: dict[str, bool], *queues: dict[str, Any], critical: bool = False) -> None:
        self.running, self.queues, self.critical = running, list(queues), critical

    def ask(self, method: str, *path: str) -> Any:
        assert method == "GET"
        if path == ("nodes",):
            return [{"name": name, "running": runs} for name, runs in self.running.items()]
        if path == ("queues",):
            return self.queues
        if self.critical:
            raise RabbitError("RabbitMQ refuses GET: 503")
        return {"status": "ok"}


class Module:
    """Ansible's, as far as it is used here."""

    check_mode = False

    def __init__(self, api: Api) -> None:
        self.api = api
        self.ran: list[tuple[str, ...]] = []

    def run_command(self, words: list[str], **_: Any) -> tuple[int, str, str]:
        words = words[2:]
        self.ran.append(tuple(words))
        if words[0] == "rabbitmqctl":
            del self.api.running[words[-1]]
        else:
            for queue in self.api.queues:
                for key in ("members", "online"):
                    queue[key] = sorted({*queue[key], words[-2]})
        return 0, "", ""


def quorum(name: str, *members: str, online: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"name": name, "type": "quorum", "members": list(members), "online": list(online or members)}


ALL = dict.fromkeys(MEMBERS, True)


def test_a_whole_one_is_left_alone() -> None:
    module = Module(api := Api(ALL, quorum("mail", A, B, C), {"name": "reply", "type": "classic"}))
    cluster = Cluster(module, api)
    cluster.be_whole(MEMBERS)
    assert (module.ran, cluster.changes) == ([], [])


def test_a_queue_gets_the_members_that_it_lacks() -> None:
    module = Module(api := Api(ALL, quorum("mail", A, B), quorum("sms", A, B, C)))
    cluster = Cluster(module, api)
    cluster.be_whole(MEMBERS)
    assert module.ran == [("rabbitmq-queues", "--quiet", "grow", C, "all")]
    assert cluster.changes == [f"quorum queues get a member on {C}"]


@pytest.mark.parametrize(
    ("running", "queues", "said"),
    [
        ({A: True, B: True}, [], f"{C} is no member yet"),
        ({A: True, B: True, C: False}, [], f"RabbitMQ does not run as {C}"),
        (ALL, [quorum("mail", A, B, C, online=(A, B))], "mail has not caught up on each member"),
    ],
)
def test_what_is_still_to_come_is_waited_for(running: dict[str, bool], queues: list[dict[str, Any]], said: str) -> None:
    api = Api(running, *queues)
    cluster = Cluster(Module(api), api)
    assert wait(lambda: cluster.be_whole(MEMBERS), 0) == said


def test_one_that_the_inventory_lacks_is_forgotten_when_it_is_down_and_told_when_it_runs() -> None:
    module = Module(api := Api({**ALL, D: False}))
    Cluster(module, api).be_whole(MEMBERS)
    assert module.ran == [("rabbitmqctl", "--quiet", "forget_cluster_node", D)]
    api = Api({**ALL, D: True})
    with pytest.raises(RabbitError, match=f"lacks {D}"):
        Cluster(Module(api), api).be_whole(MEMBERS)


def test_one_that_lost_its_data_is_forgotten_unless_it_runs_or_was_never_known() -> None:
    module = Module(api := Api({A: True, B: True, C: False}))
    Cluster(module, api).forget([B, C, D])
    assert module.ran == [("rabbitmqctl", "--quiet", "forget_cluster_node", C)]


def test_a_member_is_restarted_only_while_the_others_can_do_without_it() -> None:
    api = Api({A: True, B: False, C: True})
    with pytest.raises(NotYet, match=f"does not run as {B}"):
        Cluster(Module(api), api).be_spared(A, MEMBERS)
    api = Api(ALL, critical=True)
    with pytest.raises(NotYet, match="would lose their majority"):
        Cluster(Module(api), api).be_spared(A, MEMBERS)
    api = Api({**ALL, D: False})
    Cluster(Module(api), api).be_spared(A, MEMBERS)


def test_what_all_members_have_to_agree_upon_is_read_where_it_stands(tmp_path: Path) -> None:
    local = Local(str(tmp_path), A)
    assert not local.has_data()
    (tmp_path / "var/lib/rabbitmq/mnesia" / A).mkdir(parents=True)
    assert not local.has_data()
    (tmp_path / "var/lib/rabbitmq/mnesia" / A / "schema.DAT").touch()
    assert local.has_data()
    (tmp_path / "var/lib/rabbitmq/.erlang.cookie").write_text("one")
    assert local.disagreement("another", tls=False) == "vault_rabbitmq_cookie"
    assert local.disagreement("one", tls=False) == ""
    assert local.disagreement("one", tls=True) == "service_tls"
    (tmp_path / "etc/rabbitmq").mkdir(parents=True)
    (tmp_path / "etc/rabbitmq/rabbitmq-env.conf").write_text('CTL_ERL_ARGS="-proto_dist inet_tls"\n')
    assert local.disagreement("one", tls=True) == ""
    assert local.disagreement("one", tls=False) == "service_tls"
