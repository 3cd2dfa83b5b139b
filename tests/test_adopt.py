"""`make adopt` and `make environment`: what is read of a project, what is written, and what is refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.stockpot.stack.plugins.plugin_utils import preflight
from ansible_collections.stockpot.stack.plugins.plugin_utils.adopt import FOUND, GUESS, OPEN, Adopted, adopt
from ansible_collections.stockpot.stack.plugins.plugin_utils.adopt import environment as write_environment
from ansible_collections.stockpot.stack.plugins.plugin_utils.adopt.project import NoProject
from ansible_collections.stockpot.stack.plugins.plugin_utils.adopt.writing import EnvironmentRefused, scalar
from ansible_collections.stockpot.stack.plugins.plugin_utils.project.source import ProjectError

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "molecule/projects/sources"
FACTS = {
    "distribution": "Debian",
    "distribution_major_version": "13",
    "memtotal_mb": 3750,
    "nodename": "server-1",
    "default_ipv4": {"address": "10.0.0.5"},
    "virtualization_tech_guest": [],
    "python": {"version": {"major": 3, "minor": 13}},
}
SECRETS = re.findall(r"vault_[a-z_]+", (ROOT / "group_vars/all/secrets.yml").read_text())
HOSTS = "{{ (site_names + ['localhost', '127.0.0.1'] + ([] if web_on_socket else [private_address])) | unique | join('%s') }}"
ORIGINS = "{{ site_origins | join(',') }}"
DATABASE = {
    "NAME": "{{ postgresql_database }}",
    "USER": "{{ postgresql_user }}",
    "PASSWORD": "{{ postgresql_password }}",
    "HOST": "{{ postgresql_address }}",
    "PORT": "{{ postgresql_port }}",
}
KINDS = (
    *("accession", "binding", "classification", "cover", "duplicate", "fee", "index", "interloan"),
    *("label", "purchase", "reminder", "reservation"),
)
# What the six example projects are, value by value.
PROJECTS: dict[str, dict[str, Any]] = {
    "ledger": {
        "django_app_settings_module": "ledger.settings",
        "django_app_wsgi": "ledger.wsgi:application",
        "celery_app": "ledger.celeryapp:application",
        "django_app_requirements": "requirements.txt",
        "django_app_static_root": "public/static",
        "django_app_media_root": "",
        "redis_celery_key_prefix": "",
        "celery_workers": [{"name": "default", "queues": ["ledger", "statements"]}],
        "celery_beat_scheduler": "celery.beat:PersistentScheduler",
        "app_connections": {
            "SECRET_KEY": "{{ app_secret_key }}",
            "ALLOWED_HOSTS": HOSTS % ",",
            **{f"DB_{key}": value for key, value in DATABASE.items()},
            "BROKER_URL": "{{ broker_url }}",
            "RESULT_BACKEND": "{{ result_backend_url }}",
        },
    },
    "chat": {
        "django_app_settings_module": "chat.settings",
        "django_app_asgi": "chat.asgi:application",
        "celery_app": "chat",
        "redis_celery_extra_commands": ["+eval", "+bzpopmin", "+zpopmin", "+zremrangebyscore"],
        "django_app_requirements": "pyproject.toml",
        "django_app_static_root": "static_collected",
        "celery_workers": [{"name": "default", "queues": ["celery"]}],
        "app_connections": {
            "SECRET_KEY": "{{ app_secret_key }}",
            "ALLOWED_HOSTS": HOSTS % ",",
            "DATABASE_URL": "{{ database_url }}",
            "CELERY_BROKER_URL": "{{ broker_url }}",
            "REDIS_URL": "{{ broker_url }}",
        },
    },
    "gallery": {
        "django_app_subdirectory": "backend",
        "django_app_settings_module": "config.settings",
        "django_app_wsgi": "config.wsgi:application",
        "celery_app": "config",
        "django_app_requirements": "poetry.lock",
        "django_app_packages": ["fonts-dejavu-core"],
        "django_app_build_commands": [
            {"command": ["npm", "ci"], "directory": "../frontend"},
            {"command": ["npm", "run", "build"], "directory": "../frontend"},
        ],
        "django_app_static_root": "collected",
        "django_app_media_root": "/srv/{{ app_name }}/media",
        "redis_cache_key_prefix": "",
        "django_app_web_workers": 2,
        "celery_workers": [{"name": "worker", "queues": ["celery", "thumbnails"], "concurrency": 1}],
        "app_connections": {
            "DJANGO_SECRET_KEY": "{{ app_secret_key }}",
            "DJANGO_ALLOWED_HOSTS": HOSTS % ",",
            "DJANGO_CSRF_TRUSTED_ORIGINS": ORIGINS,
            "DATABASE_URL": "{{ database_url }}",
            "CACHE_URL": "{{ cache_url }}",
            "CELERY_BROKER_URL": "{{ broker_url }}",
            "CELERY_RESULT_BACKEND": "{{ result_backend_url }}",
            "MEDIA_ROOT": "{{ django_app_media_root }}",
        },
    },
    "library": {
        "django_app_settings_module": "library.settings.production",
        "django_app_wsgi": "library.wsgi:application",
        "celery_app": "library",
        "django_app_requirements": "requirements/production.txt",
        "django_app_static_root": "public",
        "django_app_shared_paths": ["exports"],
        "django_app_host_build_commands": [["python", "manage.py", "compile_themes"]],
        "postgresql_extensions": ["pg_trgm"],
        "redis_celery_key_prefix": "",
        "redis_cache_key_prefix": "",
        "celery_environment": {"DJANGO_SETTINGS_MODULE": "library.settings.worker"},
        "celery_beat_scheduler": "django_celery_beat.schedulers:DatabaseScheduler",
        "celery_workers": [
            {"name": "default", "queues": ["library", "export", *KINDS], "pool": "threads", "concurrency": 4}
        ],
        "app_connections": {
            "SECRET_KEY": "{{ app_secret_key }}",
            "ALLOWED_HOSTS": HOSTS % ",",
            "CSRF_TRUSTED_ORIGINS": ORIGINS,
            **{f"POSTGRES_{'DB' if key == 'NAME' else key}": value for key, value in DATABASE.items()},
            "REDIS_URL": "{{ broker_url }}",
        },
    },
    "meters": {
        "django_app_settings_module": "config.settings",
        "django_app_wsgi": "config.wsgi:application",
        "celery_app": "config.queue:queue",
        "django_app_requirements": ["requirements.txt", "requirements-private.txt"],
        "django_app_release_commands": [["createcachetable"]],
        "django_app_static_root": "static",
        "celery_workers": [{"name": "default", "queues": ["telegrams"]}],
        "app_connections": {
            "SECRET_KEY": "{{ app_secret_key }}",
            "ALLOWED_HOSTS": HOSTS % ",",
            "TRUSTED_ORIGINS": ORIGINS,
            "DB_URL": "{{ database_url }}",
            "BROKER": "{{ broker_url }}",
            "RESULTS": "{{ result_backend_url }}",
        },
    },
    "parcel": {
        "django_app_manage": ["parcel"],
        "django_app_install_project": True,
        "django_app_settings_module": "parcel.settings",
        "django_app_wsgi": "parcel.web:application",
        "celery_app": "parcel.jobs:jobs",
        "django_app_requirements": "pyproject.toml",
        "django_app_extras": ["postgresql"],
        "django_app_static_root": "",
        "celery_workers": [{"name": "default", "queues": ["parcel"]}],
        "app_connections": {
            "PARCEL_SECRET": "{{ app_secret_key }}",
            "PARCEL_HOSTS": HOSTS % " ",
            "PARCEL_DATABASE": "{{ database_url }}",
            "PARCEL_BROKER": "{{ broker_url }}",
        },
    },
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout's folders with the settings of all environments, in which an environment is written."""
    root = tmp_path / "checkout"
    (root / "inventories").mkdir(parents=True)
    (root / "group_vars").mkdir()
    (root / "group_vars/all").symlink_to(ROOT / "group_vars/all")
    return root


def adopted(checkout: Path, source: Path, name: str = "shop") -> tuple[dict[str, Any], Adopted]:
    """The variables that are written for a project, and what is told of them."""
    told = adopt(checkout, name, source=str(source), cache=checkout / "cache")
    return yaml.safe_load((checkout / f"group_vars/{name}/main.yml").read_text()), told


def project(folder: Path, **files: str) -> Path:
    """A small project: manage.py, settings that a test adds to, WSGI and Celery; `files` by name, `__` for a slash and no `.py`."""
    written = {
        "manage.py": "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"
        "from django.core.management import execute_from_command_line\nexecute_from_command_line()\n",
        "shop/__init__.py": "",
        "shop/settings.py": "SECRET_KEY = 'x'\n",
        "shop/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
        "shop/celery.py": "from celery import Celery\napp = Celery('shop')\n"
        "app.config_from_object('django.conf:settings', namespace='CELERY')\n",
        "requirements.txt": "django==5.2.1\ncelery[redis]==5.6.0\n",
    }
    written |= {
        (name if "." in name or name[0].isupper() else f"{name.replace('__', '/')}.py"): text
        for name, text in files.items()
    }
    for name, text in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def problems_of(checkout: Path, name: str) -> list[str]:
    """What the preflight says of an environment's server, whose secrets are there."""
    vault = checkout / f"group_vars/{name}/vault.yml"
    vault.write_text(yaml.safe_dump({key: "k3J9-fW2qLmZ0pXv7RtYb1Nc" for key in SECRETS}))
    loader = DataLoader()
    inventory = InventoryManager(loader, sources=[str(checkout / f"inventories/{name}/hosts.yml")])
    manager = VariableManager(loader, inventory)
    HostVars(inventory, manager, loader)
    host = inventory.get_host(f"{name}-1")
    manager.set_host_facts(host.name, FACTS)
    return preflight.look(manager.get_vars(host=host), loader).problems


@pytest.mark.parametrize("name", PROJECTS)
def test_an_example_project_is_read_as_what_it_is(checkout: Path, name: str) -> None:
    written, told = adopted(checkout, SOURCES / name)
    assert {key: written.get(key) for key in PROJECTS[name]} == PROJECTS[name]
    assert written["django_app_source"] == str(SOURCES / name)
    # What the reference application has of its own is nobody else's.
    assert written["django_app_release_commands"] == PROJECTS[name].get("django_app_release_commands", [])
    assert written["app_environment"] == {}
    index = ["django_app_extra_index_urls"] if name == "meters" else []
    assert [value.name for value in told.of(OPEN)] == [*index, "site_names"]


@pytest.mark.parametrize("name", PROJECTS)
def test_the_preflight_takes_an_adopted_project_once_its_open_lines_are_written(checkout: Path, name: str) -> None:
    adopted(checkout, SOURCES / name, name)
    hosts, variables = checkout / f"inventories/{name}/hosts.yml", checkout / f"group_vars/{name}/main.yml"
    said = problems_of(checkout, name)
    assert {problem.split(" ")[0] for problem in said} == {
        *("ansible_host", "site_names"),
        *(["django_app_extra_index_urls"] if name == "meters" else []),
    }
    for problem in said:
        assert " still says FILL_IN: put there " in problem
        assert (
            f"inventories/{name}/hosts.yml" if problem.startswith("ansible_host") else f"group_vars/{name}/main.yml"
        ) in problem
    hosts.write_text(hosts.read_text().replace("FILL_IN", "192.0.2.7"))
    written = re.sub(r'(site_names: )\["FILL_IN.*"\]', r"\1[shop.example.com]", variables.read_text())
    variables.write_text(re.sub(r'(django_app_extra_index_urls: )\["FILL_IN.*"\]', r"\1[]", written))
    assert problems_of(checkout, name) == []


def test_every_value_says_where_it_comes_from(checkout: Path) -> None:
    for name in PROJECTS:
        _, told = adopted(checkout, SOURCES / name, name)
        for state in (FOUND, GUESS, OPEN):
            assert all(value.comment for value in told.of(state) if value.name != "app_environment"), name
        assert all(value.comment.startswith("guess: ") for value in told.of(GUESS))
        lines = (checkout / f"group_vars/{name}/main.yml").read_text().splitlines()
        assert max(map(len, lines)) <= 160


def test_the_reference_application_gives_what_the_repository_ships(checkout: Path) -> None:
    written, _ = adopted(checkout, ROOT / "app")
    shipped = yaml.safe_load((ROOT / "group_vars/all/app.yml").read_text())
    same = (
        *(
            "django_app_settings_module",
            "django_app_wsgi",
            "celery_app",
            "django_app_requirements",
            "django_app_static_root",
        ),
        *("django_app_media_root", "site_health_path"),
    )
    assert {name: written[name] for name in same} == {name: shipped[name] for name in same}
    # What only this application has: how uploads are lent, how lines are logged, with what messages are signed, whom RabbitMQ has
    # to be, and where several Redis are known.
    own = {
        "MEDIA_IS_PRIVATE",
        "LOG_FORMAT",
        "CELERY_SECURITY_KEY",
        "CELERY_SECURITY_CERTIFICATE",
        "CELERY_SECURITY_CERT_STORE",
        "CELERY_BROKER_CA",
        "CELERY_BROKER_TLS_NAME",
        "REDIS_PRIMARY_NAME",
        "REDIS_SENTINEL_PASSWORD",
    }
    assert written["app_connections"] == {
        name: value for name, value in shipped["app_connections"].items() if name not in own
    }
    workers = yaml.safe_load((ROOT / "group_vars/all/celery.yml").read_text())
    assert {queue for worker in written["celery_workers"] for queue in worker["queues"]} == {
        queue for worker in workers["celery_workers"] for queue in worker["queues"]
    }
    assert written["celery_beat_scheduler"] == workers["celery_beat_scheduler"]


# Ways to read a variable, each with what is written for it.
READERS = {
    "os.environ": (
        "import os\nDATABASES = {'default': {'HOST': os.environ['DB_SERVER']}}",
        {"DB_SERVER": "{{ postgresql_address }}"},
    ),
    "a helper of the project": (
        "import os\ndef setting(name, default=None):\n    try:\n        return os.environ[name]\n    except KeyError:\n        return default\n"
        "SECRET_KEY = setting('SALT_OF_SHOP')",
        {"SALT_OF_SHOP": "{{ app_secret_key }}"},
    ),
    "a list for spaces": (
        "from os import environ\nALLOWED_HOSTS = [host for host in environ.get('HOSTS', '').split(' ')]",
        {"HOSTS": HOSTS % " "},
    ),
    "django-environ": (
        "import environ\nenv = environ.Env()\nCACHES = {'default': env.cache('CACHE_AT')}",
        {"CACHE_AT": "{{ cache_url }}"},
    ),
    "environs with a prefix": (
        "from environs import Env\nenv = Env()\nwith env.prefixed('SHOP_'):\n    SECRET_KEY = env('KEY')\nMEDIA_ROOT = env.str('UPLOADS', 'x')",
        {"SHOP_KEY": "{{ app_secret_key }}", "UPLOADS": "{{ django_app_media_root }}"},
    ),
    "decouple and dj-database-url": (
        "from decouple import config\nfrom dj_database_url import parse as db_url\nDATABASES = {'default': config('SQL', cast=db_url)}",
        {"SQL": "{{ database_url }}"},
    ),
    "pydantic-settings": (
        "from pydantic_settings import BaseSettings, SettingsConfigDict\nclass Conf(BaseSettings):\n"
        "    model_config = SettingsConfigDict(env_prefix='shop_')\n    secret: str\n    hosts: list[str]\nconf = Conf()\n"
        "SECRET_KEY = conf.secret\nALLOWED_HOSTS = conf.hosts",
        {"SHOP_SECRET": "{{ app_secret_key }}", "SHOP_HOSTS": HOSTS.replace("join('%s')", "to_json")},
    ),
    "debug that is on without it": ("import os\nDEBUG = os.getenv('DEV', 'True') == 'True'", {"DEV": "False"}),
    "debug that any text turns on": ("import os\nDEBUG = bool(os.getenv('DEV', '1'))", {"DEV": ""}),
    "debug that a number turns on": ("import os\nDEBUG = bool(int(os.getenv('DEV', '1')))", {"DEV": "0"}),
    "an address in parts": (
        "import os\nPW = os.environ['R_PW']\nCELERY_BROKER_URL = f\"redis://:{PW}@{os.environ['R_HOST']}:{os.environ['R_PORT']}/0\"",
        {
            "R_PW": "{{ redis_celery_password }}",
            "R_HOST": "{{ redis_address }}",
            "R_PORT": "{{ redis_port }}",
            # No room for the user's name.
            "CELERY_BROKER_URL": "{{ broker_url }}",
        },
    ),
    "an address in writing": (
        "CELERY_BROKER_URL = 'redis://localhost:6379/0'",
        {"CELERY_BROKER_URL": "{{ broker_url }}"},
    ),
    "a key prefix": (
        "import os\nCELERY_BROKER_TRANSPORT_OPTIONS = {'global_keyprefix': os.getenv('KEYS', 'x:')}",
        {"KEYS": "{{ redis_celery_key_prefix }}"},
    ),
    "names with the project's own word before them": (
        "import os\n"
        + "".join(
            f"os.getenv('SHOP_{name}')\n"
            for name in ("DB_HOST", "DB_PASS", "DB_TYPE", "REDIS", "CELERY_BACKEND", "COLOUR")
        ),
        {
            "SHOP_DB_HOST": "{{ postgresql_address }}",
            "SHOP_DB_PASS": "{{ postgresql_password }}",
            "SHOP_DB_TYPE": "postgresql",
            "SHOP_REDIS": "{{ broker_url }}",
            "SHOP_CELERY_BACKEND": "{{ result_backend_url }}",
        },
    ),
    "a branch for PostgreSQL": (
        "import os\nDATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3'}}\n"
        "if os.getenv('DB') == 'postgres':\n    DATABASES = {'default': {'HOST': os.getenv('DB_AT', '')}}\n"
        "if os.getenv('DB') == 'mysql':\n    DATABASES = {'default': {'ENGINE': 'django.db.backends.mysql', 'HOST': os.environ['MY']}}",
        {"DB": "postgres", "DB_AT": "{{ postgresql_address }}"},
    ),
    "a branch for production": (
        "import os\nDEBUG = os.getenv('X') == '1'\nif DEBUG:\n    SECRET_KEY = os.environ['OF_DEVELOPERS']\nelse:\n    SECRET_KEY = os.environ['KEY']",
        {"KEY": "{{ app_secret_key }}"},
    ),
}


@pytest.mark.parametrize("way", READERS)
def test_a_variable_is_bound_by_the_setting_that_it_goes_into(checkout: Path, tmp_path: Path, way: str) -> None:
    settings, expected = READERS[way]
    written, _ = adopted(checkout, project(tmp_path / "shop", shop__settings=settings + "\n"))
    assert written["app_connections"] == expected


def test_what_is_required_and_unknown_is_an_open_line(checkout: Path, tmp_path: Path) -> None:
    settings = (
        "import os\nSHOP_MODE = os.environ['SHOP_MODE']\nPAY = os.environ['STRIPE_API_KEY']\nCOLOUR = os.getenv('COLOUR', 'red')\n"
        "if os.getenv('S3'):\n    BUCKET = os.environ['BUCKET']\n"
    )
    written, told = adopted(checkout, project(tmp_path / "shop", shop__settings=settings))
    assert written["app_environment"] == {
        "SHOP_MODE": "FILL_IN its value",
        "STRIPE_API_KEY": "{{ vault_stripe_api_key }}",
    }
    assert {"app_environment: SHOP_MODE", "app_environment: STRIPE_API_KEY"} <= {value.name for value in told.of(OPEN)}
    text = (checkout / "group_vars/shop/main.yml").read_text()
    assert "# COLOUR: 'red' without it (shop/settings.py:4)" in text
    assert "# BUCKET: " in text
    said = [
        problem
        for problem in problems_of(checkout, "shop")
        if "site_names" not in problem and "ansible_host" not in problem
    ]
    assert [problem.split(" still")[0] for problem in said if "FILL_IN" in problem] == ["app_environment: SHOP_MODE"]
    secret = [problem for problem in said if "vault_stripe_api_key" in problem]
    assert len(secret) == 1
    assert secret[0].startswith("vault_stripe_api_key is missing, which app_environment: STRIPE_API_KEY is made of")
    assert secret[0].endswith("(group_vars/shop/vault.yml)")


# What settings say themselves, and no variable can change.
FIXED = {
    "DEBUG = True": "without DEBUG = True (shop/settings.py:1)",
    "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3'}}": "PostgreSQL",
    "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', 'HOST': 'db'}}": "reads its database from the environment",
    "CACHES = {'default': {'BACKEND': 'django_redis.cache.RedisCache', 'LOCATION': 'redis://redis/1'}}": "no room for Redis's user",
}


@pytest.mark.parametrize("settings", FIXED)
def test_settings_that_no_variable_can_change_are_open(checkout: Path, tmp_path: Path, settings: str) -> None:
    written, told = adopted(checkout, project(tmp_path / "shop", shop__settings=settings + "\n"))
    assert written["django_app_settings_module"].startswith("FILL_IN a settings module ")
    assert FIXED[settings] in written["django_app_settings_module"]
    assert "django_app_settings_module" in {value.name for value in told.of(OPEN)}


def test_a_dockerfile_and_a_driver_without_wheels_say_which_packages_servers_need(
    checkout: Path, tmp_path: Path
) -> None:
    dockerfile = (
        "FROM python:3.12\nRUN apt-get update && apt-get install -y --no-install-recommends \\\n"
        "  # to compile\n  build-essential libpq-dev \\\n  gettext=0.21-12 && rm -rf /var/lib/apt/lists/*\n"
        "WORKDIR /app\nRUN SECRET_KEY=x python manage.py compilemessages\nRUN python manage.py collectstatic --noinput\n"
    )
    text = "Django==5.2.1\ncelery[redis]==5.6.0\npsycopg[c]==3.2.6\n"
    written, _ = adopted(checkout, project(tmp_path / "shop", Dockerfile=dockerfile, **{"requirements.txt": text}))
    assert written["django_app_packages"] == ["gcc", "libpq-dev", "python3-dev", "gettext"]
    assert written["django_app_host_build_commands"] == [["python", "manage.py", "compilemessages"]]


def test_a_settings_module_that_the_project_lacks_is_open_and_its_example_read(checkout: Path, tmp_path: Path) -> None:
    source = project(tmp_path / "shop", shop__settings_example="import os\nSECRET_KEY = os.environ['KEY']\n")
    (source / "shop/settings.py").unlink()
    written, _ = adopted(checkout, source)
    assert written["django_app_settings_module"].startswith("FILL_IN shop.settings, which is not in the project")
    assert written["app_connections"] == {"KEY": "{{ app_secret_key }}"}


def test_a_celery_application_may_have_a_type_and_any_name(checkout: Path, tmp_path: Path) -> None:
    generic = "from celery import Celery\nqueue: Celery = Celery['Task']('shop', broker='redis://x')\n"
    source = project(tmp_path / "shop", shop__celery="", shop__work=generic)
    written, _ = adopted(checkout, source)
    assert written["celery_app"] == "shop.work:queue"
    assert written["app_connections"] == {"CELERY_BROKER_URL": "{{ broker_url }}"}


def test_uploads_below_a_folder_of_the_environment_are_no_folder_of_stockpots(checkout: Path, tmp_path: Path) -> None:
    settings = "import os\nDATA = os.getenv('DATA', '/data')\nMEDIA_ROOT = os.path.join(DATA, 'media')\n"
    written, _ = adopted(checkout, project(tmp_path / "shop", shop__settings=settings))
    assert "DATA" not in written["app_connections"]
    assert written["django_app_media_root"].startswith("FILL_IN")


def test_a_procfile_says_what_runs(checkout: Path, tmp_path: Path) -> None:
    procfile = (
        "web: gunicorn shop.wsgi --workers 3 --threads=8 --timeout 90\n"
        "worker: poetry run celery -A shop worker -P threads -c 4 -Q a,b --loglevel info\n"
        "slow: python -m celery --app=shop worker -Qc --time-limit=900\n"
        "beat: celery -A shop beat -S django_celery_beat.schedulers:DatabaseScheduler\n"
        "release: python manage.py migrate && python manage.py load_rates --all\n"
        "listener: python -m shop.listener --port 9000\n"
    )
    written, _ = adopted(checkout, project(tmp_path / "shop", Procfile=procfile))
    assert written["celery_workers"] == [
        {"name": "worker", "queues": ["a", "b"], "pool": "threads", "concurrency": 4},
        {"name": "slow", "queues": ["c"], "time_limit": 900},
        {"name": "default", "queues": ["celery"]},
    ]
    assert [written[f"django_app_web_{key}"] for key in ("workers", "threads", "timeout")] == [3, 8, 90]
    assert written["celery_beat_scheduler"] == "django_celery_beat.schedulers:DatabaseScheduler"
    assert written["django_app_release_commands"] == [["load_rates", "--all"]]
    assert written["django_app_processes_extra"] == [
        {"name": "listener", "command": ["python", "-m", "shop.listener", "--port", "9000"], "memory_max": "256M"}
    ]


def test_queues_are_found_wherever_they_are_named(checkout: Path, tmp_path: Path) -> None:
    settings = (
        "from kombu import Queue\nCELERY_TASK_QUEUES = [Queue(f'shard-{n}') for n in range(2)] + [Queue('fixed')]\n"
        "CELERY_TASK_ROUTES = ([('shop.a.*', {'queue': 'routed'})],)\nCELERY_TASK_ROUTES = {'shop.a': {'queue': 'routed'}, 'shop.b': 'short'}\n"
    )
    tasks = (
        "from celery import shared_task, Task\n@shared_task(queue='decorated')\ndef a(): ...\n"
        "def send():\n    a.apply_async(queue='sent')\nclass Slow(Task):\n    queue = 'classed'\n"
    )
    aside = "a.apply_async(queue='of-a-test')\n"
    source = project(tmp_path / "shop", shop__settings=settings, shop__tasks=tasks, shop__tests__test_a=aside)
    written, _ = adopted(checkout, source)
    named = ["shard-0", "shard-1", "fixed", "routed", "short", "decorated", "classed", "sent"]
    assert sorted(written["celery_workers"][0]["queues"]) == sorted(["celery", *named])


def test_extensions_are_those_that_migrations_create(checkout: Path, tmp_path: Path) -> None:
    migration = (
        "operations = [CITextExtension(), CreateExtension('postgis'),\n"
        "    migrations.RunSQL('CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"; SELECT 1')]\n"
    )
    written, _ = adopted(checkout, project(tmp_path / "shop", shop__migrations__0001_initial=migration))
    assert written["postgresql_extensions"] == ["citext", "postgis", "uuid-ossp"]


def test_a_key_prefix_in_writing_is_taken_where_broker_and_results_have_it(checkout: Path, tmp_path: Path) -> None:
    both = (
        "CELERY_RESULT_BACKEND = 'redis://x/1'\nCELERY_BROKER_TRANSPORT_OPTIONS = {'global_keyprefix': 'shop:', 'visibility_timeout': 7200}\n"
        "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {'global_keyprefix': 'shop:'}\n"
    )
    written, _ = adopted(checkout, project(tmp_path / "one", shop__settings=both), "one")
    assert (written["redis_celery_key_prefix"], written["celery_visibility_timeout"]) == ("shop:", 7200)
    broker_alone = both.splitlines()[0] + "\n" + both.splitlines()[1] + "\n"
    written, told = adopted(checkout, project(tmp_path / "two", shop__settings=broker_alone), "two")
    assert written["redis_celery_key_prefix"] == ""
    assert "redis_celery_key_prefix" in {value.name for value in told.of(GUESS)}


@pytest.mark.parametrize(
    ("required", "python"), [(">=3.10", ""), (">=3.12,<3.14", "3.13"), ("==3.12.*", "3.12"), (">=3.9,<3.12", "3.11")]
)
def test_python_is_the_servers_own_where_both_debians_have_it(
    checkout: Path, tmp_path: Path, required: str, python: str
) -> None:
    source = project(
        tmp_path / "shop", **{"pyproject.toml": f"[project]\nname='shop'\nversion='1'\nrequires-python='{required}'\n"}
    )
    written, _ = adopted(checkout, source)
    assert written["django_app_python"] == python


def test_a_django_that_new_pythons_cannot_run_gets_an_old_one(checkout: Path, tmp_path: Path) -> None:
    written, _ = adopted(checkout, project(tmp_path / "shop", **{"requirements.txt": "Django~=3.2\ncelery[redis]\n"}))
    assert written["django_app_python"] == "3.12"


def test_a_git_address_is_read_at_its_version(checkout: Path, tmp_path: Path) -> None:
    source = project(tmp_path / "shop")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(source)]
    for command in (["init", "-q", "-b", "trunk"], ["add", "."], ["commit", "-qm", "one"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True, timeout=60)
    (source / "manage.py").unlink()
    (source / "shop/celery.py").unlink()
    subprocess.run([*git, "commit", "-qam", "two"], check=True, timeout=60)
    cache = checkout / "cache"
    adopt(checkout, "tagged", source=f"file://{source}", version="v1", cache=cache)
    tagged = yaml.safe_load((checkout / "group_vars/tagged/main.yml").read_text())
    assert (tagged["django_app_source"], tagged["django_app_version"], tagged["celery_app"]) == (
        f"file://{source}",
        "v1",
        "shop",
    )
    told = adopt(checkout, "newest", source=f"file://{source}", cache=cache)
    newest = yaml.safe_load((checkout / "group_vars/newest/main.yml").read_text())
    assert (newest["django_app_version"], newest["celery_app"]) == ("trunk", "FILL_IN what `celery -A` is given")
    assert "django_app_version" in {value.name for value in told.of(GUESS)}
    with pytest.raises(ProjectError, match="no tag, branch or commit v9"):
        adopt(checkout, "absent", source=f"file://{source}", version="v9", cache=cache)


def test_a_source_inside_the_checkout_is_named_relative_to_it(checkout: Path) -> None:
    written, _ = adopted(checkout, project(checkout / "sites/shop"))
    assert written["django_app_source"] == "{{ inventory_dir }}/../../sites/shop"


def test_routes_that_are_code_are_pointed_out(checkout: Path, tmp_path: Path) -> None:
    adopted(checkout, project(tmp_path / "shop", shop__settings="CELERY_TASK_ROUTES = ('shop.routing.Router',)\n"))
    assert "Routes are worked out by code, which was not run (shop/settings.py:1)" in (
        checkout / "group_vars/shop/main.yml"
    ).read_text().replace("\n  #   ", " ")


def test_none_of_the_projects_code_is_run(checkout: Path, tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    modules = {name: trap for name in ("shop__tasks", "shop__urls", "shop____init__", "setup", "conftest")}
    adopted(checkout, project(tmp_path / "shop", shop__settings=trap + "ROOT_URLCONF = 'shop.urls'\n", **modules))
    assert not (tmp_path / "ran").exists()


def test_a_projects_text_is_neither_a_template_nor_yaml(checkout: Path, tmp_path: Path) -> None:
    """A repository that nobody trusts yet says nothing to Ansible on the control node."""
    ran = tmp_path / "ran"
    call = f"{{{{ lookup('pipe', 'touch {ran}') }}}}"
    settings = (
        "import os\nCELERY_TASK_DEFAULT_QUEUE = '{{7*7}}'\n"
        "X = os.environ.get('X', 'a\\nsite_names: [evil]')\nSTATIC_ROOT = 'a\\nsite_names: [evil]'\n"
    )
    source = project(tmp_path / "shop", shop__settings=settings, Procfile=f'evil: run "{call}"\n')
    adopt(checkout, "shop", source=str(source), cache=checkout / "cache")
    loader = DataLoader()
    written = loader.load_from_file(str(checkout / "group_vars/shop/main.yml"), trusted_as_template=True)
    names = ("django_app_processes_extra", "celery_workers", "django_app_static_root", "site_names")
    templar = Templar(loader=loader, variables=written)
    extra, workers, static, sites = (templar.template(written[name]) for name in names)
    assert extra[0]["command"] == ["run", call]
    assert workers[0]["queues"] == ["{{7*7}}"]
    assert static == "a\nsite_names: [evil]"
    assert "FILL_IN" in sites[0]
    assert not ran.exists()


def test_a_text_with_a_template_in_it_is_marked() -> None:
    assert scalar("{{ lookup('pipe', 'id') }}") == "!unsafe \"{{ lookup('pipe', 'id') }}\""
    assert yaml.safe_load(scalar("yes")) == "yes"
    assert yaml.safe_load(scalar(["a: b", "- c", "1", ""])) == ["a: b", "- c", "1", ""]


def files_below(folder: Path) -> dict[str, str]:
    """Every file's text, by its name."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("there", ["inventories/shop", "group_vars/shop"])
def test_an_environment_that_is_there_is_left_as_it_is(checkout: Path, there: str) -> None:
    (checkout / there).mkdir()
    (checkout / there / "main.yml").write_text("mine: true\n")
    before = files_below(checkout)
    for write in (
        lambda: adopt(checkout, "shop", source=str(SOURCES / "ledger")),
        lambda: write_environment(checkout, "shop"),
    ):
        with pytest.raises(EnvironmentRefused, match=rf"ENV: {there} is there already"):
            write()
    assert files_below(checkout) == before


@pytest.mark.parametrize("name", ["", "all", "web", "Shop", "my-shop", "../shop", "1shop", "shop/x"])
def test_an_environment_needs_a_name_that_inventories_take(checkout: Path, name: str) -> None:
    with pytest.raises(EnvironmentRefused, match="name the environment with lower-case letters"):
        write_environment(checkout, name)
    assert list((checkout / "inventories").iterdir()) == []


def test_a_folder_without_a_django_project_is_refused_and_nothing_written(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/main.py").write_text("print('hello')\n")
    with pytest.raises(NoProject, match="SOURCE holds no Django project"):
        adopt(checkout, "shop", source=str(tmp_path / "other"), cache=checkout / "cache")
    assert list((checkout / "inventories").iterdir()) == []
    assert not (checkout / "group_vars/shop").exists()


def test_python_that_cannot_be_read_is_passed_over(checkout: Path, tmp_path: Path) -> None:
    source = project(tmp_path / "shop", shop__old="print 'Python 2'\n", shop__settings="SECRET_KEY = (\n")
    written, _ = adopted(checkout, source)
    assert written["django_app_settings_module"] == "shop.settings"


# The commands, as an operator gives them.


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A copy of what bin/adopt and bin/environment need."""
    for name in ("bin", "group_vars", "inventories", "plugins", "collections"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "roles").symlink_to(ROOT / "roles")
    return tmp_path


def run(commands: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy."""
    environment = {**os.environ, "HOME": str(commands / "home")}
    return subprocess.run(command, cwd=commands, env=environment, capture_output=True, text=True, timeout=120)


def test_adopt_says_how_much_it_found_and_what_comes_next(commands: Path) -> None:
    result = run(commands, "bin/adopt", "meters", str(SOURCES / "meters"), "")
    assert result.returncode == 0, result.stderr
    assert re.search(r"in \d+\.\d s: \d+ values found, \d+ guessed, 3 open\.", result.stdout)
    assert "Open: django_app_extra_index_urls, site_names, ansible_host of meters-1" in result.stdout
    assert "make secrets ENV=meters" in result.stdout
    assert "ansible-playbook -i inventories/meters site.yml --ask-vault-pass" in result.stdout
    again = run(commands, "bin/adopt", "meters", str(SOURCES / "meters"), "")
    assert again.returncode == 2
    assert again.stderr.startswith("adopt: ENV: inventories/meters is there already")


@pytest.mark.parametrize(
    ("source", "version", "said"),
    [
        ("", "", "SOURCE is empty"),
        ("/nowhere", "", "SOURCE: there is no folder /nowhere"),
        ("https://me:secret@example.invalid/x.git", "v1", "SOURCE holds a password"),
        ("file:///nowhere.git", "", "SOURCE: git cannot read file:///nowhere.git"),
        ("/tmp", "v1", "VERSION is v1, but /tmp is no git repository"),
        ("/tmp", "--upload-pack=x", "VERSION: --upload-pack=x is no tag, branch or commit"),
    ],
)
def test_an_odd_source_is_refused_by_the_name_that_make_has_for_it(
    commands: Path, source: str, version: str, said: str
) -> None:
    result = run(commands, "bin/adopt", "shop", source, version)
    assert result.returncode == 2
    assert result.stderr.startswith("adopt: ")
    assert said in result.stderr
    assert "secret" not in result.stderr
    assert not (commands / "group_vars/shop").exists()


def test_an_environment_for_a_project_like_the_reference_application(commands: Path) -> None:
    result = run(commands, "bin/environment", "shop")
    assert result.returncode == 0, result.stderr
    assert {problem.split(" ")[0] for problem in problems_of(commands, "shop")} == {"ansible_host", "site_names"}
    assert yaml.safe_load((commands / "group_vars/shop/main.yml").read_text())["app_name"] == "shop"
    again = run(commands, "bin/environment", "shop")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("environment: ENV: inventories/shop is there already and is left as it is.")
    for name in ("site.yml", "playbooks", "ansible.cfg"):
        (commands / name).symlink_to(ROOT / name)
    checked = run(commands, ".venv/bin/ansible-playbook", "-i", "inventories/shop", "site.yml", "--syntax-check")
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr
