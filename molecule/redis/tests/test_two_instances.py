"""A second project's Redis beside the first: each its own users, data and end."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from test_redis import PASSWORDS, redis
from testinfra.host import Host

BLOG = {user: f"{user} password of the blog" for user in ("admin", "cache", "celery")}
UNIT = "redis-server@blog"


@pytest.fixture(scope="session")
def second_project(converge_again: Callable[..., Any]) -> Any:
    """The run of the second project, once."""
    return converge_again(playbook="second.yml")


@pytest.fixture(autouse=True)
def _both(second_project: Any) -> None:
    """Both are there."""
    assert second_project.returncode == 0, second_project.stdout


def blog(host: Host, user: str, password: str, *command: str) -> str:
    """What the second Redis answers over TCP."""
    words = ["redis-cli", "-p", "6380", "--no-auth-warning", "--user", user, "--pass", password, *command]
    return host.check_output(" ".join(["%s"] * len(words)), *words)


def main_process(host: Host, unit: str) -> str:
    """The process id of a service."""
    return host.check_output(f"systemctl show -P MainPID {unit}")


def test_each_opens_to_its_own_passwords_alone(host: Host) -> None:
    """The user's name is the same in both."""
    for user, password in BLOG.items():
        assert blog(host, user, password, "PING") == "PONG"
        assert "WRONGPASS" in host.check_output("redis-cli --no-auth-warning AUTH %s %s", user, password)
    assert "WRONGPASS" in host.check_output("redis-cli -p 6380 AUTH celery %s", PASSWORDS["celery"])
    assert "NOAUTH" in host.check_output("redis-cli -p 6380 PING")


def test_each_has_data_of_its_own_that_outlives_a_kill(host: Host, wait_until: Callable[..., Any]) -> None:
    """A key of one is not in the other, and a kill of one is not noticed by the other."""
    redis(host, "celery", "SET celery:whose shop")
    assert blog(host, "celery", BLOG["celery"], "SET", "celery:whose", "blog") == "OK"
    before = main_process(host, "redis-server")
    wait_until(lambda: "aof_pending_bio_fsync:0" in blog(host, "admin", BLOG["admin"], "INFO", "persistence"))
    host.check_output(f"systemctl kill --signal KILL {UNIT}")
    wait_until(lambda: blog(host, "celery", BLOG["celery"], "GET", "celery:whose") == "blog")
    assert redis(host, "celery", "GET celery:whose") == ["shop"]
    assert main_process(host, "redis-server") == before
    assert host.check_output("stat -c '%U %a' /var/lib/redis/blog") == "redis 750"


def test_it_is_as_safe_as_the_first(host: Host, exposure: Callable[[str], float]) -> None:
    """Confined, with the memory that it was given, and enabled."""
    assert exposure(UNIT) <= 2.0
    assert blog(host, "admin", BLOG["admin"], "CONFIG", "GET", "maxmemory").split() == ["maxmemory", str(32 * 1024**2)]
    assert host.service(UNIT).is_enabled


def test_neither_project_s_run_touches_the_other_s(host: Host, converge_again: Callable[..., Any]) -> None:
    """Nothing changes by turns, and nothing restarts."""
    before = [main_process(host, unit) for unit in ("redis-server", UNIT)]
    for playbook in ("second.yml", "converge.yml"):
        run = converge_again(playbook=playbook)
        assert set(re.findall(r"changed=(\d+)", run.stdout)) == {"0"}, run.stdout
    assert [main_process(host, unit) for unit in ("redis-server", UNIT)] == before


def changes(run: Any) -> set[str]:
    """The counts of changed tasks in a run's recap."""
    return set(re.findall(r"changed=(\d+)", run.stdout))


def test_it_is_taken_away_and_comes_back_with_its_data(host: Host, converge_again: Callable[..., Any]) -> None:
    """By its own application alone; foretold, done, done once; the other goes on."""
    before = main_process(host, "redis-server")
    blog(host, "celery", BLOG["celery"], "SET", "celery:kept", "yes")
    assert changes(converge_again("-e", "whose=blo", playbook="absent.yml")) == {"0"}
    assert changes(converge_again("--check", playbook="absent.yml")) == {"1"}
    assert host.service(UNIT).is_running
    assert [changes(converge_again(playbook="absent.yml")) for _ in range(2)] == [{"1"}, {"0"}]
    assert not host.service(UNIT).is_running
    assert not host.service(UNIT).is_enabled
    assert converge_again(playbook="second.yml").returncode == 0
    assert blog(host, "celery", BLOG["celery"], "GET", "celery:kept") == "yes"
    assert host.service(UNIT).is_enabled
    assert main_process(host, "redis-server") == before


def test_its_data_goes_when_that_is_said(host: Host, converge_again: Callable[..., Any]) -> None:
    """With its configuration and password hashes; the next run begins anew."""
    removal = ("-e", "app_state_remove_data=true")
    removed = converge_again(*removal, playbook="absent.yml")
    assert removed.returncode == 0, removed.stdout
    assert host.run("ls -d /var/lib/redis/blog /etc/redis/*-blog.* /etc/systemd/system/redis-server@blog*").stdout == ""
    assert changes(converge_again(*removal, playbook="absent.yml")) == {"0"}
    assert redis(host, "celery", "PING") == ["PONG"]
    assert converge_again(playbook="second.yml").returncode == 0
    assert blog(host, "celery", BLOG["celery"], "EXISTS", "celery:kept") == "0"
