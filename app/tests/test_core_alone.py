"""`core` is taken home: it knows nothing of the shop, and works in a project that is no shop."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from core import broker
from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver

from tests.conftest import wait_until

APP = Path(__file__).resolve().parent.parent
CORE = sorted(path for path in (APP / "core").rglob("*") if path.suffix in (".py", ".html"))
THE_SHOP = {app for app in settings.INSTALLED_APPS if (APP / app).is_dir()} - {"core"} | {"config", "gateway", "tests"}


def names_of_views(patterns: list[URLPattern | URLResolver], module: str = "") -> Iterator[str]:
    """The names of the shop's views."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            name = getattr(pattern.urlconf_name, "__name__", "")
            if name.partition(".")[0] in THE_SHOP:
                yield from names_of_views(pattern.url_patterns)
        elif pattern.name:
            yield pattern.name


def test_core_imports_nothing_of_the_shop() -> None:
    found = set()
    for path in CORE:
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add(node.module or "")
    assert {"django.db", "core.models"} < found
    assert {name for name in found if name.partition(".")[0] in THE_SHOP} == set()


def test_core_names_neither_apps_nor_views_nor_tasks_nor_queues_of_the_shop() -> None:
    views = set(names_of_views(get_resolver().url_patterns))
    queues = set(broker.queue_names())
    assert len(THE_SHOP) == 10
    assert {"home", "order", "login"} <= views
    assert {"critical", "sweep"} <= queues
    apps = re.compile(rf"\b({'|'.join(THE_SHOP - {'tests'})})\b")
    quoted = re.compile(rf"""(["'])({"|".join(views | queues - {"default"})})\1""")
    mentioned = {
        (path.name, found[0]) for path in CORE for name in (apps, quoted) for found in name.finditer(path.read_text())
    }
    assert mentioned == set()


class Bakery:
    """A copy of `core` and of the smallest project that uses it, on a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for source in ("core", "tests/bakery"):
            shutil.copytree(APP / source, folder / Path(source).name, ignore=shutil.ignore_patterns("__pycache__"))
        self.redis_url = settings.CELERY["broker_url"].removesuffix("/1") + "/7"
        # Nothing else of this process's environment: the settings of the shop shall not help.
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DJANGO_SETTINGS_MODULE": "bakery.settings",
            "SECRET_KEY": settings.SECRET_KEY,
            "DATABASE_PORT": str(urlsplit(os.environ["DATABASE_URL"]).port),
            "REDIS_URL": self.redis_url,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs python with the arguments."""
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "django", *arguments)

    def tell(self, program: str) -> str:
        """What a program says that runs in the project."""
        result = self.run("-c", f"import django; django.setup()\n{program}")
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()


@pytest.fixture(scope="module")
def bakery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bakery]:
    found = Bakery(tmp_path_factory.mktemp("alone"))
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute("CREATE DATABASE bakery")
        for command in (["makemigrations", "bakery"], ["migrate"]):
            result = found.manage(*command)
            assert result.returncode == 0, result.stderr
        yield found
        server.execute("DROP DATABASE bakery WITH (FORCE)")
    redis.Redis.from_url(found.redis_url).flushdb()


ORDER = """
from core import broker
from django.db import transaction
from bakery.services import order_loaf
with transaction.atomic():
    order_loaf()
    print(broker.queue_lengths()["ovens"])
print(broker.queue_lengths()["ovens"])
"""
SWEEP = """
from celery import current_app
from bakery.models import Loaf
current_app.send_task("core.tasks.resend_stuck_work")
loaf = Loaf.objects.get()
print(loaf.state, loaf.sends > 0)
"""
RUNS = """
from core.models import TaskRun
print(*sorted(set(TaskRun.objects.values_list("name", "queue", "state"))))
"""


def test_a_project_of_its_own_finishes_a_row_whose_message_was_lost(bakery: Bakery) -> None:
    assert bakery.tell(ORDER).split() == ["0", "1"], "the message is sent on commit, and not before"
    assert redis.Redis.from_url(bakery.redis_url).delete("ovens") == 1
    command = [sys.executable, "-m", "celery", "-A", "bakery", "worker", "--queues=ovens,chores", "--loglevel=ERROR"]
    worker = subprocess.Popen(command, cwd=bakery.folder, env=bakery.environment, start_new_session=True)
    try:
        wait_until(lambda: bakery.tell(SWEEP) == "baked True", timeout=60)
        wait_until(lambda: "('bakery.tasks.bake', 'ovens', 'SUCCESS')" in bakery.tell(RUNS))
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def test_the_pages_of_core_need_nothing_of_the_shop(bakery: Bakery) -> None:
    program = """
from django.contrib.auth.models import User
from django.test import Client
site = Client()
site.force_login(User.objects.create_superuser("root"))
print(*(site.get(page).status_code for page in ("/healthz", "/readyz", "/metrics", "/tasks/", "/admin/bakery/loaf/")))
from django.conf import settings
from core.conf import DEFAULTS
print(*(name for name in DEFAULTS if hasattr(settings, name)))
"""
    assert bakery.tell(program).splitlines() == ["200 200 200 200 200", "WORK_DEADLINE"]


def test_a_project_that_lacks_something_is_told_what(bakery: Bakery) -> None:
    assert bakery.manage("check").returncode == 0
    result = bakery.manage("ensure_schedules")
    assert result.returncode != 0
    assert "INSTALLED_APPS" in result.stderr
    (bakery.folder / "lacking.py").write_text("from bakery.settings import *\n")
    project = (bakery.folder / "bakery/__init__.py").read_text()
    models = (bakery.folder / "bakery/models.py").read_text()
    (bakery.folder / "bakery/__init__.py").write_text("")
    lame = models.replace('"bakery.tasks.bake"', '"bakery.tasks.fry"').replace("NEEDS_ATTENTION = NEEDS_ATTENTION", "")
    lame = re.sub(r"indexes = .*", "verbose_name = 'loaf'", lame)
    (bakery.folder / "bakery/models.py").write_text(lame)
    result = bakery.manage("check")
    (bakery.folder / "bakery/__init__.py").write_text(project)
    (bakery.folder / "bakery/models.py").write_text(models)
    assert result.returncode != 0
    for word in ("broker_url", "`task`", "NEEDS_ATTENTION", "sweep_index"):
        assert word in result.stderr
