"""A release goes over in parts of the servers; one that does not work stops at the first."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host
from visitor import Browser, Crowd

PROJECT = Path(__file__).resolve().parents[3]
LAB = PROJECT / ".lab/rollout"
NAME = "www.stockpot.example"
FIRST, SECOND = WEB = ("rollout-one", "rollout-two")
Wait = Callable[..., Any]
Again = Callable[..., Any]


def server(name: str) -> Host:
    return testinfra.get_host(f"ssh://{name}", ssh_config=str(LAB / "ssh_config"), controlpersist=60)


def browser() -> Browser:
    return Browser(NAME, [server("rollout-data").check_output("hostname -I").split()[0]], LAB / "certificate.pem")


def current(name: str) -> str:
    """The release that a server has."""
    return server(name).check_output("readlink /srv/stockpot/current")


def processes(name: str) -> dict[str, str]:
    """What runs of the application, by unit, with its main process."""
    shown = server(name).check_output("systemctl show --property=Id,MainPID 'stockpot-*.service'").strip()
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.split("\n\n")]
    return {block["Id"]: block["MainPID"] for block in blocks if block["MainPID"] != "0"}


def release(folder: Path, texts: dict[str, str]) -> str:
    """Variables that deploy the reference project with text at the end of some of its files, a server at a time."""
    source = folder / "app"
    shutil.copytree(PROJECT / "app", source, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    for name, text in texts.items():
        with (source / name).open("a") as file:
            file.write(text)
    # As it is for app/ where that lies in the checkout.
    own = {"media_is_private": True, "django_app_gunicorn_config": "gunicorn.conf.py"}
    return json.dumps({"django_app_source": str(source), "app_rollout_serial": 1, **own})


FIVE_HUNDREDS = """

class Broken:
    def __init__(self, get_response):
        pass

    def __call__(self, request):
        raise RuntimeError("every page is broken")


MIDDLEWARE = ["config.settings.Broken", *MIDDLEWARE]
"""
DOES_NOT_BOOT = '\nraise RuntimeError("this release does not boot")\n'


@pytest.mark.parametrize(
    ("broken", "said"),
    # A slow server may be asked before the process has ended.
    [
        ({"config/wsgi.py": DOES_NOT_BOOT}, "does not boot|answered (-1|50)"),
        ({"config/settings.py": FIVE_HUNDREDS}, "answered 500"),
    ],
    ids=["does not boot", "answers 500"],
)
def test_a_release_that_does_not_work_stops_at_the_first_server(
    converge_again: Again, tmp_path: Path, wait_until: Wait, broken: dict[str, str], said: str
) -> None:
    """The other one goes on with the old one, and the site with it."""
    before, kept = {name: current(name) for name in WEB}, processes(SECOND)
    result = converge_again("-e", release(tmp_path, broken))
    assert result.returncode != 0
    assert re.search(said, result.stdout), result.stdout[-4000:]
    assert f"does not run as it should on {FIRST}" in result.stdout
    assert re.search(rf"{SECOND} keeps the former\s+release", result.stdout)
    assert {name: current(name) for name in before} == before
    assert processes(SECOND) == kept
    visitors = Crowd([browser()], pause=0.1)
    with visitors.at_work():
        wait_until(lambda: visitors.answered > 40)
    assert visitors.failures == []
    back = converge_again()
    assert back.returncode == 0, back.stdout[-4000:]
    assert processes(SECOND) == kept
    for order in visitors.orders:
        wait_until(lambda order=order: browser().is_paid(order), timeout=120)


def test_a_release_that_works_goes_over_part_by_part(converge_again: Again, tmp_path: Path, wait_until: Wait) -> None:
    """The second server's turn comes when the first one works; no request and no order is lost. One that failed before it takes nothing away."""
    before = {name: current(name) for name in (*WEB, "rollout-data")}
    page = browser().ask("/").text
    failed = {"config/wsgi.py": DOES_NOT_BOOT, "static/site.css": "/* A release that fails. */\n"}
    assert converge_again("-e", release(tmp_path / "failed", failed)).returncode != 0
    visitors = Crowd([browser(), browser()], pause=0.2)
    with visitors.at_work():
        result = converge_again("-e", release(tmp_path, {"static/site.css": "/* Another release. */\n"}))
        assert result.returncode == 0, result.stdout[-4000:]
        then = visitors.answered
        wait_until(lambda: visitors.answered > then + 20)
    assert visitors.failures == []
    # Each has it for its own Debian's Python.
    assert {name for name, was in before.items() if current(name) == was} == set()
    # A page that is still open has its own files.
    static = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert static
    assert not set(static) <= set(re.findall(r'(?:href|src)="(/static/[^"]+)"', browser().ask("/").text))
    assert [browser().ask(path).status for path in static] == [200] * len(static)
    started = [
        float(
            server(name).check_output(
                'date +%s.%N --date="$(systemctl show --property=ActiveEnterTimestamp --value stockpot-web)"'
            )
        )
        for name in WEB
    ]
    assert started[0] < started[1]
    for order in visitors.orders:
        wait_until(lambda order=order: browser().is_paid(order), timeout=120)
