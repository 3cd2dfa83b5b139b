"""What OUTBOX.md shows is the code, which other tests run; what it names exists."""

import re
from pathlib import Path

import pytest
from celery import current_app
from core import admin, conf, models, outbox
from django.core.management import get_commands

APP = Path(__file__).resolve().parent.parent
PAGE = (APP / "OUTBOX.md").read_text()
EXAMPLES = re.findall(r"^`([^`]+)`\n```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
# Of Django, Celery and the index of packages.
OTHERS = {"INSTALLED_APPS", "celery", "django-htmx", "django-stubs-ext", "prometheus-client", "django_celery_beat"}


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
