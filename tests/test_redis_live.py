"""Whether the running Redis has the users that were written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.stockpot.stack.plugins.module_utils.systemctl import State
from ansible_collections.stockpot.stack.plugins.modules.redis_live import Users, differences, forget

SERVICE = "redis-server.service"


class Started:
    """A systemctl that knows when Redis was started."""

    def __init__(self, at: float) -> None:
        self.at = at

    def show(self, units: list[str]) -> dict[str, State]:
        return {unit: State(unit, started=self.at) for unit in units}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of users, written at 1000."""
    path = tmp_path / "users.acl"
    path.touch()
    os.utime(path, (1000, 1000))
    return path


def users(file: Path, started: float) -> Users:
    """What is asked about a Redis that was started at a time; the stamp stands beside the file."""
    return Users(str(file), SERVICE, Started(started), file.parent)


def test_redis_loads_the_file_when_it_starts(file: Path) -> None:
    assert users(file, 1001).loaded()


def test_a_file_that_was_written_since_is_not_loaded(file: Path) -> None:
    assert not users(file, 999).loaded()


def test_what_was_loaded_without_a_start_is_remembered_until_the_file_is_written_again(file: Path) -> None:
    users(file, 999).note()
    assert users(file, 999).loaded()
    later = (file.parent / "redis-server.users-loaded").stat().st_mtime + 1
    os.utime(file, (later, later))
    assert not users(file, 999).loaded()
    assert users(file, later + 1).loaded()


def test_a_run_that_was_cut_off_before_the_load_leaves_it_to_the_next_one(file: Path) -> None:
    """An older load does not stand for this file."""
    users(file, 500).note()
    os.utime(file.parent / "redis-server.users-loaded", (900, 900))
    assert not users(file, 500).loaded()


def test_the_stamps_of_two_services_are_two(file: Path) -> None:
    users(file, 999).note()
    assert not Users(str(file), "redis-other.service", Started(999), file.parent).loaded()


@pytest.mark.parametrize(
    ("live", "flags", "said"),
    [
        ({"timeout": "0"}, ["off"], []),
        ({"timeout": "5"}, ["off"], ["timeout is 5, not 0"]),
        ({}, ["off"], ["timeout is None, not 0"]),
        ({"timeout": "0"}, ["on", "nopass"], ["the user default is not off"]),
    ],
)
def test_each_difference_is_named(live: dict[str, str], flags: list[str], said: list[str]) -> None:
    assert differences(live, {"timeout": 0}, ["flags", flags]) == said


class Keys:
    """A Redis of a few keys, which a scan shows two by two."""

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys)

    def ask(self, *words: str) -> list[object] | int:
        if words[0] == "UNLINK":
            self.keys = [key for key in self.keys if key not in words[1:]]
            return len(words) - 1
        assert words[2] == "MATCH"
        begin = int(words[1])
        end = begin + 2
        found = [key for key in self.seen[begin:end] if key.startswith(words[3].removesuffix("*"))]
        return [str(end) if end < len(self.seen) else "0", found]

    def scanned(self) -> Keys:
        """The same, with what a scan that begins now shows."""
        self.seen = list(self.keys)
        return self


def test_a_cache_that_has_moved_leaves_no_key_and_all_others() -> None:
    """A check removes none; the next look finds none."""
    redis = Keys("cache:a", "other:a", "cache:b", "cache:c", "other:b")
    assert forget(redis.scanned(), "cache:*", check_mode=True)
    assert len(redis.keys) == 5
    assert forget(redis.scanned(), "cache:*", check_mode=False)
    assert redis.keys == ["other:a", "other:b"]
    assert not forget(redis.scanned(), "cache:*", check_mode=False)
