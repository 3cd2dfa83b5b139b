"""What one application of a host has, another is refused, by the name of the variable and with what to set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.modules.neighbours import Host
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules import neighbours
from ansible_collections.stockpot.stack.plugins.plugin_utils.units import process_services
from rendering import render

REDIS = {f"redis_{user}_password": "secret" for user in ("admin", "cache", "celery")}
FACTS = {"distribution_major_version": "13", "memtotal_mb": 4000}


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
    return {"applications": host.applications, "site_in_nginx_conf": alone, "nginx_ports": ports}


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
    redis = {**facts, "redis_application": "shop", "redis_maxmemory": "100mb", **REDIS}
    put(tmp_path, f"{units}/redis-server.service.d/application.conf", render("redis", "application.conf.j2", **redis))
    put(tmp_path, "etc/redis/redis.conf", render("redis", "redis.conf.j2", **redis))
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


def wants(**changes: Any) -> neighbours.Wanted:
    """A second application that takes nothing of the first's."""
    arguments = {
        "application": "blog",
        "socket": "10.0.0.5:8001",
        "process": "web",
        "instance": "blog",
        "redis_port": 6380,
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
            "redis_port": arguments["redis_port"],
            **{name: arguments[name] for name in ("redis_members", "redis_member_address")},
        },
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
                "ports": {"flower_port": 5555, "web_port": 8000, "postgresql_port": 5432, "redis_port": 6379},
                "names": ["shop.test", "www.shop.test"],
                "memory": {
                    "shop-flower.service": "192M",
                    "shop-web.service": "512M",
                    "postgresql@17-main": "64MB",
                    "redis-server": str(100 * 1024**2),
                },
            }
        },
        "site_in_nginx_conf": "",
        "nginx_ports": [80, 443],
    }


def test_a_bare_host_has_nobody(tmp_path: Path) -> None:
    host = Host(str(tmp_path))
    host.look()
    assert (host.applications, host.nginx()) == ({}, ("", []))


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
    seen = {"applications": {}, "site_in_nginx_conf": found, "nginx_ports": ports}
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
    assert waiting["applications"]["shop"]["ports"] == {"redis_port": 6379, "postgresql_port": 5432}
    assert waiting["applications"]["shop"]["services"] == seen["applications"]["shop"]["services"]
    assert neighbours.shares("blog", waiting, 4000) == []


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
