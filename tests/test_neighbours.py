"""What one application of a host has, another is refused, by the name of the variable and with what to set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.stockpot.stack.plugins.modules.neighbours import Host
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import memory, neighbours
from ansible_collections.stockpot.stack.plugins.plugin_utils.units import process_services
from rendering import ROOT, render

REDIS = {f"redis_{user}_password": "secret" for user in ("admin", "cache", "celery")}
FACTS = {"distribution_major_version": "13", "memtotal_mb": 4000}
DROP_INS = "etc/systemd/system/rabbitmq-server.service.d"
NO_RABBITMQ: dict[str, list[str]] = {f"rabbitmq_{what}": [] for what in ("data", "used", "kept")}


def put(root: Path, path: str, text: str) -> None:
    """Write a file of the host."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def look(root: Path) -> dict[str, Any]:
    """What the module says of a host."""
    host = Host(str(root))
    host.look()
    alone, ports = host.nginx()
    seen = {"applications": host.applications, "site_in_nginx_conf": alone, "nginx_ports": ports}
    used, kept = host.rabbitmq_used, host.rabbitmq_kept
    return {**seen, "rabbitmq_data": host.rabbitmq_data(), "rabbitmq_used": used, "rabbitmq_kept": kept}


@pytest.fixture
def seen(tmp_path: Path) -> dict[str, Any]:
    """What is seen of a host with an application, shop, as the roles write it."""
    facts = {"ansible_facts": FACTS}
    units = "etc/systemd/system"
    unit = "[Unit]\nX-Application=shop\n"
    put(tmp_path, f"{units}/shop-web.service", f"{unit}[Service]\nMemoryMax=512M\n")
    put(tmp_path, f"{units}/shop-web.socket", f"{unit}[Socket]\nListenStream=10.0.0.5:8000\n")
    put(tmp_path, f"{units}/shop-flower.service", f"{unit}[Service]\nMemoryMax=192M\n")
    put(tmp_path, f"{units}/other.service", "[Service]\nMemoryMax=1G\n")
    put(tmp_path, "etc/shop/flower.environment", 'FLOWER_BASIC_AUTH="a:secret"\nFLOWER_PORT="5555"\n')
    redis = {**facts, "redis_application": "shop", "redis_maxmemory": "100mb", "redis_tls": True, **REDIS}
    put(tmp_path, f"{units}/redis-server.service.d/application.conf", render("redis", "application.conf.j2", **redis))
    put(tmp_path, "etc/redis/redis.conf", render("redis", "redis.conf.j2", **redis))
    put(tmp_path, "etc/redis/users.acl", render("redis", "users.acl.j2", **redis))
    postgresql = {**facts, "postgresql_application": "shop", "postgresql_settings": {"shared_buffers": "64MB"}}
    mark = render("postgresql", "application.conf.j2", **postgresql)
    put(tmp_path, f"{units}/postgresql@17-main.service.d/application.conf", mark)
    put(tmp_path, "etc/postgresql/17/main/conf.d/managed.conf", render("postgresql", "managed.conf.j2", **postgresql))
    put(tmp_path, "etc/postgresql/17/main/start.conf", "auto\n")
    wants_redis = tmp_path / units / "multi-user.target.wants/redis-server.service"
    wants_redis.parent.mkdir()
    wants_redis.symlink_to("/lib/systemd/system/redis-server.service")
    site = {
        **facts,
        "nginx_application": "shop",
        "nginx_server_names": ["shop.test", "www.shop.test"],
        "nginx_upstreams": ["unix:/run/shop/web.sock"],
    }
    put(tmp_path, "etc/nginx/nginx.conf", render("nginx", "nginx.conf.j2", **site))
    put(tmp_path, "etc/nginx/sites/shop.conf", render("nginx", "site.conf.j2", **site))
    return look(tmp_path)


RABBITMQ = {
    "rabbitmq_memory": "512MB",
    "rabbitmq_memory_percent": 5,
    "rabbitmq_disk_free": "1GB",
    "rabbitmq_consumer_timeout": 43200,
    "rabbitmq_port": 5672,
    "rabbitmq_management_port": 15672,
    "rabbitmq_bind_addresses": ["127.0.0.1"],
    "rabbitmq_clear_text": True,
    "rabbitmq_tls": False,
    "rabbitmq_members": [],
    "rabbitmq_member": "",
    "rabbitmq_tls_port": 5671,
    "rabbitmq_certificate": "/etc/ssl/services/blog/rabbitmq.pem",
    "rabbitmq_settings": {},
}


def of_rabbitmq(application: str, **given: Any) -> dict[str, Any]:
    """What the role is given by an application."""
    return {"ansible_facts": FACTS, "rabbitmq_application": application, "rabbitmq_memory": "512MB", **given}


def test_applications_share_one_rabbitmq_and_what_it_is_given(tmp_path: Path) -> None:
    """What one would give it and another would not is refused: each run would restart it. Its memory is counted once."""
    written = of_rabbitmq("shop")
    units = tmp_path / "etc/systemd/system"
    mark = render("rabbitmq", "mark.conf.j2", **written)
    put(tmp_path, f"{DROP_INS}/shop.conf", mark)
    put(tmp_path, "etc/rabbitmq/rabbitmq.conf", render("rabbitmq", "rabbitmq.conf.j2", **written))
    (units / "multi-user.target.wants").mkdir()
    (units / "multi-user.target.wants/rabbitmq-server.service").symlink_to(
        "/lib/systemd/system/rabbitmq-server.service"
    )
    seen = look(tmp_path)
    assert seen["applications"]["shop"]["memory"] == {"rabbitmq-server": "512000000"}
    assert neighbours.problems(neighbours.wanted("blog", "web-1", {"rabbitmq": RABBITMQ}, FACTS), seen) == []
    assert neighbours.problems(neighbours.wanted("blog", "web-1", {}, FACTS), seen) == []
    others = {"rabbitmq_memory": "1GB", "rabbitmq_bind_addresses": ["127.0.0.1", "10.0.0.5"]}
    told = neighbours.problems(neighbours.wanted("blog", "web-1", {"rabbitmq": RABBITMQ | others}, FACTS), seen)
    assert [sentence.split(":")[0] for sentence in told] == ["rabbitmq_bind_addresses", "rabbitmq_memory"]
    assert "1000000000" in told[1]
    assert "shop, another application there, which shares it, gave it 512000000" in told[1]
    tls = RABBITMQ | {"rabbitmq_tls": True}
    told = neighbours.problems(neighbours.wanted("blog", "web-1", {"rabbitmq": tls}, FACTS), seen)
    assert {sentence.split(":")[0] for sentence in told} == {"rabbitmq_bind_addresses", "service_tls"}
    assert "/etc/ssl/services/blog/rabbitmq.pem as ssl_options.certfile" in " ".join(told)
    assert [share.megabytes for share in neighbours.shares("blog", seen, 4000)] == [732]
    assert [share.megabytes for share in neighbours.shares("blog", seen, 4000, has_rabbitmq=True)] == [0]


def run_of(root: Path, application: str, *, is_recorded: bool = True, **given: Any) -> list[str]:
    """The run of an application on a host that others share: what it is refused, by variable, or nothing and what the role writes."""
    want = neighbours.wanted(application, "web-1", {"rabbitmq": RABBITMQ | given}, FACTS)
    if told := neighbours.problems(want, look(root)):
        return [sentence.split(":")[0] for sentence in told]
    written = of_rabbitmq(application, **given)
    mark = render("rabbitmq", "mark.conf.j2", **written)
    if not is_recorded:
        mark = "".join(line for line in mark.splitlines(keepends=True) if "X-Given" not in line)
    put(root, f"{DROP_INS}/{application}.conf", mark)
    put(root, "etc/rabbitmq/rabbitmq.conf", render("rabbitmq", "rabbitmq.conf.j2", **written))
    return []


@pytest.mark.parametrize(
    ("variable", "change"),
    [
        ("rabbitmq_memory", {"rabbitmq_memory": "1GB"}),
        ("rabbitmq_disk_free", {"rabbitmq_disk_free": "2GB"}),
        ("celery_visibility_timeout", {"rabbitmq_consumer_timeout": 7200}),
        ("rabbitmq_settings", {"rabbitmq_settings": {"heartbeat": 30, "x": "y\\", "z": True}}),
    ],
)
def test_what_several_share_is_changed_by_one_and_then_by_the_others(
    tmp_path: Path, variable: str, change: dict[str, Any]
) -> None:
    """Neither is held by the other, and nobody takes a change back that another has made."""
    assert run_of(tmp_path, "shop") == []
    assert set(run_of(tmp_path, "blog", **change)) == {variable}, "it comes to what is there"
    assert run_of(tmp_path, "blog") == []
    assert run_of(tmp_path, "shop", **change) == []
    assert run_of(tmp_path, "shop", **change) == [], "again, before the other has followed"
    assert set(run_of(tmp_path, "blog")) == {variable}
    assert run_of(tmp_path, "blog", **change) == []
    assert run_of(tmp_path, "shop", **change) == []
    assert run_of(tmp_path, "blog") == [], "and back"
    assert set(run_of(tmp_path, "shop", **change)) == {variable}


def test_no_application_shuts_an_address_that_another_is_reached_at(tmp_path: Path) -> None:
    """One more is opened by any; it is shut when the other's wish for it is gone."""
    both = {"rabbitmq_bind_addresses": ["127.0.0.1", "10.0.0.5"]}
    third = {"rabbitmq_bind_addresses": ["127.0.0.1", "10.0.0.7", "10.0.0.5"]}
    assert run_of(tmp_path, "shop") == run_of(tmp_path, "blog") == run_of(tmp_path, "shop", **both) == []
    assert run_of(tmp_path, "blog") == ["rabbitmq_bind_addresses"]
    assert run_of(tmp_path, "blog", **both) == []
    assert run_of(tmp_path, "shop") == ["rabbitmq_bind_addresses"]
    want = neighbours.wanted("shop", "web-1", {"rabbitmq": RABBITMQ}, FACTS)
    (told,) = neighbours.problems(want, look(tmp_path))
    assert "listen on 10.0.0.5:5672 no more, which blog" in told
    assert run_of(tmp_path, "shop", **third) == [], "in another place of the list"
    mark = tmp_path / DROP_INS / "blog.conf"
    mark.write_text("".join(line for line in mark.read_text().splitlines(keepends=True) if "10.0.0.5" not in line))
    assert run_of(tmp_path, "shop") == []
    assert run_of(tmp_path, "blog", **both) == [], "it asks for it again"


def test_what_no_run_has_asked_for_is_written_over(tmp_path: Path) -> None:
    """Somebody changed it by hand."""
    assert (run_of(tmp_path, "shop"), run_of(tmp_path, "blog")) == ([], [])
    path = tmp_path / "etc/rabbitmq/rabbitmq.conf"
    path.write_text(path.read_text().replace("512000000", "700000000") + "channel_max = 5\n")
    assert run_of(tmp_path, "blog") == []


def test_an_application_of_which_no_wish_is_known_is_taken_to_want_what_is_there(tmp_path: Path) -> None:
    """A run from before marks had it."""
    other = {"rabbitmq_memory": "1GB"}
    assert run_of(tmp_path, "shop", is_recorded=False) == run_of(tmp_path, "blog", is_recorded=False) == []
    assert run_of(tmp_path, "shop", **other) == ["rabbitmq_memory"]
    assert run_of(tmp_path, "shop") == run_of(tmp_path, "shop", **other) == []


def test_a_certificate_that_no_other_can_show_is_refused(tmp_path: Path) -> None:
    assert (run_of(tmp_path, "shop"), run_of(tmp_path, "blog")) == ([], [])
    tls = {"rabbitmq_tls": True, "rabbitmq_clear_text": False}
    assert "service_tls" in run_of(tmp_path, "shop", **tls)


def test_what_was_taken_away_holds_nobody_but_several_servers(tmp_path: Path) -> None:
    """Its queues are in the one that is there."""
    assert (run_of(tmp_path, "shop"), run_of(tmp_path, "blog")) == ([], [])
    put(tmp_path, f"{DROP_INS}/shop.conf", render("rabbitmq", "kept.conf.j2", **of_rabbitmq("shop")))
    assert run_of(tmp_path, "wiki", rabbitmq_memory="1GB") == ["rabbitmq_memory"]
    assert run_of(tmp_path, "blog", rabbitmq_memory="1GB") == []
    assert run_of(tmp_path, "blog", rabbitmq_memory="2GB") == []
    assert run_of(tmp_path, "shop") == ["rabbitmq_memory"], "it comes back to what is there"
    cluster = {key: CLUSTER[key] for key in ("rabbitmq_members", "rabbitmq_member")}
    assert run_of(tmp_path, "blog", **cluster) == [
        "The group rabbitmq holds several servers, but web-1 is one that shop shares, or has queued tasks in"
    ]


def test_an_address_that_rabbitmq_writes_in_brackets_is_the_same(tmp_path: Path) -> None:
    given = {"rabbitmq_bind_addresses": ["127.0.0.1", "fd00::5"], "rabbitmq_tls": True}
    given["rabbitmq_certificate"] = RABBITMQ["rabbitmq_certificate"]
    written = of_rabbitmq("shop", **given)
    put(tmp_path, f"{DROP_INS}/shop.conf", render("rabbitmq", "mark.conf.j2", **written))
    put(tmp_path, "etc/rabbitmq/rabbitmq.conf", render("rabbitmq", "rabbitmq.conf.j2", **written))
    want = neighbours.wanted("blog", "web-1", {"rabbitmq": RABBITMQ | given}, FACTS)
    assert neighbours.problems(want, look(tmp_path)) == []


MEMBERS = {"rabbitmq_members": [{"name": f"web-{n}", "address": f"10.0.0.{n}"} for n in (1, 2, 3)]}
CLUSTER = RABBITMQ | MEMBERS | {"rabbitmq_member": "web-1"}


@pytest.mark.parametrize(
    ("data", "given", "said"),
    [
        ([], RABBITMQ, ""),
        ([], CLUSTER, ""),
        (["rabbit@localhost"], RABBITMQ, ""),
        (["rabbit@localhost", "rabbit@web-1"], CLUSTER, ""),
        (
            ["rabbit@localhost"],
            CLUSTER,
            "is to be rabbit@web-1, one of several, but what is queued there was kept as rabbit@localhost",
        ),
        (["rabbit@web-1"], RABBITMQ, "is to stand alone but what is queued there was kept as rabbit@web-1"),
        (
            ["rabbit@data-1"],
            CLUSTER,
            "is to be rabbit@web-1, one of several, but what is queued there was kept as rabbit@data-1",
        ),
    ],
)
@pytest.mark.parametrize("template", ["mark.conf.j2", "kept.conf.j2"])
def test_what_is_queued_is_not_left_behind_by_another_name(
    tmp_path: Path, data: list[str], given: dict[str, Any], said: str, template: str
) -> None:
    mark = render("rabbitmq", template, **of_rabbitmq("blog"))
    put(tmp_path, f"{DROP_INS}/blog.conf", mark)
    put(tmp_path, "etc/rabbitmq/rabbitmq.conf", "consumer_timeout = 43200000\n")
    for name in data:
        put(tmp_path, f"var/lib/rabbitmq/mnesia/{name}/schema.DAT", "")
    told = neighbours.problems(neighbours.wanted("blog", "web-1", {"rabbitmq": given}, FACTS), look(tmp_path))
    assert len(told) == bool(said)
    assert all(said in sentence and sentence.startswith("The group rabbitmq") for sentence in told)


ABSENT = ROOT / "roles/rabbitmq/tasks/absent.yml"
# Tasks of it, by their first words.
START, TAKE_OUT, STOP, MARK, REMOVE = "Have it run", "Remove its users", "Stop it", "Mark that", "Remove its data"


def taken_away(seen: dict[str, Any], *, data: bool) -> tuple[list[str], list[str]]:
    """Which tasks run where shop is taken out of RabbitMQ, by their first words, and the files that go."""
    loader = DataLoader()
    tasks = loader.load_from_file(str(ABSENT), trusted_as_template=True)
    given = {"rabbitmq_application": "shop", "app_state_remove_data": data, "__rabbitmq_neighbours": seen}
    given |= loader.load_from_file(str(ROOT / "roles/rabbitmq/vars/main.yml"), trusted_as_template=True)
    templar = Templar(loader=loader, variables={**given, **tasks[1]["vars"]})
    if not templar.evaluate_conditional(tasks[1]["when"]):
        return [], []
    run = [task for task in tasks[1]["block"] if templar.evaluate_conditional(task["when"])]
    files = [Path(path).name for task in run if "loop" in task for path in templar.template(task["loop"])]
    words = (START, TAKE_OUT, STOP, MARK, REMOVE)
    return [word for task in run for word in words if task["name"].startswith(word)], files


@pytest.mark.parametrize(
    ("used", "kept", "data", "run", "files"),
    [
        # Alone; what is kept is removed later, and nothing is done twice.
        (["shop"], [], False, [STOP, MARK], []),
        (["shop"], [], True, [STOP, REMOVE], ["mnesia", "shop.conf", "shop.conf"]),
        ([], ["shop"], False, [], []),
        ([], ["shop"], True, [STOP, REMOVE], ["mnesia", "shop.conf", "shop.conf"]),
        ([], [], True, [], []),
        (["blog"], [], True, [], []),
        # Beside one that uses it.
        (["blog", "shop"], [], False, [START, TAKE_OUT, MARK], []),
        (["blog", "shop"], [], True, [START, TAKE_OUT, REMOVE], ["shop.conf", "shop.conf"]),
        (["blog"], ["shop"], True, [START, TAKE_OUT, REMOVE], ["shop.conf", "shop.conf"]),
        # Beside one that was taken away, whose queues stay.
        (["shop"], ["blog"], False, [START, TAKE_OUT, STOP, MARK], []),
        (["shop"], ["blog"], True, [START, TAKE_OUT, STOP, REMOVE], ["shop.conf", "shop.conf"]),
        ([], ["blog", "shop"], True, [START, TAKE_OUT, STOP, REMOVE], ["shop.conf", "shop.conf"]),
    ],
)
def test_rabbitmq_stops_with_the_last_that_uses_it_and_keeps_what_is_others(
    tmp_path: Path, used: list[str], kept: list[str], data: bool, run: list[str], files: list[str]
) -> None:
    """By the marks that the role writes; the application's own goes last."""
    for names, template in ((used, "mark.conf.j2"), (kept, "kept.conf.j2")):
        for name in names:
            mark = render("rabbitmq", template, **of_rabbitmq(name))
            put(tmp_path, f"{DROP_INS}/{name}.conf", mark)
    seen = look(tmp_path)
    assert (seen["rabbitmq_used"], seen["rabbitmq_kept"]) == (used, kept)
    assert set(seen["applications"]) == set(used)
    assert taken_away(seen, data=data) == (run, files)


def test_several_servers_of_rabbitmq_are_one_application_s(tmp_path: Path) -> None:
    mark = render("rabbitmq", "mark.conf.j2", **of_rabbitmq("shop"))
    put(tmp_path, f"{DROP_INS}/shop.conf", mark)
    put(tmp_path, "etc/rabbitmq/rabbitmq.conf", "consumer_timeout = 43200000\n")
    (told,) = neighbours.problems(neighbours.wanted("blog", "web-1", {"rabbitmq": CLUSTER}, FACTS), look(tmp_path))
    assert told.startswith("The group rabbitmq holds several servers, but web-1 is one that shop")


def wants(**changes: Any) -> neighbours.Wanted:
    """A second application that takes nothing of the first's."""
    arguments = {
        "application": "blog",
        "socket": "10.0.0.5:8001",
        "process": "web",
        "instance": "blog",
        "redis_port": 6380,
        "redis_tls": False,
        "redis_tls_port": 16379,
        "redis_sentinel_port": 26379,
        "redis_sentinel_tls_port": 36379,
        "redis_primary_name": "primary",
        "redis_internal_password": "secret",
        "cluster": "blog",
        "postgresql_port": 5433,
        "flower_port": 5556,
        "names": ["blog.test"],
        "https_port": 443,
        "redis_members": [],
        "redis_member_address": "",
    } | changes
    right = {
        "process_manager": {
            "process_manager_definitions": [{"name": arguments["process"], "socket": arguments["socket"]}],
        },
        "redis": {
            "redis_instance": arguments["instance"],
            **{name: value for name, value in arguments.items() if name.startswith("redis_")},
        },
        **({memory.CACHE: arguments["cache"]} if "cache" in arguments else {}),
        "postgresql": {"postgresql_cluster": arguments["cluster"], "postgresql_port": arguments["postgresql_port"]},
        "flower": {"flower_port": arguments["flower_port"]},
        "nginx": {
            "nginx_server_names": arguments["names"],
            "nginx_http_port": 80,
            "nginx_https_port": arguments["https_port"],
        },
    }
    return neighbours.wanted(arguments["application"], "web-1", right, FACTS)


def test_an_application_and_what_it_has_are_seen(seen: dict[str, Any]) -> None:
    """In the very files that the roles write; no secret among it."""
    assert seen == {
        "applications": {
            "shop": {
                "units": ["shop-flower.service", "shop-web.service", "shop-web.socket"],
                "services": ["postgresql@17-main", "redis-server"],
                "ports": {
                    "flower_port": 5555,
                    "web_port": 8000,
                    "postgresql_port": 5432,
                    "redis_port": 6379,
                    "redis_tls_port": 16379,
                },
                "names": ["shop.test", "www.shop.test"],
                "memory": {
                    "shop-flower.service": "192M",
                    "shop-web.service": "512M",
                    "postgresql@17-main": "64MB",
                    "redis-server": str(100 * 1024**2),
                },
                "redis": {"redis-server": ["default", "admin", "cache", "celery", "reload"]},
                "redis_remains": [],
                "rabbitmq": {},
                "rabbitmq_given": {},
            }
        },
        "site_in_nginx_conf": "",
        "nginx_ports": [80, 443],
        **NO_RABBITMQ,
    }


def test_a_bare_host_has_nobody(tmp_path: Path) -> None:
    host = Host(str(tmp_path))
    host.look()
    assert (host.applications, host.nginx()) == ({}, ("", []))


def test_whose_certificates_a_host_renews_is_seen(tmp_path: Path) -> None:
    assert Host(str(tmp_path)).certificates() == []
    put(tmp_path, "etc/systemd/system/my-shop-certificates.timer", "[Timer]\n")
    assert Host(str(tmp_path)).certificates() == ["my-shop"]


def test_an_application_that_takes_nothing_of_another_s_is_right(seen: dict[str, Any]) -> None:
    assert neighbours.problems(wants(), seen) == []


def test_an_application_is_not_its_own_neighbour(seen: dict[str, Any]) -> None:
    """Its next run finds what the last one left."""
    same = wants(
        application="shop",
        instance="",
        cluster="main",
        redis_port=6379,
        postgresql_port=5432,
        flower_port=5555,
        names=["shop.test"],
        socket="10.0.0.5:8000",
    )
    assert neighbours.problems(same, seen) == []
    assert neighbours.shares("shop", seen, 4000) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"instance": "", "redis_port": 6379},
            ["redis_instance: redis-server on web-1 is the Redis of shop", "redis_instance: blog, redis_port: 6380"],
        ),
        (
            {"application": "my-blog", "cluster": "main", "postgresql_port": 5432},
            ["postgresql_cluster: postgresql@17-main on web-1", "postgresql_cluster: my_blog, postgresql_port: 5433"],
        ),
        ({"redis_port": 6379}, ["redis_port is 6379, which shop", "such as 6380"]),
        ({"redis_tls": True}, ["redis_tls_port is 16379, which shop", "such as 16380"]),
        ({"postgresql_port": 6379}, ["postgresql_port is 6379, which shop", "(redis_port)"]),
        ({"flower_port": 5555}, ["flower_port is 5555, which shop", "such as 5556"]),
        ({"socket": "10.0.0.5:8000"}, ["web_port is 8000, which shop", "such as 8001"]),
        ({"names": ["blog.test", "www.shop.test"]}, ["site_names holds www.shop.test, which shop"]),
        ({"https_port": 8443}, ["nginx_https_port and nginx_http_port are 8443 and 80", "listens on 80 and 443"]),
        (
            {"application": "shop", "names": ["blog.test"]},
            ["app_name is shop, but shop on web-1 answers to shop.test, www.shop.test", "choose another app_name"],
        ),
        (
            {"application": "shop-flower"},
            ["app_name is shop-flower, but shop-flower on web-1 is a system user of shop"],
        ),
        ({"application": "shop-media"}, ["app_name is shop-media", "system user of shop"]),
    ],
)
def test_what_another_has_is_refused_by_name(seen: dict[str, Any], changes: dict[str, Any], words: list[str]) -> None:
    """One sentence a clash, the variable first, with what to set."""
    [problem] = neighbours.problems(wants(**changes), seen)
    assert problem.startswith(words[0].split()[0])
    for word in words:
        assert word in problem


def test_two_names_that_make_the_same_unit_are_refused(seen: dict[str, Any]) -> None:
    """A dash stands between the application's name and the process's."""
    seen["applications"]["shop"]["units"].append("shop-extra-web.service")
    [problem] = neighbours.problems(wants(application="shop-extra"), seen)
    assert problem.startswith("app_name is shop-extra, but shop-extra-web.service on web-1 is a unit of shop")


def test_a_site_that_nginx_has_alone_is_not_overwritten(tmp_path: Path) -> None:
    """An installation from before nginx served several is brought up to date first."""
    alone = "# Managed by Ansible (role nginx): changes here are overwritten.\nhttp {\n    upstream shop {\n    }\n}\n"
    put(tmp_path, "etc/nginx/nginx.conf", alone)
    found, ports = Host(str(tmp_path)).nginx()
    seen = {"applications": {}, "site_in_nginx_conf": found, "nginx_ports": ports, **NO_RABBITMQ}
    [problem] = neighbours.problems(wants(), seen)
    assert "run site.yml for shop first" in problem
    assert neighbours.problems(wants(application="shop"), seen) == []


def test_an_application_that_was_taken_away_keeps_its_ports_and_takes_no_memory(
    seen: dict[str, Any], tmp_path: Path
) -> None:
    """Its Redis and PostgreSQL wait for it, stopped."""
    put(tmp_path, "etc/postgresql/17/main/start.conf", "manual\n")
    (tmp_path / "etc/systemd/system/multi-user.target.wants/redis-server.service").unlink()
    for unit in (tmp_path / "etc/systemd/system").glob("shop-*"):
        unit.unlink()
    waiting = look(tmp_path)
    assert waiting["applications"]["shop"]["ports"] == {
        "redis_port": 6379,
        "redis_tls_port": 16379,
        "postgresql_port": 5432,
    }
    assert waiting["applications"]["shop"]["services"] == seen["applications"]["shop"]["services"]
    assert neighbours.shares("blog", waiting, 4000) == []


CACHE = {"redis_instance": "shop-cache", "redis_port": 6381, "redis_tls": False}
# The first application itself, with one Redis.
SHOP = {"application": "shop", "instance": "", "redis_port": 6379, "cluster": "main", "names": ["shop.test"]}


def of_shop(redis: dict[str, list[str]], ports: dict[str, int] | None = None) -> dict[str, Any]:
    """A host on which shop has these Redis, each with its users."""
    known = {"units": [], "services": list(redis), "ports": ports or {}, "names": [], "memory": {}, "redis": redis}
    return {"applications": {"shop": known}, "site_in_nginx_conf": "", "nginx_ports": [], **NO_RABBITMQ}


@pytest.mark.parametrize(
    ("redis", "cache", "moves", "left"),
    [
        ({}, True, False, []),
        ({"redis-server": ["cache", "celery"]}, False, False, []),
        # The cache goes to a Redis of its own; so it does in the run after one that was cut off.
        ({"redis-server": ["cache", "celery"]}, True, True, []),
        ({"redis-server": ["cache", "celery"], "redis-server@shop-cache": ["cache"]}, True, True, []),
        ({"redis-server": ["celery"], "redis-server@shop-cache": ["cache"]}, True, False, []),
        # And back, or to one of another name.
        ({"redis-server": ["celery"], "redis-server@shop-cache": ["cache"]}, False, False, ["shop-cache"]),
        ({"redis-server": ["celery"], "redis-server@old": ["cache"]}, True, False, ["old"]),
        # What has no users that can be read is no cache.
        ({"redis-server": ["celery"], "redis-server@old": []}, False, False, []),
    ],
)
def test_what_a_cache_leaves_when_it_moves_is_known(
    redis: dict[str, list[str]], cache: bool, moves: bool, left: list[str]
) -> None:
    want = wants(**SHOP, **({"cache": CACHE} if cache else {}))
    found = of_shop(redis)
    assert neighbours.cache_moves(want, found) is moves
    assert neighbours.left(want, found) == left
    assert neighbours.problems(want, found) == []


def test_what_a_run_left_that_was_cut_off_while_it_removed_a_cache_is_removed_by_the_next(tmp_path: Path) -> None:
    """File by file: only with its mark, the last one, is it forgotten."""
    given = {"ansible_facts": FACTS, "redis_application": "shop", "redis_instance": "shop-cache", **REDIS}
    given |= {"redis_port": 6381, "redis_users": ["cache"]}
    mark = "etc/systemd/system/redis-server@shop-cache.service.d/application.conf"
    put(tmp_path, mark, render("redis", "application.conf.j2", **given))
    put(tmp_path, "etc/redis/redis-shop-cache.conf", render("redis", "redis.conf.j2", **given))
    put(tmp_path, "etc/redis/users-shop-cache.acl", render("redis", "users.acl.j2", **given))
    for path in ("etc/redis/redis-shop-cache.conf", "etc/redis/users-shop-cache.acl", mark):
        assert neighbours.left(wants(**SHOP), look(tmp_path)) == ["shop-cache"]
        (tmp_path / path).unlink()
    assert neighbours.left(wants(**SHOP), look(tmp_path)) == []


def test_queued_tasks_are_not_left_behind() -> None:
    """Another Redis for the broker would have none of them."""
    found = of_shop({"redis-server": ["cache", "celery"]})
    [sentence] = neighbours.problems(wants(**{**SHOP, "instance": "new", "redis_port": 6390}), found)
    for words in (
        "redis_instance means redis-server@new",
        "queued tasks of shop on web-1 are in redis-server",
        "redis_instance: ''",
    ):
        assert words in sentence


def test_a_cache_s_redis_and_port_are_one_application_s() -> None:
    """By the operator's variable, with what to set."""
    found = of_shop({"redis-server@shop-cache": ["cache"]}, {"redis_port": 6381})
    [sentence] = neighbours.problems(wants(cache=CACHE), found)
    assert "redis_cache_instance: redis-server@shop-cache on web-1 is a Redis of shop" in sentence
    assert "redis_cache_instance: {name: blog-cache, port: 6382}" in sentence
    [sentence] = neighbours.problems(wants(cache={**CACHE, "redis_instance": "blog-cache"}), found)
    assert sentence.startswith("redis_cache_instance: port is 6381, which shop")


def test_both_of_an_application_s_redis_are_seen(tmp_path: Path) -> None:
    """With the port of each."""
    for name, port in (("", 6379), ("shop-cache", 6381)):
        given = {
            "ansible_facts": FACTS,
            "redis_application": "shop",
            "redis_instance": name,
            "redis_port": port,
            **REDIS,
        }
        drop_ins = f"etc/systemd/system/redis-server{'@' if name else ''}{name}.service.d"
        put(tmp_path, f"{drop_ins}/application.conf", render("redis", "application.conf.j2", **given))
        put(tmp_path, f"etc/redis/redis{'-' if name else ''}{name}.conf", render("redis", "redis.conf.j2", **given))
    shop = look(tmp_path)["applications"]["shop"]
    assert shop["services"] == ["redis-server", "redis-server@shop-cache"]
    assert set(shop["ports"].values()) == {6379, 6381}


def test_what_others_may_take_of_the_memory_is_counted(seen: dict[str, Any]) -> None:
    """Units as they say, Redis and PostgreSQL with half as much again."""
    assert neighbours.shares("blog", seen, 4000) == [neighbours.Share("the application shop", 512 + 192 + 150 + 96, "")]


def test_programs_of_supervisors_count_as_the_units_of_their_names(tmp_path: Path) -> None:
    """Those that all applications share are nobody's."""
    role = Path(__file__).resolve().parent.parent / "roles/process_manager"
    definition = {"phase": "web", "command": ["/bin/true"], "user": "shop", "directory": "/srv", "memory_max": "20%"}
    for service in process_services([{**definition, "name": "flower"}], "shop", str(role), "supervisor"):
        for file in service["files"]:
            put(tmp_path, file["path"].lstrip("/"), file.get("content", ""))
    put(tmp_path, "etc/shop/flower.environment", 'FLOWER_PORT="5555"\n')
    known = look(tmp_path)["applications"]
    assert known.keys() == {"shop"}
    assert (known["shop"]["units"], known["shop"]["ports"]) == (["shop-flower.service"], {"flower_port": 5555})
    assert known["shop"]["memory"] == {"shop-flower.service": "20%"}


MEMBERS = [{"name": f"redis-{number}", "address": f"10.0.0.{number}"} for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("was_member", "members", "own", "said"),
    [
        (
            False,
            MEMBERS,
            "10.0.0.2",
            "The group redis begins with redis-1, but web-1 is where this application's Redis has its data",
        ),
        (True, [], "", "The group redis holds web-1 alone, but its Redis is one of several"),
        (False, MEMBERS, "10.0.0.1", ""),
        (True, MEMBERS, "10.0.0.2", ""),
        (False, [], "", ""),
    ],
)
def test_one_redis_becomes_several_where_its_data_comes_first(
    seen: dict[str, Any], tmp_path: Path, was_member: bool, members: list[dict[str, str]], own: str, said: str
) -> None:
    """And several become one by hand: the other way data would be lost."""
    if was_member:
        path = tmp_path / "etc/redis/redis.conf"
        path.write_text(path.read_text() + "include /etc/redis/failover.conf\n")
        seen = look(tmp_path)
    want = wants(application="shop", instance="", names=["shop.test"], redis_members=members, redis_member_address=own)
    told = [problem for problem in neighbours.problems(want, seen) if "group redis" in problem]
    assert [problem[: len(said)] for problem in told] == ([said] if said else [])


@pytest.mark.parametrize(
    ("started", "tls", "goes_over"),
    [
        ("", True, True),
        ("", False, False),
        ("tls-replication yes\n", True, False),
        ("tls-replication yes\n", False, True),
    ],
)
def test_one_of_several_that_goes_over_to_tls_or_back_is_known_by_how_it_was_started(
    seen: dict[str, Any], tmp_path: Path, started: str, tls: bool, goes_over: bool
) -> None:
    """Not by what a run that was cut off has written since."""
    members = [{"name": "web-1", "address": "10.0.0.5"}]
    want = wants(application="shop", instance="", redis_tls=tls, redis_members=members, redis_member_address="10.0.0.5")
    assert not neighbours.members_go_over(want, seen)
    path = tmp_path / "etc/redis/redis.conf"
    path.write_text(path.read_text() + "include /etc/redis/failover.conf\n")
    put(tmp_path, "var/lib/redis/failover/replication.conf", f"# Written by redis-failover.\n{started}")
    assert neighbours.members_go_over(want, look(tmp_path)) is goes_over


AGREED = {"redis_port": 6379, "redis_members": [{"name": "web-1", "address": "10.0.0.5"}]}


@pytest.mark.parametrize(
    ("changes", "goes_over"),
    [
        ({}, set()),
        ({"redis_tls_port": 6666, "redis_sentinel_tls_port": 7777}, set()),
        ({"redis_primary_name": "first"}, {"sentinel"}),
        ({"redis_port": 6380}, {"sentinel", "redis"}),
        ({"redis_sentinel_port": 26380}, {"sentinel"}),
        ({"redis_internal_password": "another"}, {"sentinel", "redis"}),
        ({"redis_tls": True}, {"sentinel", "redis"}),
        ({"redis_members": []}, set()),
    ],
)
def test_one_of_several_that_is_to_have_what_all_have_to_have_alike_is_known_by_how_it_was_started(
    seen: dict[str, Any], tmp_path: Path, changes: dict[str, Any], goes_over: set[str]
) -> None:
    """Each of Redis and Sentinel, should a run have been cut off before it restarted the other one. Other ports of TLS are nothing to
    those that do not speak it; what restarts only the Sentinels is settled when they are."""
    path = tmp_path / "etc/redis/redis.conf"
    path.write_text(path.read_text() + "include /etc/redis/failover.conf\n")
    started = wants(application="shop", instance="", **AGREED).redis_agreement
    want = wants(application="shop", instance="", **AGREED | changes)
    files = {"redis": "replication.conf", "sentinel": "sentinel.conf"}
    for who, name in files.items():
        put(tmp_path, f"var/lib/redis/failover/{name}", f"# Written by redis-failover.\n# agreement {started[who]}\n")
        known = look(tmp_path)
        known["applications"]["shop"]["redis_members_speak_tls"] = want.redis_tls
        assert neighbours.members_go_over(want, known) is (who in goes_over)
        (tmp_path / "var/lib/redis/failover" / name).unlink()
