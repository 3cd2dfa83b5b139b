"""Actions on the control node, as a play calls them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PASSWORDS = {f"redis_{user}_password": "a long and random value" for user in ("admin", "cache", "celery")}


def run(folder: Path, play: dict[str, Any], *hosts: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run a play on this machine, under one or more names with variables of the inventory."""
    inventory = {"all": {"hosts": {key: {} for key in hosts or ["server-1"]}, "vars": variables}}
    (folder / "hosts.yml").write_text(json.dumps(inventory))
    (folder / "play.yml").write_text(
        json.dumps([{"hosts": "all", "connection": "local", "gather_facts": False, **play}])
    )
    return subprocess.run(
        ["ansible-playbook", "-i", str(folder / "hosts.yml"), str(folder / "play.yml")],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


CHECK = {"stockpot.stack.check": {"role": "redis"}}
SEEN = {"stockpot_preflight": {"roles": ["redis"]}}


def test_a_role_checks_itself_where_no_preflight_has(tmp_path: Path) -> None:
    ran = run(tmp_path, {"tasks": [CHECK]}, **PASSWORDS, redis_maxmemory="lots")
    assert "redis_maxmemory: bytes" in ran.stdout
    assert "failed=1" in ran.stdout


def test_what_the_preflight_has_seen_is_not_looked_at_again(tmp_path: Path) -> None:
    ran = run(tmp_path, {"tasks": [CHECK]}, **PASSWORDS, **SEEN, redis_maxmemory="lots")
    assert "skipped=1" in ran.stdout


@pytest.mark.parametrize(
    "play",
    [
        {"vars": {"redis_maxmemory": "lots"}, "tasks": [CHECK]},
        {"tasks": [CHECK | {"vars": {"redis_maxmemory": "lots"}}]},
        {"tasks": [{"block": [CHECK], "vars": {"redis_maxmemory": "lots"}}]},
    ],
    ids=["play", "task", "block"],
)
def test_what_the_preflight_cannot_have_seen_is_looked_at(tmp_path: Path, play: dict[str, Any]) -> None:
    ran = run(tmp_path, play, **PASSWORDS, **SEEN)
    assert "redis_maxmemory: bytes" in ran.stdout


def test_a_run_packs_a_project_once_whatever_changes_meanwhile(tmp_path: Path) -> None:
    source = tmp_path / "site"
    source.mkdir()
    (source / "manage.py").write_text("")
    (source / "requirements.txt").write_text("")
    pack = {"source": str(source), "cache": str(tmp_path / "cache")}
    show = {"ansible.builtin.debug": {"msg": "digest={{ packed.digest }}"}}
    tasks = [
        {"stockpot.stack.project_archive": pack, "register": "packed"},
        {"ansible.builtin.copy": {"dest": str(source / "pushed.py"), "content": ""}},
        {"stockpot.stack.project_archive": pack, "register": "packed"},
        show,
    ]
    ran = run(tmp_path, {"tasks": [*tasks[:1], show, *tasks[1:]]}, "server-1", "server-2")
    digests = re.findall(r"digest=(\w{64})", ran.stdout)
    assert len(digests) == 4, ran.stdout
    assert len(set(digests)) == 1
    again = run(tmp_path, {"tasks": [tasks[0], show]})
    assert re.findall(r"digest=(\w{64})", again.stdout)[0] not in digests
