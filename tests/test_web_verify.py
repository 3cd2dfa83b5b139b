"""The question by which the role django_app sees that a web server answers; Ansible itself asks, over TLS."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from ansible_collections.stockpot.stack.plugins.plugin_utils import authority

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "roles/certificates/files/certificates.py"
NAMES = ["data-1", "localhost", "127.0.0.1"]


class Site(BaseHTTPRequestHandler):
    """Answers the health page alone."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" and self.headers["Host"] == "www.example.com" else 404)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


def folder_of(path: Path) -> Path:
    """A server's certificates, of an authority of its own."""
    path.mkdir()
    own = authority.new_authority()
    words = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    key = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    public = subprocess.run(
        ["openssl", "pkey", "-pubout"], input=key, capture_output=True, text=True, check=True
    ).stdout
    (path / "authority.pem").write_text(own.certificate)
    (path / "intermediate.pem").write_text(key + authority.intermediate(own, public, NAMES))
    config = {"days": 30, "renewed_days": 20, "names": NAMES, "services": [{"name": "web"}]}
    (path / "services.json").write_text(json.dumps(config))
    subprocess.run([sys.executable, PROGRAM, path, "make", "web", path / "web.pem"], check=True, timeout=60)
    return path


@pytest.fixture
def listen() -> Iterator[Callable[[Path | None], str]]:
    """Starts a site, with a folder's certificate, or in clear text; says where."""
    with ExitStack() as stack:

        def start(folder: Path | None) -> str:
            site = stack.enter_context(HTTPServer(("127.0.0.1", 0), Site))
            if folder:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(folder / "web.pem")
                site.socket = context.wrap_socket(site.socket, server_side=True)
            threading.Thread(target=site.serve_forever, daemon=True).start()
            stack.callback(site.shutdown)
            return f"127.0.0.1:{site.server_port}"

        yield start


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `tasks_from: verify` with these variables."""

    def run(**variables: object) -> subprocess.CompletedProcess[str]:
        given = {
            "django_app_name": "shop",
            "django_app_health_path": "/readyz",
            "django_app_health_host": "www.example.com",
            "django_app_verify_timeout": 2,
            **variables,
        }
        role = {"name": "stockpot.stack.django_app", "tasks_from": "verify"}
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": given,
            "tasks": [{"ansible.builtin.import_role": role}],
        }
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
        return subprocess.run(
            ["ansible-playbook", "--inventory=localhost,", "--connection=local", str(tmp_path / "play.yml")],
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_a_web_server_that_speaks_tls_is_asked_over_it_and_known_by_its_authority(
    tmp_path: Path, listen: Callable[[Path | None], str], ask: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """One of another authority, and one that speaks clear text, answers as one that is not there."""
    own, other = folder_of(tmp_path / "own"), folder_of(tmp_path / "other")
    given = {"django_app_web_tls": True, "django_app_web_authority": str(own / "authority.pem")}
    good = ask(django_app_bind=listen(own), **given)
    assert good.returncode == 0, good.stdout
    stranger = ask(django_app_bind=listen(other), **given)
    assert stranger.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in stranger.stdout
    assert "journalctl -u shop-web" in stranger.stdout
    assert ask(django_app_bind=listen(None), **given).returncode != 0


def test_one_without_tls_is_asked_without(
    listen: Callable[[Path | None], str], ask: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """And its page has to be there."""
    address = listen(None)
    assert ask(django_app_bind=address, django_app_web_authority="/nowhere.pem").returncode == 0
    missing = ask(django_app_bind=address, django_app_health_path="/nothing")
    assert missing.returncode != 0
    assert "answered 404 to /nothing" in " ".join(missing.stdout.split())
