"""An ASGI application and a server of the project's choice behind the proxy, and a project without manage.py.

One server answers on a socket file and the other on an address.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

SCENARIO = Path(__file__).resolve().parent.parent
PYTHON = "/srv/library/current/venv/bin/python"
DIARY = "/var/lib/library/diary"
VISITOR = "curl --silent --insecure --resolve library.test:443:127.0.0.1 https://library.test/visitor"
GIVEN: dict[str, Any] = {
    "django_app_bind": "{{ '/run/library/web.sock' if lab_suite == 'bookworm' else '127.0.0.1:8000' }}",
    "django_app_web_workers": 1,
    "django_app_requirements": "locked.txt",
    "django_app_settings_module": "library.configuration",
}


@pytest.fixture(scope="module")
def asgi(converge_again: Callable, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The run that serves the ASGI application, with gunicorn configured by the project and the operator."""
    given = {
        "django_app_asgi": "library.events:site",
        "django_app_gunicorn_config": "deploy/gunicorn.py",
        "django_app_gunicorn_settings": {"keepalive": 33},
        "django_app_lock": str(tmp_path_factory.mktemp("asgi") / "requirements.txt"),
    }
    return converge_again("-e", json.dumps(GIVEN | given))


@pytest.fixture(scope="module")
def other(converge_again: Callable, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The run that serves it by uvicorn, of a project whose commands are Django's own."""
    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(SCENARIO.parent / "shared/foreign_project", folder / "project")
    (folder / "project/backend/manage.py").unlink()
    given = {
        "django_app_source": str(folder / "project"),
        "django_app_web_command": ["uvicorn", "--fd", "3", "--forwarded-allow-ips", "*", "library.events:site"],
        "django_app_web_workers": 2,
        "django_app_manage": ["python", "-m", "django"],
        "django_app_host_build_commands": [["python", "-m", "django", "check"]],
        "django_app_overlay": ["uvicorn", "websockets"],
        "django_app_processes_extra": [],
        "django_app_lock": str(folder / "requirements.txt"),
    }
    return converge_again("-e", json.dumps(GIVEN | given))


def visited(host: Host) -> dict[str, Any]:
    """What became of a WebSocket, a slow request and others during a restart."""
    host.check_output(f"rm --force {DIARY}")
    program = (SCENARIO / "tests/visit.py").read_text()
    return json.loads(host.check_output("%s -c %s", PYTHON, program))


def restarted_gracefully(found: dict[str, Any]) -> None:
    """Nothing was lost."""
    assert found["visitor"]["secure"] is True
    assert found["echo"] == "hello"
    # The server says that it restarts; a browser connects again.
    assert found["closed"] == 1012
    assert found["waits"]
    assert found["slow"] == [[200, "at last"]]
    assert found["statuses"] == [200] * 20
    assert found["replaced"]


def test_websockets_and_requests_outlive_a_restart_and_the_application_is_told(
    asgi: subprocess.CompletedProcess[str], hosts: dict[str, Host]
) -> None:
    assert asgi.returncode == 0, asgi.stdout
    for host in hosts.values():
        restarted_gracefully(visited(host))
        assert host.file(DIARY).content_string.split() == ["shutdown", "startup"]


def test_the_visitor_is_known_by_the_proxy_s_word_alone(
    asgi: subprocess.CompletedProcess[str], hosts: dict[str, Host]
) -> None:
    for host in hosts.values():
        claimed = host.check_output(
            f"{VISITOR} --header 'X-Forwarded-For: 203.0.113.9' --header 'X-Forwarded-Proto: http'"
        )
        assert json.loads(claimed) == {"secure": True, "scheme": "https", "address": "127.0.0.1"}


def test_gunicorn_has_what_the_project_the_operator_and_the_role_say(
    asgi: subprocess.CompletedProcess[str], hosts: dict[str, Host]
) -> None:
    """The operator wins over the project, and the role's own variables over both."""
    for host in hosts.values():
        assert json.loads(host.file("/var/lib/library/gunicorn").content_string) == {
            "keepalive": 33,
            "max_requests_jitter": 5,
            "workers": 1,
            "worker_class_str": "uvicorn_worker.UvicornWorker",
            "control_socket_disable": True,
        }


def test_a_stop_tells_the_application(asgi: subprocess.CompletedProcess[str], hosts: dict[str, Host]) -> None:
    """The socket is still there then, and starts it again."""
    for host in hosts.values():
        host.check_output(f"rm --force {DIARY}")
        host.check_output("systemctl stop library-web.service")
        assert host.file(DIARY).content_string == "shutdown\n"
        assert json.loads(host.check_output(VISITOR))["secure"] is True


@pytest.mark.long
def test_another_server_takes_the_socket_and_loses_nothing(
    other: subprocess.CompletedProcess[str], hosts: dict[str, Host]
) -> None:
    assert other.returncode == 0, other.stdout
    for host in hosts.values():
        assert "/venv/bin/uvicorn --fd 3" in host.check_output(
            "systemctl show --property=ExecStart library-web.service"
        )
        restarted_gracefully(visited(host))
        assert host.file(DIARY).content_string.split() == ["shutdown", "startup"]


@pytest.mark.long
def test_a_project_without_manage_py_is_managed_by_django_s_own_command(
    other: subprocess.CompletedProcess[str], hosts: dict[str, Host]
) -> None:
    for host in hosts.values():
        assert not host.file("/srv/library/current/source/manage.py").exists
        assert "no issues" in host.check_output("library-manage check")
        assert host.check_output("library-python -c 'print(6 * 7)'") == "42"
        assert host.file("/srv/library/current/source/collected/books/shelf.css").exists
