"""The web servers' own commands on a socket that stays open, as systemd keeps it: real processes, stopped and followed by the next."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.stockpot.stack.plugins.plugin_utils import gunicorn, processes
from ansible_collections.stockpot.stack.plugins.plugin_utils.arguments import collect
from rendering import render
from uv import find_uv_bin

PACKAGES = ("gunicorn==27.0.1", "uvicorn-worker", "websockets")
APPLICATION = """
import asyncio, json
from pathlib import Path


def note(word):
    with open("diary", "a") as diary:
        print(word, file=diary)


async def site(scope, receive, send):
    if scope["type"] == "lifespan":
        for word in ("startup", "shutdown"):
            await receive()
            note(word)
            await send({"type": f"lifespan.{word}.complete"})
    elif scope["type"] == "websocket":
        while (event := await receive())["type"] != "websocket.disconnect":
            if event["type"] == "websocket.connect":
                await send({"type": "websocket.accept"})
            else:
                await send({"type": "websocket.send", "text": event["text"]})
    else:
        if scope["path"] == "/slow":
            note("begun")
            while not Path("end").exists():
                await asyncio.sleep(0.05)
        body = json.dumps({"scheme": scope["scheme"], "client": scope["client"] and scope["client"][0]}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
"""
# As systemd starts a service with a socket.
START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""
# A visitor: what he is told, while the first process is stopped and the next one started. Its arguments: the address, the first's process id.
VISIT = """
import http.client, json, os, signal, socket, sys, threading, time
from pathlib import Path
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

address, first = sys.argv[1], int(sys.argv[2])


def connection():
    if address.startswith("/"):
        found = socket.socket(socket.AF_UNIX)
        found.connect(address)
        return found
    host, port = address.split(":")
    return socket.create_connection((host, int(port)))


def get(path):
    client = http.client.HTTPConnection("site.test", timeout=60)
    client.sock = connection()
    client.request("GET", path, headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"})
    answer = client.getresponse()
    return [answer.status, json.loads(answer.read())]


found = {"visitor": get("/")}
with connect("ws://site.test/", sock=connection()) as echo:
    echo.send("hello")
    found["echo"] = echo.recv(timeout=60)
    slow = []
    waiting = threading.Thread(target=lambda: slow.append(get("/slow")))
    waiting.start()
    while "begun" not in Path("diary").read_text():
        time.sleep(0.05)
    os.kill(first, signal.SIGTERM)
    try:
        echo.recv(timeout=60)
    except ConnectionClosed as closed:
        found["closed"] = closed.rcvd and closed.rcvd.code
late = []
visitor = threading.Thread(target=lambda: late.append(get("/")))
visitor.start()
Path("end").touch()
waiting.join(60)
print(json.dumps({**found, "slow": slow[0][0]}), flush=True)
visitor.join(60)
print(json.dumps(late[0][0]), flush=True)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtualenv with what the overlay adds."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    uv = (find_uv_bin(), "--quiet")
    subprocess.run([*uv, "venv", f"--python={sys.executable}", str(folder)], check=True)
    subprocess.run([*uv, "pip", "install", f"--python={folder}/bin/python", *PACKAGES], check=True)
    return folder


@pytest.fixture(params=["file", "address"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket that outlives what serves it, and its address as django_app_bind has it."""
    if request.param == "file":
        address = str(tmp_path / "web.sock")
        found = socket.socket(socket.AF_UNIX)
        found.bind(address)
    else:
        found = socket.socket()
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    found.listen()
    with found:
        yield found, address


@pytest.fixture
def serve(
    environment: Path, listening: tuple[socket.socket, str], tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the process that the role's variables define."""
    started: list[subprocess.Popen[bytes]] = []
    (tmp_path / "source").mkdir()
    (tmp_path / "source/events.py").write_text(APPLICATION)
    (tmp_path / "venv").symlink_to(environment)

    def start(**given: Any) -> subprocess.Popen[bytes]:
        variables = {
            "django_app_name": "shop",
            "django_app_source": "/src/shop",
            "django_app_settings_module": "config.settings",
            "django_app_release_path": str(tmp_path),
            "django_app_bind": listening[1],
            "inventory_hostname": "one",
            **given,
        }
        arguments, problems = collect("django_app", variables, DataLoader())
        assert problems == []
        (web,) = processes.django_app({**variables, **arguments})
        (tmp_path / "gunicorn.conf.py").write_text(render("django_app", "gunicorn.conf.py.j2", **variables))
        command = [word.replace("/etc/shop/", f"{tmp_path}/") for word in web["command"]]
        descriptor = listening[0].fileno()
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", START, str(descriptor), *command], cwd=web["directory"], pass_fds=[descriptor]
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=60)


def test_every_setting_of_gunicorn_s_is_known_by_its_kind(environment: Path) -> None:
    """So that none of its own is refused."""
    code = "import json, gunicorn.config as c; print(json.dumps({s.name: s.default for s in c.KNOWN_SETTINGS}, default=lambda f: 'function'))"
    shown = subprocess.run([f"{environment}/bin/python", "-c", code], capture_output=True, text=True, check=True).stdout
    defaults = json.loads(shown)
    assert set(gunicorn.KINDS) == set(defaults)
    given = {name: value for name, value in defaults.items() if value is not None and name not in gunicorn.OWNED}
    refused = gunicorn.settings_problems("s", given)
    assert {problem.split()[1] for problem in refused} == set(gunicorn.FUNCTIONS)


UVICORN = ["uvicorn", "--fd", "3", "--forwarded-allow-ips", "*", "events:site"]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"django_app_asgi": "events:site", "django_app_web_workers": 1}, id="gunicorn"),
        pytest.param({"django_app_web_command": UVICORN}, id="uvicorn"),
    ],
)
def test_a_stop_answers_requests_closes_websockets_and_ends_the_lifespan(
    serve: Callable[..., subprocess.Popen[bytes]],
    listening: tuple[socket.socket, str],
    environment: Path,
    tmp_path: Path,
    given: dict[str, Any],
) -> None:
    """Who comes in between is answered by the next process. The proxy's word of the visitor is believed."""
    first = serve(**given)
    source = tmp_path / "source"
    visit = subprocess.Popen(
        [f"{environment}/bin/python", "-c", VISIT, listening[1], str(first.pid)],
        cwd=source,
        env={**os.environ, "no_proxy": "*"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert visit.stdout
    found = json.loads(visit.stdout.readline())
    assert found == {
        "visitor": [200, {"scheme": "https", "client": "203.0.113.9"}],
        "echo": "hello",
        "closed": 1012,
        "slow": 200,
    }
    # Either is a clean end to systemd.
    assert first.wait(timeout=60) in (0, -signal.SIGTERM)
    assert (source / "diary").read_text().split() == ["startup", "begun", "shutdown"]
    serve(**given)
    assert json.loads(visit.stdout.readline()) == 200
    assert visit.wait(timeout=60) == 0
