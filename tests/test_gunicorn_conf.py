"""What gunicorn is configured with: the project's own file, what the operator sets, and what the role needs."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils import gunicorn
from rendering import render

OWN = """
LEVEL = "debug"
access_log_format = "mine"
worker_class = "gevent"
max_requests_jitter = 7
daemon = True
pidfile = "/var/run/gunicorn.pid"
control_socket_disable = False


def post_fork(server, worker):
    return LEVEL
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What gunicorn reads, started in manage.py's folder, where the project has a file of its own."""
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/gunicorn.conf.py").write_text(OWN)
    (tmp_path / "gunicorn.conf.py").write_text("raise SystemExit('nobody has named this one')\n")
    monkeypatch.chdir(tmp_path)

    def read(**given: Any) -> dict[str, Any]:
        written = tmp_path / "written.py"
        written.write_text(render("django_app", "gunicorn.conf.py.j2", **given))
        return runpy.run_path(str(written))

    return read


def test_a_project_s_file_is_read_where_it_is_named_and_nowhere_else(configured: Any) -> None:
    assert "access_log_format" not in configured()
    found = configured(django_app_gunicorn_config="deploy/gunicorn.conf.py")
    assert (found["access_log_format"], found["worker_class"], found["max_requests_jitter"]) == ("mine", "gevent", 7)
    assert found["post_fork"](None, None) == "debug"


def test_what_systemd_sees_to_stays_whatever_the_project_says(configured: Any) -> None:
    found = configured(django_app_gunicorn_config="deploy/gunicorn.conf.py")
    assert (found["daemon"], found["pidfile"], found["control_socket_disable"]) == (False, None, True)


def test_what_the_operator_sets_wins_over_the_project_and_the_defaults(configured: Any) -> None:
    odd = {"a": ['it\'s "100%"', 1, True, None]}
    found = configured(
        django_app_gunicorn_config="deploy/gunicorn.conf.py",
        django_app_gunicorn_settings={"max_requests_jitter": 50, "preload_app": True, "logconfig_dict": odd},
    )
    assert (found["max_requests_jitter"], found["preload_app"], found["logconfig_dict"]) == (50, True, odd)
    assert found["worker_class"] == "gevent"


def test_an_asgi_application_is_served_by_uvicorn_s_worker_or_the_one_that_is_set(configured: Any) -> None:
    asgi = {"django_app_asgi": "a:b", "django_app_gunicorn_config": "deploy/gunicorn.conf.py"}
    assert configured(**asgi)["worker_class"] == "uvicorn_worker.UvicornWorker"
    own = {"django_app_gunicorn_settings": {"worker_class": "shop.workers.Quiet"}}
    assert configured(**asgi, **own)["worker_class"] == "shop.workers.Quiet"


def test_defaults_come_of_the_role_s_variables(configured: Any) -> None:
    found = configured(django_app_web_max_requests=500)
    assert (found["worker_class"], found["worker_tmp_dir"], found["max_requests_jitter"]) == ("gthread", "/dev/shm", 50)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_request": 5}, "max_request is no setting"),
        ({"bind": "0.0.0.0:80"}, "django_app_bind"),
        ({"graceful_timeout": 5}, "django_app_web_timeout"),
        ({"pidfile": "/run/x"}, "systemd"),
        ({"post_fork": "print"}, "django_app_gunicorn_config"),
        ({"max_requests_jitter": "50"}, "write a whole number"),
        ({"max_requests_jitter": True}, "write a whole number"),
        ({"preload_app": 1}, "write true or false"),
        ({"logconfig_dict": []}, "write a dict"),
        ({"worker_tmp_dir": None}, "write text"),
        ({"http_parser": "fast"}, "locked 23.0.0"),
    ],
)
def test_a_setting_that_would_have_no_effect_is_refused_by_name(settings: dict[str, Any], words: str) -> None:
    (sentence,) = gunicorn.settings_problems("django_app_gunicorn_settings", settings, "23.0.0")
    assert sentence.startswith(f"django_app_gunicorn_settings: {next(iter(settings))} ")
    assert words in sentence


def test_settings_that_gunicorn_knows_pass() -> None:
    good = {"max_requests_jitter": 50, "worker_tmp_dir": "/dev/shm", "preload_app": True, "http_parser": "fast"}
    assert gunicorn.settings_problems("django_app_gunicorn_settings", good) == []
    assert gunicorn.settings_problems("django_app_gunicorn_settings", {"header_map": "drop"}, "22.0.0") == []


def test_a_value_is_written_as_python_reads_it() -> None:
    value = {"a": [True, None, 1.5, "it's \"\\ünïcode\n"]}
    assert eval(gunicorn.python_literal(value)) == json.loads(json.dumps(value))  # noqa: S307  what is under test wrote it
