"""What Redis, PostgreSQL, the application and Flower are told, by what their roles are given. nginx and units have pages of their own."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.modules.redis_live import differences
from rendering import ROOT, render

PASSWORDS = {f"redis_{user}_password": f"the password of {user}" for user in ("admin", "cache", "celery")}
HOST = {"memtotal_mb": 4096, "distribution_major_version": "13", "python": {"version": {"major": 3, "minor": 13}}}
GIVEN: dict[str, dict[str, Any]] = {
    "redis": {**PASSWORDS},
    "postgresql": {"postgresql_database": "shop", "postgresql_user": "shop", "postgresql_password": "correct horse"},
    "django_app": {
        "django_app_name": "shop",
        "django_app_environment": {"SECRET_KEY": "correct horse"},
        "django_app_settings_module": "config.settings",
    },
    "firewall": {"firewall_application": "shop"},
    "flower": {
        "flower_application": "shop",
        "flower_broker_url": "redis://celery:secret@127.0.0.1:6379/1",
        "flower_basic_auth_password": "correct horse",
    },
}
EVERYTHING: dict[str, dict[str, Any]] = {
    "firewall": {
        "firewall_services": [{"name": "Redis", "ports": [6379], "addresses": ["10.0.0.5", "fd00::5"]}],
        "firewall_extra_services": [{"name": "VPN", "ports": [51820], "addresses": ["0.0.0.0/0"], "protocol": "udp"}],
    },
    "redis": {
        "redis_bind_addresses": ["127.0.0.1", "10.0.0.2"],
        "redis_celery_fanout_exchanges": ["broadcast"],
        "redis_extra_users": [
            {"name": "reports", "password": "p", "keys": ["report:*"], "channels": ["r"], "commands": ["+get"]},
            {"name": "nothing", "password": "p"},
        ],
        "redis_settings": {
            "slowlog-max-len": 64,
            "lazyfree-lazy-expire": True,
            "rename-command": ["A B", "C D"],
            "x": "",
        },
    },
    "postgresql": {
        "postgresql_client_addresses": ["10.0.0.5", "10.1.0.0/16", "fd00::5"],
        "postgresql_settings": {"work_mem": "16MB", "jit": False, "log_line_prefix": "it's %m "},
    },
    "django_app": {
        "django_app_media_root": "/srv/shop/media",
        "django_app_environment": {"QUOTES": "a'b\"c\\d`e$f", "LINES": "a\n\n b\n", "EMPTY": "", "NUMBER": 1},
    },
    "flower": {"flower_persistent": False, "flower_read_only": False, "flower_basic_auth_password": "a\"b$c\\d`e'f"},
}


def written(role: str, template: str, **given: Any) -> str:
    """A template's text for what a role needs at least, with what else is given."""
    return render(role, template, **{"ansible_facts": HOST, **GIVEN[role], **given})


@pytest.mark.parametrize("everything", [False, True], ids=["little", "everything"])
@pytest.mark.parametrize(
    ("role", "template"),
    [(path.parts[-3], path.name) for path in sorted(ROOT.glob("roles/*/templates/*.j2")) if path.parts[-3] in GIVEN],
)
def test_every_template_is_whole(role: str, template: str, everything: bool) -> None:
    """Nothing is undefined, nothing is left unrendered, and the file says whose it is, where it may."""
    text = written(role, template, **(EVERYTHING[role] if everything else {}))
    assert text.endswith("\n")
    assert "{{" not in text
    assert "{%" not in text
    if template != "users.acl.j2":
        assert "Managed by Ansible" in "".join(text.splitlines()[:2])


def test_every_role_with_templates_has_a_test() -> None:
    assert {path.parts[-2] for path in ROOT.glob("roles/*/templates")} == {*GIVEN, "nginx", "process_manager"}


# Redis


def test_redis_is_safe_for_a_broker() -> None:
    lines = written("redis", "redis.conf.j2").splitlines()
    assert {"maxmemory-policy noeviction", "timeout 0", "appendonly yes", "protected-mode yes"} <= set(lines)
    assert f"maxmemory {1024**3}" in lines


def test_an_instance_of_redis_has_files_of_its_own() -> None:
    """Nothing that it writes is Debian's own Redis's, nor the other way round."""
    name = {"redis_instance": "blog", "redis_application": "blog", "redis_port": 6380}
    main, instance = (set(written("redis", "redis.conf.j2", **given).splitlines()) for given in ({}, name))
    assert {line for line in instance - main if not line.startswith("#")} == {
        "port 6380",
        "aclfile /etc/redis/users-blog.acl",
        "unixsocket /run/redis-blog/redis-server.sock",
        "dir /var/lib/redis/blog",
        "pidfile /run/redis-blog/redis-server.pid",
        "logfile /var/log/redis/redis-server-blog.log",
    }
    assert "d /var/lib/redis/blog 0750 redis redis" in written("redis", "tmpfiles.conf.j2", **name).splitlines()
    assert "X-Application=blog" in written("redis", "application.conf.j2", **name).splitlines()


def test_redis_settings_are_written_as_redis_spells_them() -> None:
    lines = written("redis", "redis.conf.j2", **EVERYTHING["redis"]).splitlines()
    wanted = {"slowlog-max-len 64", "lazyfree-lazy-expire yes", "rename-command A B", "rename-command C D", 'x ""'}
    assert wanted <= set(lines)
    assert "bind 127.0.0.1 10.0.0.2" in lines


def test_users_have_hashes_and_no_more_than_their_own() -> None:
    text = written("redis", "users.acl.j2", **EVERYTHING["redis"])
    users = {line.split()[1]: line.split()[2:] for line in text.splitlines()}
    assert list(users) == ["default", "admin", "cache", "celery", "reports", "nothing"]
    assert all(line.startswith("user ") for line in text.splitlines())
    assert users["default"][0] == "off"
    for name in ("cache", "celery"):
        assert users[name][:3] == [
            "on",
            "#" + hashlib.sha256(f"the password of {name}".encode()).hexdigest(),
            "resetchannels",
        ]
        assert "-@all" in users[name]
        assert "+@all" not in users[name]
    assert "~cache:*" in users["cache"]
    assert {"&celery:/1.broadcast", "&celery:/1.broadcast/*", "&celery:/2.celery.pidbox"} <= set(users["celery"])
    assert users["reports"][3:] == ["~report:*", "&r", "-@all", "+get"]
    assert users["nothing"][3:] == ["-@all"]
    assert not [password for password in PASSWORDS.values() if password in text]


@pytest.mark.parametrize(
    ("live", "flags", "said"),
    [
        ({"port": "6379", "timeout": "0"}, ["off"], []),
        ({"port": "6379", "timeout": "300"}, ["off"], ["timeout is 300, not 0"]),
        ({"timeout": "0"}, ["on"], ["port is None, not 6379", "the user default is not off"]),
    ],
)
def test_what_the_live_redis_has_otherwise_is_named(live: dict[str, str], flags: list[str], said: list[str]) -> None:
    assert differences(live, {"port": 6379, "timeout": "0"}, ["flags", flags, "passwords", []]) == said


# PostgreSQL


def test_postgresql_settings_are_quoted_and_win() -> None:
    settings = {"max_connections": 50, **EVERYTHING["postgresql"]["postgresql_settings"], "random_page_cost": 4}
    lines = written("postgresql", "managed.conf.j2", postgresql_settings=settings).splitlines()
    assert {"work_mem = '16MB'", "jit = 'off'", "log_line_prefix = 'it''s %m '", "random_page_cost = '4'"} <= set(lines)
    assert {"shared_buffers = '1024MB'", "effective_cache_size = '2048MB'", "maintenance_work_mem = '128MB'"} <= set(
        lines
    )


def test_postgresql_admits_who_is_named_with_a_password_and_nobody_else() -> None:
    text = written("postgresql", "pg_hba.conf.j2", **EVERYTHING["postgresql"])
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    assert lines[0] == ["local", "all", "postgres", "peer"]
    addresses = ["127.0.0.1/32", "::1/128", "10.0.0.5/32", "10.1.0.0/16", "fd00::5/128"]
    assert lines[1:] == [["host", '"shop"', '"shop"', address, "scram-sha-256"] for address in addresses]


# The application and Flower


def read_by_a_shell(text: str, tmp_path: Path) -> dict[str, str]:
    """What an environment file gives; a shell's double quotes are systemd's."""
    (tmp_path / "environment").write_text(text)
    program = f"set -a; . {tmp_path}/environment; env -0"
    output = subprocess.run(["env", "-i", "/bin/sh", "-c", program], check=True, capture_output=True, text=True).stdout
    return dict(entry.split("=", 1) for entry in output.split("\0") if entry)


def test_the_environment_says_what_was_given(tmp_path: Path) -> None:
    environment = read_by_a_shell(written("django_app", "environment.j2", **EVERYTHING["django_app"]), tmp_path)
    assert (environment["QUOTES"], environment["EMPTY"], environment["NUMBER"]) == ("a'b\"c\\d`e$f", "", "1")
    assert environment["LINES"] == "a\n\n b\n"
    assert environment["DJANGO_SETTINGS_MODULE"] == "config.settings"


def test_flowers_environment_says_what_was_given(tmp_path: Path) -> None:
    environment = read_by_a_shell(written("flower", "flower.environment.j2", **EVERYTHING["flower"]), tmp_path)
    assert environment["FLOWER_BASIC_AUTH"] == "flower:a\"b$c\\d`e'f"
    assert (environment["FLOWER_READ_ONLY"], environment["FLOWER_STATE_SAVE_INTERVAL"]) == ("false", "0")


def test_uploads_are_shared_with_the_web_server_where_there_are_some() -> None:
    for template, line in (
        ("sysusers.conf.j2", "m www-data shop-media"),
        ("tmpfiles.conf.j2", "d /srv/shop/media 2750 shop shop-media"),
    ):
        assert line not in written("django_app", template).splitlines()
        assert line in written("django_app", template, **EVERYTHING["django_app"]).splitlines()


def test_a_shared_folder_is_the_applications_alone_and_one_with_uploads_is_made_once() -> None:
    given = {"django_app_shared_paths": ["exports/", "media"], "django_app_media_root": "/srv/shop/shared/media"}
    lines = written("django_app", "tmpfiles.conf.j2", **given).splitlines()
    assert [line for line in lines if "/shared" in line] == [
        "d /srv/shop/shared 0755 root root",
        "d /srv/shop/shared/exports 0750 shop shop",
        "d /srv/shop/shared/media 2750 shop shop-media",
    ]


@pytest.mark.parametrize("manage", [["python", "manage.py"], ["/opt/it's here/shop", "a b"]])
def test_the_operators_command_is_a_program_of_bash(tmp_path: Path, manage: list[str]) -> None:
    (tmp_path / "shop-python").write_text(written("django_app", "python.sh.j2", django_app_manage=manage))
    subprocess.run(["bash", "-n", str(tmp_path / "shop-python")], check=True)
    subprocess.run(["shellcheck", str(tmp_path / "shop-python")], check=True)
