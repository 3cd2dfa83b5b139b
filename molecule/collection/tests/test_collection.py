"""A project that has only the built collection: the whole stack by one import, and every role in a play of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import testinfra

from lab import LAB_FOLDER, PROJECT

SCENARIO = Path(__file__).resolve().parent.parent
INSTALLED = LAB_FOLDER / "collections"


def run(command: str, *arguments: str) -> str:
    """The output of an Ansible command in the project, which must succeed."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(SCENARIO / "project/ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(INSTALLED),
        "NO_COLOR": "1",
    }
    # Into a file: SSH's shared connection outlives the play and would hold a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        result = subprocess.run(
            [command, *arguments],
            cwd=SCENARIO / "project",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=900,
        )
        output.seek(0)
        text = output.read()
    assert result.returncode == 0, text[-6000:]
    return text


def site(host_name: str, published: Callable[[str, int], tuple[str, int]], path: str) -> requests.Response:
    """The site's answer, through nginx."""
    return requests.get(
        f"https://localhost:{published(host_name, 443)[1]}{path}", verify=False, timeout=30, proxies={"https": ""}
    )


def test_the_whole_stack_serves(published: Callable[[str, int], tuple[str, int]]) -> None:
    """Page and static file of a project that shares no name with the reference application."""
    page = site("collection-trixie", published, "/")
    assert page.status_code == 200
    [style] = re.findall(r'href="(/assets/[^"]+)"', page.text)
    assert site("collection-trixie", published, style).status_code == 200


def test_every_role_runs_alone_on_a_bare_server(
    published: Callable[[str, int], tuple[str, int]], wait_until: Any
) -> None:
    """With its required arguments alone; a second run changes nothing, and the site answers."""
    arguments = ("-i", str(LAB_FOLDER / "connections.yml"), "alone.yml")
    run("ansible-playbook", *arguments)
    assert re.search(r"collection-bookworm +: ok=\d+ +changed=0 ", run("ansible-playbook", *arguments))
    host = testinfra.get_host("ssh://collection-bookworm", ssh_config=str(LAB_FOLDER / "ssh_config"))
    assert "NOAUTH" in host.check_output("redis-cli PING")
    wait_until(lambda: site("collection-bookworm", published, "/").status_code == 200)


@pytest.mark.parametrize("kind", ["role", "module", "lookup", "filter", "inventory"])
def test_everything_is_documented(kind: str) -> None:
    """ansible-doc shows each role and plugin of the installed collection."""
    listed = json.loads(run("ansible-doc", "-t", kind, "--list", "--json", "stockpot.stack"))
    folder = INSTALLED / "ansible_collections/stockpot/stack" / ("roles" if kind == "role" else f"plugins/{kind}")
    folder = folder.with_name("modules") if kind == "module" else folder
    if kind != "filter":
        names = {path.stem for path in folder.iterdir() if not path.name.startswith("_")}
        assert {name.removeprefix("stockpot.stack.") for name in listed} == names
    for name in listed:
        assert name in run("ansible-doc", "-t", kind, name)


def test_nothing_of_the_workshop_is_shipped() -> None:
    """No application, no tests, no labs, no secrets; the links into itself neither."""
    top = {path.name for path in (INSTALLED / "ansible_collections/stockpot/stack").iterdir()}
    shipped = {"CHANGELOG.md", "LICENSE", "README.md", "group_vars", "meta", "playbooks", "plugins", "roles"}
    assert top == shipped | {"FILES.json", "MANIFEST.json"}
    assert (PROJECT / "app").is_dir()
