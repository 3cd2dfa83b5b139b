"""Settings of a project that shares no name with the reference app."""

import contextlib
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

BACKEND = Path(__file__).resolve().parent.parent


def database(address: str) -> dict[str, object]:
    """A Django database from `sqlite:///absolute/path` or `postgresql://user:password@host:port/name`."""
    url = urlsplit(address)
    if url.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url.path}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.lstrip("/"),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname,
        "PORT": url.port or 5432,
    }


SECRET_KEY = os.environ["LIBRARY_SECRET"]
ALLOWED_HOSTS = os.environ["LIBRARY_HOSTS"].split(",")
DATABASES = {"default": database(os.environ["LIBRARY_DATABASE"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MOTTO = os.environ.get("LIBRARY_MOTTO", "")
CELERY_BROKER_URL = os.environ.get("LIBRARY_BROKER", "")
CELERY_RESULT_BACKEND = os.environ.get("LIBRARY_RESULTS") or None
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": os.environ.get("LIBRARY_KEY_PREFIX", "")}
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"global_keyprefix": os.environ.get("LIBRARY_KEY_PREFIX", "")}
CELERY_TASK_DEFAULT_QUEUE = "lending"

INSTALLED_APPS = ["django.contrib.staticfiles", "django_celery_beat", "books"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "library.routes"
WSGI_APPLICATION = "library.server.site"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
STATIC_URL = "assets/"
STATIC_ROOT = BACKEND / "collected"
MEDIA_URL = "covers/"
MEDIA_ROOT = os.environ.get("LIBRARY_COVERS", str(BACKEND / "covers"))
FILE_UPLOAD_PERMISSIONS = None
USE_TZ = True
KEY = os.environ.get("LIBRARY_KEY", "")
EXPORTS = BACKEND / "exports"
EDITION = ""

with contextlib.suppress(ModuleNotFoundError):
    from library.local_settings import *  # noqa: F403
