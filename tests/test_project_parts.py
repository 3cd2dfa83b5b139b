"""What an operator names of a project is held against its files, and nothing of it is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.archive import Entry, entries_of_folder
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.parts import Parts, part_problems

ROOT = Path(__file__).resolve().parent.parent
PROJECT = {
    "manage.py": "",
    "shop/__init__.py": "",
    "shop/settings/__init__.py": "",
    "shop/settings/base.py": "INSTALLED_APPS = []\nSTATIC_ROOT = 'static'\n",
    "shop/settings/production.py": "from .base import *\n",
    "shop/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    "shop/asgi.py": "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
    "shop/celeryapp.py": "from celery import Celery\nqueue = Celery('shop')\n",
    "shop/tests/settings.py": "INSTALLED_APPS = []\n",
}


def problems(files: dict[str, str], **named: str) -> list[str]:
    """What is said of these files."""
    return part_problems({name: Entry(text.encode()) for name, text in files.items()}, Parts(**named))


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"settings": "shop.settings.production", "static_root": "static"},
        {"settings": "shop.settings"},
        {"wsgi": "shop.wsgi:application", "asgi": "shop.asgi:application"},
        {"celery": "shop.celeryapp"},
        {"celery": "shop.celeryapp:queue"},
        {"celery": "shop.celeryapp.queue"},
    ],
)
def test_what_the_project_holds_is_right(named: dict[str, str]) -> None:
    assert problems(PROJECT, **named) == []


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            {"settings": "shop.settings.live"},
            "django_app_settings_module is shop.settings.live, but the project has no module shop.settings.live. "
            "It has shop.settings.base, shop.settings.production.",
        ),
        ({"settings": "config.settings"}, "It has shop.settings.base, shop.settings.production."),
        ({"wsgi": "config.wsgi:application"}, "the project has no module config.wsgi. It has shop.wsgi:application."),
        ({"wsgi": "shop.wsgi:app"}, "shop.wsgi has no app. It has shop.wsgi:application."),
        ({"asgi": "shop.asgi:app"}, "django_app_asgi is shop.asgi:app, but shop.asgi has no app."),
        ({"celery": "config"}, "celery_app is config, but the project has no module config. It has shop.celeryapp."),
        ({"celery": "shop"}, "celery_app is shop, but shop holds no Celery app. It has shop.celeryapp."),
        ({"celery": "shop.celeryapp:app"}, "shop.celeryapp has no app."),
        ({"celery": "shop.celery"}, "the project has no module shop.celery. It has shop.celeryapp."),
    ],
)
def test_what_it_does_not_hold_is_refused_with_what_it_has(named: dict[str, str], said: str) -> None:
    found = problems(PROJECT, **named)
    assert len(found) == 1
    assert said in found[0]


def test_a_module_of_an_installed_package_is_not_looked_for() -> None:
    """Only the build knows what packages hold; refused is what the source answers for."""
    bare = {"README": ""}
    assert problems(bare, settings="parcel.settings", wsgi="parcel.wsgi:application", celery="parcel.celery") == []


def test_a_package_below_src_is_the_projects_own() -> None:
    files = {f"src/{name}": text for name, text in PROJECT.items()}
    assert problems(files, settings="shop.settings.production", celery="shop.celeryapp") == []
    assert problems(files, settings="shop.settings.live") != []


def test_static_files_need_a_setting_to_be_collected() -> None:
    files = {**PROJECT, "shop/settings/base.py": "INSTALLED_APPS = []\n"}
    said = problems(files, settings="shop.settings.production", static_root="static")
    assert len(said) == 1
    assert said[0].startswith("django_app_static_root is static, but no module of the project sets STATIC_ROOT")
    assert problems(files, settings="shop.settings.production") == []


@pytest.mark.parametrize(
    "text",
    [
        "from framework import *\n",
        "def __getattr__(name): ...\n",
        "globals().update(load())\n",
        "this is a template {{\n",
    ],
)
def test_what_only_running_would_tell_is_not_refused(text: str) -> None:
    files = {**PROJECT, "shop/wsgi.py": text, "shop/settings/base.py": f"INSTALLED_APPS = []\n{text}"}
    assert problems(files, wsgi="shop.wsgi:application", settings="shop.settings.base", static_root="static") == []


@pytest.mark.parametrize(
    "text",
    [
        "if True:\n    application = 1\n",
        "try:\n    from shop.other import application\nexcept ImportError:\n    raise\n",
    ],
)
def test_a_name_in_a_branch_is_a_name(text: str) -> None:
    assert problems({**PROJECT, "shop/wsgi.py": text}, wsgi="shop.wsgi:application") == []


def test_a_name_inside_a_function_is_none() -> None:
    files = {**PROJECT, "shop/wsgi.py": "def make():\n    application = 1\n    return application\n"}
    assert len(problems(files, wsgi="shop.wsgi:application")) == 1


def test_the_reference_application_is_right(tmp_path: Path) -> None:
    (tmp_path / "empty.git").mkdir()
    named = Parts("config.settings", "config.wsgi:application", "", "config", "staticfiles")
    assert part_problems(entries_of_folder(ROOT / "app", tmp_path), named) == []
