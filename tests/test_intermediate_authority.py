"""A server's authority: made there, signed here, and made anew only where something is another."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils import authority

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["data-1", "10.0.0.3"]


@pytest.fixture(scope="module")
def own() -> authority.Pair:
    """A deployment's authority."""
    return authority.new_authority()


@pytest.fixture
def give(tmp_path: Path, own: authority.Pair) -> Callable[..., str]:
    """Give this machine an authority, as loud as Ansible gets; says what Ansible said."""

    def run(*arguments: str, names: list[str] = NAMES, pair: authority.Pair = own) -> str:
        task = {"stockpot.stack.intermediate_authority": {"path": str(tmp_path / "etc/it.pem"), "names": names}}
        play: dict[str, Any] = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
        play["vars"] = {
            "certificates_application": "shop",
            "certificates_names": names,
            "certificates_authority": pair.certificate,
            "certificates_authority_key": pair.key,
        }
        (tmp_path / "play.yml").write_text(json.dumps([play]))
        done = subprocess.run(
            ["ansible-playbook", "-vvv", "--diff", "--inventory=localhost,", *arguments, str(tmp_path / "play.yml")],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    return run


def body(pem: str) -> str:
    """A line of a key that is its own."""
    return pem.splitlines()[2]


def test_it_is_made_once_and_anew_for_other_names_with_the_same_key(
    give: Callable[..., str], tmp_path: Path, own: authority.Pair
) -> None:
    """A check makes nothing; no key is ever shown."""
    file = tmp_path / "etc/it.pem"
    assert "changed=1" in give("--check")
    assert not file.exists()
    first = give()
    assert "changed=1" in first
    assert file.stat().st_mode & 0o777 == 0o600
    made = file.read_text()
    key = made.partition("-----BEGIN CERTIFICATE")[0]
    assert "changed=0" in give()
    assert file.read_text() == made
    other = [*NAMES, "web.shop.internal"]
    assert "changed=1" in give("--check", names=other)
    assert file.read_text() == made
    second = give(names=other)
    assert "changed=1" in second
    assert file.read_text() != made
    assert file.read_text().startswith(key)
    assert not [secret for secret in (body(key), body(own.key)) if secret in first + second]


def test_an_authority_that_cannot_sign_says_why(give: Callable[..., str], own: authority.Pair) -> None:
    said = give(pair=own._replace(key=authority.new_authority().key))
    assert "certificates_authority: its key and its certificate do not belong together" in said
    assert "failed=1" in said


def test_an_authority_that_cannot_be_read_says_why_where_one_was_signed_before(
    give: Callable[..., str], own: authority.Pair
) -> None:
    give()
    said = give(pair=own._replace(certificate="none"))
    assert "certificates_authority: its certificate is no PEM text" in said
    assert "failed=1" in said
