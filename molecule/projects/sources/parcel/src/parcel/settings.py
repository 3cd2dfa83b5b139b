import os

import dj_database_url

SECRET_KEY = os.environ["PARCEL_SECRET"]
DEBUG = "PARCEL_DEBUG" in os.environ
ALLOWED_HOSTS = os.environ.get("PARCEL_HOSTS", "localhost").split()

INSTALLED_APPS = [
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "parcel",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
ROOT_URLCONF = "parcel.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

DATABASES = {"default": dj_database_url.config("PARCEL_DATABASE", default="sqlite:///parcel.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

# WhiteNoise serves them out of the packages.
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True

CELERY_BROKER_URL = os.environ["PARCEL_BROKER"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "parcel"
