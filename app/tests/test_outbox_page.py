"""What OUTBOX.md shows is the code, which other tests run; what it names exists."""

import ast
import re
import sys
from pathlib import Path

import pytest
from celery import current_app
from core import admin, conf, models, outbox
from django.core.management import get_commands

APP = Path(__file__).resolve().parent.parent
PAGE = (APP / "OUTBOX.md").read_text()
EXAMPLES = re.findall(r"^`([^`]+)`\n```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
# Of Django, Celery and the index of packages.
PACKAGES = {
    "celery",
    "django-guid",
    "django-htmx",
    "django-stubs-ext",
    "prometheus-client",
    "python-json-logger",
    "redis",
}
OTHERS = PACKAGES | {"INSTALLED_APPS", "django_celery_beat", 'task_cls="core.tracing:TracedTask"'}
# What comes with Django and Celery, what is imported only where it is installed, and a package of another name.
WITH_OTHERS = {"core", "django", "amqp", "kombu", "billiard", "django_celery_beat", "django_celery_results"}


def test_the_packages_that_core_imports_are_those_that_the_page_asks_for() -> None:
    imported = {
        name.partition(".")[0]
        for path in (APP / "core").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    needed = imported - WITH_OTHERS - set(sys.stdlib_module_names) - {"pythonjsonlogger"} | {"python_json_logger"}
    assert {name.replace("_", "-") for name in needed} == PACKAGES
    assert {name for name in PACKAGES if f"`{name}`" in PAGE} == PACKAGES


@pytest.mark.parametrize(("path", "example"), EXAMPLES, ids=[path for path, _ in EXAMPLES])
def test_an_example_stands_in_the_code(path: str, example: str) -> None:
    code = re.sub(r"  # type: .*", "", (APP / path).read_text())
    assert example in code


def test_every_example_says_where_it_stands() -> None:
    assert PAGE.count("```") == 2 * len(EXAMPLES) == 8


def test_every_name_exists() -> None:
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    names = set(re.findall(r"`([^`\n]+)`", prose)) - OTHERS
    assert len(names) > 20

    def exists(name: str) -> bool:
        if name.startswith("manage.py "):
            return name.split()[1] in get_commands()
        return (
            (APP / name).exists()
            or name in current_app.tasks
            or name in current_app.conf
            or name in {*dir(models.OutboxRow), *dir(models), *dir(outbox), *dir(admin), *conf.DEFAULTS}
            or name in {field.name for field in models.OutboxRow._meta.fields} | {models.NEEDS_ATTENTION[0], "state"}
            or name in dir(current_app.Task)
        )

    assert {name for name in names if not exists(name)} == set()


def test_it_is_a_page() -> None:
    assert len(PAGE.splitlines()) < 80
