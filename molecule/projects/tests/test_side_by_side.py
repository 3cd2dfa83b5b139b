"""What is done to one project is not felt by the others: on all servers at once, after all else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import testinfra
from testinfra.host import Host
from visitor import PROJECTS, Visitor, Wait

from lab import LAB_FOLDER, lab_ports

Deploy = Callable[..., str]


@pytest.fixture(scope="module")
def servers() -> dict[str, Host]:
    """The servers by name."""
    config = str(LAB_FOLDER / "ssh_config")
    return {name: testinfra.get_host(f"ssh://{name}", ssh_config=config) for name in sorted(lab_ports())}


@pytest.fixture(scope="module")
def deploy(converge_again: Callable[..., subprocess.CompletedProcess[str]]) -> Deploy:
    """Deploy one project once more, with other variables: `deploy("parcel", app_state="absent")`; what it printed."""

    def run(project: str, **variables: object) -> str:
        ran = converge_again("-e", json.dumps({"projects": [project], "variables": variables}))
        assert ran.returncode == 0, ran.stdout
        return ran.stdout

    return run


def visitors(project: str) -> list[Visitor]:
    """One on each server's site."""
    return [Visitor(f"{project}.example", ports["443"]) for _, ports in sorted(lab_ports().items())]


def running(host: Host, project: str) -> dict[str, str]:
    """A project's units with what systemd calls this run of each."""
    pattern = f"'{project}-*.service' 'redis-server@{project}.service' 'postgresql@*-{project}.service'"
    units = host.check_output(f"systemctl list-units --plain --no-legend --state=running {pattern}").splitlines()
    names = sorted(line.split()[0] for line in units)
    assert names, f"{project} runs nothing"
    shown = host.check_output(f"systemctl show --property=InvocationID --value {' '.join(names)}")
    return dict(zip(names, shown.split(), strict=True))


def others(servers: dict[str, Host], but: str) -> dict[tuple[str, str], dict[str, str]]:
    """The units of all other projects, and the proxy, on all servers."""
    nginx = "systemctl show --property=MainPID --value nginx"
    return {
        (name, project): running(host, project)
        for name, host in servers.items()
        for project in PROJECTS
        if project != but
    } | {(name, "nginx"): {"pid": host.check_output(nginx)} for name, host in servers.items()}


def test_an_export_outlives_a_release_of_its_project_alone(
    servers: dict[str, Host], deploy: Deploy, wait_until: Wait
) -> None:
    """The project writes exports into its own source; its next release has them, and restarts nobody else."""
    exports = {visitor: visitor.send("/", {}, to="/exports/") for visitor in visitors("library")}
    for visitor, path in exports.items():
        assert wait_until(lambda visitor=visitor, path=path: visitor.get(path).status_code == 200)
    name = max(servers)
    before, was = others(servers, "library"), running(servers[name], "library")

    theme = Path(LAB_FOLDER / "sources/library/themes/oak.json")
    theme.write_text(json.dumps(json.loads(theme.read_text()) | {"ul": {"margin": "2em"}}))
    deploy("library")

    for visitor, path in exports.items():
        assert "margin: 2em" in visitor.text("/static/themes/oak.css")
        assert visitor.get(path).status_code == 200
    assert running(servers[name], "library") != was
    assert others(servers, "library") == before


def test_a_project_is_taken_away_and_comes_back_with_its_data(
    servers: dict[str, Host], deploy: Deploy, wait_until: Wait
) -> None:
    """`app_state: absent`: no unit, no site, no file of it is left but its data; the others do not notice."""
    parcels = [
        (visitor, visitor.send("/", {"number": "AT-9", "carrier": "Blue Van"})) for visitor in visitors("parcel")
    ]
    for visitor, path in parcels:
        assert wait_until(lambda visitor=visitor, path=path: "on its way" in visitor.text(path))
    before = others(servers, "parcel")

    deploy("parcel", app_state="absent")
    for host in servers.values():
        assert host.check_output("systemctl list-units --all --plain --no-legend 'parcel-*'") == ""
        assert not host.file("/srv/parcel/current").exists
        assert not host.file("/etc/parcel/environment").exists
    for visitor in visitors("parcel"):
        # nginx knows no site of that name any more.
        with pytest.raises(requests.exceptions.SSLError, match=r"(?i)unrecognized.name"):
            visitor.get("/")
    assert others(servers, "parcel") == before

    deploy("parcel")
    for visitor, path in parcels:
        assert "on its way" in visitor.text(path)
    assert others(servers, "parcel") == before
