"""What the role django_app refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.stockpot.stack.plugins.plugin_utils.rules.django_app import problems

ROLE = Path(__file__).resolve().parent.parent / "roles/django_app"


def given(**changes: Any) -> dict[str, Any]:
    """The role's defaults and what it cannot do without, with changes."""
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    return {
        **defaults,
        "django_app_name": "library",
        "django_app_source": "/srv/library",
        "django_app_settings_module": "library.configuration",
        "django_app_wsgi": "library.server:site",
        "django_app_bind": "/run/library/web.sock",
        "inventory_hostname": "server-1",
        "ansible_facts": {},
        **changes,
    }


FROM_GIT = {
    "archive": "/cache/x.tar.gz",
    "digest": "x",
    "sources": [f"shelf @ git+https://example.com/shelf@{'a1' * 20}"],
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"django_app_bind": "10.0.0.5:8000"},
        {"django_app_bind": "[::1]:8000"},
        {"django_app_wsgi": "library.server:make_site()"},
        {"django_app_wsgi": "server:site", "django_app_settings_module": "settings"},
        {"django_app_static_root": "", "django_app_requirements": "locks/production.txt"},
        {"django_app_requirements": ["../pylock.toml", "requirements/base.txt"], "django_app_subdirectory": "src/shop"},
        {"django_app_requirements": "poetry.lock", "django_app_overlay": ["gunicorn>=23", "psycopg[binary]"]},
        {"django_app_index_url": "https://me:hunter2@packages.example.com/simple"},
        {"django_app_python": "3.12"},
        {"django_app_python": "3.12.4", "django_app_python_mirror": "https://mirror.example.com/python"},
        {"django_app_python": "/opt/python3.13/bin/python3"},
        {"django_app_archive": {**FROM_GIT}, "django_app_packages": ["git"]},
        {"django_app_static_root": "build/../static"},
        {"django_app_build_commands": [["make"], {"command": ["npm", "ci"], "directory": "../frontend"}]},
        {"django_app_subdirectory": "."},
        {"django_app_media_root": "/srv/library/covers.d/"},
        {"django_app_web_max_requests": 0},
        {"django_app_media_root": "/srv/library/shared/media", "django_app_shared_paths": ["media"]},
        {
            "django_app_once_commands": [["createsuperuser", "--noinput"]],
            "django_app_host_release_commands": [["warm"]],
        },
        {
            "django_app_host_build_commands": [
                ["python", "manage.py", "compress"],
                {"command": ["make"], "directory": "a"},
            ]
        },
        {"django_app_check_commands": [], "django_app_release_commands": [["loaddata", "--verbosity", 0, "a b.json"]]},
        {"django_app_database": "postgresql://library@10.0.0.5:5432/library"},
        {"django_app_archive": {"archive": "/cache/x.tar.gz", "digest": "x", "commit": "", "problems": []}},
        {"django_app_asgi": "library.asgi:site"},
        {"django_app_asgi": "library.asgi:site", "django_app_wsgi": ""},
        {"django_app_web_command": ["uvicorn", "--fd", "3", "library.asgi:site"], "django_app_wsgi": ""},
        {"django_app_gunicorn_settings": {"keepalive": 5}, "django_app_gunicorn_config": "deploy/gunicorn.py"},
        {"django_app_manage": ["python", "-m", "django"]},
        {"django_app_manage": ["library"]},
    ],
)
def test_what_works_passes(changes: dict[str, Any]) -> None:
    assert problems(given(**changes)) == []


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("django_app_name", "My App", "lower-case"),
        ("django_app_name", "9lives", "letter first"),
        ("django_app_name", "a" * 26, "25"),
        ("django_app_settings_module", "library/configuration.py", "config.settings"),
        ("django_app_wsgi", "library.server", "module:callable"),
        ("django_app_wsgi", "library/server.py:site", "module:callable"),
        ("django_app_wsgi", "", "django_app_asgi"),
        ("django_app_asgi", "library.asgi", "module:callable"),
        ("django_app_web_command", ["uvicorn --fd 3"], "list of words"),
        ("django_app_web_command", ["--fd", "3"], "list of words"),
        ("django_app_gunicorn_settings", {"workers": 3}, "django_app_web_workers"),
        ("django_app_gunicorn_config", "../gunicorn.conf.py", "inside"),
        ("django_app_gunicorn_config", "deploy/gunicorn.toml", "Python file"),
        ("django_app_manage", [], "-m, django"),
        ("django_app_manage", ["python manage.py"], "-m, django"),
        ("django_app_bind", "run/web.sock", "absolute path or address:port"),
        ("django_app_bind", "/run/my site/web.sock", "absolute path or address:port"),
        ("django_app_bind", "localhost:8000", "absolute path or address:port"),
        ("django_app_bind", "127.0.0.1:80000", "absolute path or address:port"),
        ("django_app_static_root", "/var/www/static", "inside"),
        ("django_app_static_root", "../static", "inside"),
        ("django_app_static_root", "static/../..", "inside"),
        ("django_app_static_root", ".", "inside"),
        ("django_app_requirements", "/etc/requirements.txt", "inside"),
        ("django_app_requirements", "../requirements.txt", "inside"),
        ("django_app_requirements", "", "uv.lock"),
        ("django_app_requirements", [], "uv.lock"),
        ("django_app_requirements", {"a": 1}, "list of names"),
        ("django_app_requirements", "environment.yml", "no kind"),
        ("django_app_requirements", ["requirements.txt", "Pipfile"], "Pipfile is of no kind"),
        ("django_app_build_commands", ["npm ci"], "{command: [npm, ci], directory: frontend}"),
        ("django_app_overlay", ["gunicorn >= "], "no requirement"),
        ("django_app_lock", "requirements.txt", "absolute path"),
        ("django_app_index_url", "packages.example.com", "no URL"),
        ("django_app_extra_index_urls", ["ftp://packages.example.com"], "no URL"),
        ("django_app_python", "3.1", "in quotes"),
        ("django_app_python", "python3.12", "in quotes"),
        ("django_app_python", "3.99", "3.14"),
        ("django_app_python_mirror", "/srv/mirror", "file:///"),
        ("django_app_subdirectory", "/backend", "inside"),
        ("django_app_subdirectory", "backend/../..", "inside"),
        ("django_app_media_root", "media", "absolute"),
        ("django_app_media_root", "/srv/../etc", "absolute"),
        ("django_app_media_root", "/", "absolute"),
        ("django_app_media_root", "/srv/my media", "spaces"),
        ("django_app_media_root", "/srv/library", "nobody outside"),
        ("django_app_media_root", "/etc/library", "nobody outside"),
        ("django_app_media_root", "/srv/other/current/source/media", "gone with the release"),
        ("django_app_media_root", "/srv/library/current/source/media", "gone with the release"),
        ("django_app_check_commands", ["check --deploy"], "list of words"),
        ("django_app_once_commands", ["createsuperuser --noinput"], "list of words"),
        ("django_app_host_release_commands", [["/bin/true"]], "list of words"),
        ("django_app_host_build_commands", ["npm ci"], "{command: [npm, ci], directory: frontend}"),
        ("django_app_shared_paths", ["../exports"], "inside the project"),
        ("django_app_files", [{"path": "../key", "content": ""}], "relative to manage.py"),
        ("django_app_media_root", "/srv/library/shared", "nobody outside"),
        ("django_app_media_root", "/srv/other/shared/media", "another application"),
        ("django_app_check_commands", [["check --deploy"]], "list of words"),
        ("django_app_check_commands", [[]], "list of words"),
        ("django_app_release_commands", [["loaddata", None]], "list of words"),
        ("django_app_release_commands", [["--version"]], "list of words"),
        ("django_app_keep_releases", 0, "at least 1"),
        ("django_app_web_workers", 0, "at least 1"),
        ("django_app_web_threads", -1, "at least 1"),
        ("django_app_web_timeout", 0, "at least 1"),
        ("django_app_web_max_requests", -1, "at least 0"),
        ("django_app_environment", {"LIBRARY_KEY": "a\0b"}, "base64"),
        ("django_app_web_environment", {"A": True}, "in quotes"),
        ("django_app_manage_environment", {"A-B": "1"}, "no name"),
        ("django_app_archive", {"skipped": True}, "project_archive"),
    ],
)
def test_a_mistake_gives_one_sentence_with_its_variable_and_the_fix(variable: str, value: Any, word: str) -> None:
    (sentence,) = problems(given(**{variable: value}))
    assert sentence.startswith(variable)
    assert word in sentence


@pytest.mark.parametrize(
    ("variable", "value", "beside"),
    [
        ("django_app_web_threads", 8, {"django_app_asgi": "library.asgi:site"}),
        ("django_app_web_threads", 8, {"django_app_web_command": ["granian"]}),
        ("django_app_web_workers", 8, {"django_app_web_command": ["granian"]}),
        ("django_app_gunicorn_settings", {"keepalive": 5}, {"django_app_web_command": ["granian"]}),
        ("django_app_gunicorn_config", "gunicorn.py", {"django_app_web_command": ["granian"]}),
        ("django_app_asgi", "library.asgi:site", {"django_app_web_command": ["granian"]}),
    ],
)
def test_what_the_server_takes_no_notice_of_is_refused(variable: str, value: Any, beside: dict[str, Any]) -> None:
    (sentence,) = problems(given(**{variable: value}, **beside))
    assert sentence.startswith(variable)
    assert "has no effect beside" in sentence
    assert "take" in sentence


def test_a_setting_that_the_locked_gunicorn_does_not_know_is_refused() -> None:
    archive = {"archive": "/cache/x.tar.gz", "digest": "x", "versions": {"gunicorn": "23.0.0"}}
    (sentence,) = problems(given(django_app_archive=archive, django_app_gunicorn_settings={"http_parser": "fast"}))
    assert sentence.startswith("django_app_gunicorn_settings: http_parser came with gunicorn 26")


def test_a_password_in_the_databases_address_is_refused_and_not_repeated() -> None:
    (sentence,) = problems(given(django_app_database="postgresql://library:hunter2@10.0.0.5/library"))
    assert sentence.startswith("django_app_database holds a password")
    assert "hunter2" not in sentence


def test_what_packing_found_is_told_once_with_the_rest() -> None:
    outside = problems(given(django_app_subdirectory=".."))
    packed = {"archive": "", "problems": [*outside, "django_app_version is empty."]}
    found = problems(given(django_app_subdirectory="..", django_app_name="X", django_app_archive=packed))
    assert sorted(sentence.split(" ")[0].rstrip(":") for sentence in found) == [
        "django_app_name",
        "django_app_subdirectory",
        "django_app_version",
    ]


def test_a_package_from_a_repository_needs_git_on_the_servers() -> None:
    (sentence,) = problems(given(django_app_archive=FROM_GIT))
    assert sentence.startswith(
        "django_app_packages has to hold git: servers fetch shelf @ git+https://example.com/shelf@"
    )


def test_an_index_s_address_is_never_shown() -> None:
    for variable, value in (("django_app_index_url", "hunter2@x"), ("django_app_extra_index_urls", ["x:hunter2"])):
        (sentence,) = problems(given(**{variable: value}))
        assert "hunter2" not in sentence
