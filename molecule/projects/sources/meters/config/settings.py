from pathlib import Path

import dj_database_url
from decouple import Csv, config

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = config("SECRET_KEY")
DEBUG = config("DEBUG", default=False, cast=bool)
ALLOWED_HOSTS = config("ALLOWED_HOSTS", cast=Csv())
CSRF_TRUSTED_ORIGINS = config("TRUSTED_ORIGINS", default="", cast=Csv())

INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.staticfiles", "readings"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

DATABASES = {"default": dj_database_url.parse(config("DB_URL"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache"}}

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static"

USE_TZ = True

QUEUE_BROKER_URL = config("BROKER")
QUEUE_RESULT_BACKEND = config("RESULTS")
QUEUE_TASK_DEFAULT_QUEUE = "telegrams"
QUEUE_TASK_ACKS_LATE = True
