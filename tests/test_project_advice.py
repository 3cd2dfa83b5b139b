"""A project that does not start says which variable to set, and where."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.advice import project_advice


def failed(text: str, tmp_path: Path) -> str:
    """What Python says of a settings module with this text."""
    (tmp_path / "live.py").write_text(text)
    run = subprocess.run(
        [sys.executable, "-c", "import live"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    return run.stderr


@pytest.mark.parametrize(
    ("settings", "begins"),
    [
        (
            "import os\nKEY = os.environ['SHOP_KEY']\n",
            "app_environment: the project needs SHOP_KEY, which it is not given",
        ),
        ("import shop_themes\n", "django_app_requirements: the project imports shop_themes"),
        ("import live.secrets\n", "django_app_settings_module is live.secrets"),
        ("raise ValueError('postgres://shop:hunter2hunter2@db/shop')\n", "The running site was not touched"),
    ],
)
def test_what_python_says_is_told_by_the_variable(tmp_path: Path, settings: str, begins: str) -> None:
    said = project_advice(failed(settings, tmp_path), "live.secrets")
    assert said.startswith(begins)
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("said", "variable", "named"),
    [
        (
            "django.core.exceptions.ImproperlyConfigured: Set the SHOP_URL environment variable",
            "app_environment",
            "SHOP_URL",
        ),
        ('environs.exceptions.EnvError: Environment variable "SHOP_URL" not set', "app_environment", "SHOP_URL"),
        ("decouple.UndefinedValueError: SHOP_URL not found. Declare it as envvar.", "app_environment", "SHOP_URL"),
        ("1 validation error for Settings\nshop_url\n  Field required [type=missing]", "app_environment", "shop_url"),
        ("ImproperlyConfigured: The SECRET_KEY setting must not be empty.", "app_connections", "SECRET_KEY"),
        ("ImproperlyConfigured: settings.DATABASES is improperly configured.", "app_connections", "DATABASE_URL"),
        (
            "SystemCheckError: System check identified some issues:",
            "django_app_check_commands",
            "checks find a mistake",
        ),
    ],
)
def test_what_libraries_say_is_told_by_the_variable(said: str, variable: str, named: str) -> None:
    told = project_advice(said, "shop.settings")
    assert told.startswith(f"{variable}: ")
    assert named in told.splitlines()[0]


def test_only_the_end_of_a_long_answer_is_shown() -> None:
    assert project_advice("\n".join(map(str, range(1000))), "shop.settings").count("\n") < 20
