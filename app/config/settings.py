"""Every setting of the project, read from the environment; README.md lists the variables."""

from math import ceil
from pathlib import Path
from typing import Any

import django_stubs_ext
from django_guid.integrations.celery import CeleryIntegration

from config import logs, sentry
from config.environment import database, env

django_stubs_ext.monkeypatch()  # lets ModelAdmin[Order] be written

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Django ---------------------------------------------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY")
DEBUG = env.bool("DEBUG", False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", subcast=str.strip)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", [], subcast=str.strip)
SITE_URL = env.str("SITE_URL", "https://localhost").rstrip("/")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "django_celery_results",
    "django_htmx",
    "core",
    "accounts",
    "analytics",
    "crm",
    "inventory",
    "media",
    "newsletters",
    "payments",
    "django_guid",  # last: it forgets a task's request when the others have written what they have to
]
MIDDLEWARE = [
    "django_guid.middleware.guid_middleware",
    "core.middleware.HttpFigures",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "core.context.pages",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# --- Security: TLS ends at the proxy, which sets X-Forwarded-Proto and HSTS -----------------------------------------
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", False)
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
X_FRAME_OPTIONS = "DENY"
# The proxy redirects to HTTPS, and it alone knows whether a certificate is good enough for HSTS.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]
CSRF_FAILURE_VIEW = "core.views.csrf_failure"
THROTTLE = env.bool("THROTTLE", True)  # off for load tests, which send all from one address
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
UPLOAD_MAX_BYTES = 5 * 1024 * 1024
UPLOAD_MAX_PIXELS = 40_000_000
DOCUMENT_MAX_BYTES = 1024 * 1024

# --- Data -----------------------------------------------------------------------------------------------------------
DATABASES = {
    "default": database(
        "DATABASE_URL", pool_size=env.int("DATABASE_POOL_SIZE", 8) if env.bool("DATABASE_POOL", False) else 0
    )
}
# A connection that is not there within a second will not come: whoever waits for a page shall not wait for that.
REDIS_SOCKET = {"socket_timeout": 5, "socket_connect_timeout": 1, "socket_keepalive": True, "health_check_interval": 30}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": env.str("CACHE_URL"),
        # Django joins prefix, version and key with colons itself.
        "KEY_PREFIX": env.str("CACHE_KEY_PREFIX", "cache:").rstrip(":"),
        "OPTIONS": REDIS_SOCKET,
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_URL = "/media/"
MEDIA_ROOT = env.str("MEDIA_ROOT", str(BASE_DIR / "media-files"))
# nginx reads uploads through the group, which new folders inherit. They keep the process's umask: a mode given here would
# be set with chmod, and that takes the setgid bit away.
FILE_UPLOAD_PERMISSIONS = 0o640
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}

# --- Mail and the services the tasks talk to ------------------------------------------------------------------------
vars().update(env.email("EMAIL_URL", "console:"))
# What falls back to something that suits a developer alone; `check --deploy` refuses a production without.
ADDRESSES_NOT_GIVEN = [name for name in ("EMAIL_URL", "PAYMENT_GATEWAY_URL") if not env.str(name, "")]
MAIL_CLAIM = 60  # seconds a row is a worker's while it talks to the mail server, which has 10 for each answer
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "Stockpot <stockpot@localhost>")
PAYMENT_GATEWAY_URL = env.str("PAYMENT_GATEWAY_URL", "http://127.0.0.1:8900").rstrip("/")
CRM_URL = env.str("CRM_URL", PAYMENT_GATEWAY_URL).rstrip("/")
INVENTORY_URL = env.str("INVENTORY_URL", PAYMENT_GATEWAY_URL).rstrip("/")
DOWNSTREAM_TIMEOUT = (
    env.int("DOWNSTREAM_TIMEOUT_MS", 5000) / 1000
)  # seconds to connect, and to wait for each part of an answer
# Seconds one attempt to pay may take: twice a connection and an answer, and as much again for an answer in parts.
PAYMENT_TIME_LIMIT = ceil(6 * DOWNSTREAM_TIMEOUT)

# --- Celery ---------------------------------------------------------------------------------------------------------
KEY_PREFIX = env.str("CELERY_KEY_PREFIX", "celery:")
QUEUES = ["critical", "default", "notifications", "low-priority", "images", "emails", "sweep"]
RETRY_BACKOFF_BASE = env.int("RETRY_BACKOFF_BASE_MS", 2000) / 1000  # seconds before the first retry; doubles
RETRY_BACKOFF_MAX = env.int("RETRY_BACKOFF_MAX", 600)  # seconds
CELERY: dict[str, Any] = {
    "broker_url": env.str("CELERY_BROKER_URL"),
    "result_backend": env.str("CELERY_RESULT_BACKEND", env.str("CELERY_BROKER_URL")),
    # Messages and results
    "accept_content": ["json"],
    "task_serializer": "json",
    "result_serializer": "json",
    "timezone": "UTC",
    "enable_utc": True,
    "result_expires": 86400,
    "result_extended": True,
    "task_track_started": True,
    "worker_send_task_events": True,
    "task_send_sent_event": True,
    "task_always_eager": env.bool("CELERY_TASK_ALWAYS_EAGER", False),  # for tests only
    # Limits, and what happens to a task whose process is lost
    "task_time_limit": env.int("CELERY_TASK_TIME_LIMIT", 1800),
    "task_soft_time_limit": env.int("CELERY_TASK_SOFT_TIME_LIMIT", 1500),
    "worker_prefetch_multiplier": 1,
    "task_acks_late": True,
    # A task whose process was killed is tried again as often as its max_retries say, and then fails for all to see; if the
    # broker does not take the next attempt, the message goes back.
    "task_retry_on_worker_lost": True,
    "task_reject_on_worker_lost": True,
    # Seconds before a task whose process was killed runs again; where a row is claimed, the claim has lapsed by then.
    "task_annotations": {
        "*": {"default_retry_delay": RETRY_BACKOFF_BASE * 10},
        "payments.tasks.process_payment": {"default_retry_delay": PAYMENT_TIME_LIMIT + 2},
        "accounts.tasks.send_welcome_email": {"default_retry_delay": MAIL_CLAIM + 2},
        "newsletters.tasks.send_chunk": {"default_retry_delay": MAIL_CLAIM + 2},
    },
    # Connections
    "broker_pool_limit": 10,
    "broker_connection_timeout": 2,  # seconds for all attempts of one call; workers try for ever
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # visibility_timeout must exceed the longest time limit and countdown: later, Redis hands the message to another worker.
    # No retry_on_timeout: a worker whose subscription breaks would wait in redis-py for ever, active but deaf.
    "broker_transport_options": {
        **REDIS_SOCKET,
        "visibility_timeout": env.int("CELERY_VISIBILITY_TIMEOUT", 43200),
        "global_keyprefix": KEY_PREFIX,
    },
    # Once more, for a connection that was cut; the sweep sends what the broker did not take.
    "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0},
    "result_backend_transport_options": {
        "global_keyprefix": KEY_PREFIX,
        "retry_policy": {"timeout": 5.0, "max_retries": 10},
    },
    "redis_socket_timeout": 5.0,
    "redis_socket_connect_timeout": 1.0,
    "redis_socket_keepalive": True,
    "redis_backend_health_check_interval": 30,
    # Which queue a task goes to
    "task_default_queue": "default",
    "task_routes": {
        # What repairs must not wait behind what it repairs.
        "core.tasks.resend_stuck_work": {"queue": "sweep"},
        "core.tasks.record_lost_run": {"queue": "sweep"},
        "payments.*": {"queue": "critical"},
        "accounts.*": {"queue": "notifications"},
        "analytics.*": {"queue": "low-priority"},
        "media.*": {"queue": "images"},
        "newsletters.*": {"queue": "emails"},
    },
    "beat_scheduler": "django_celery_beat.schedulers:DatabaseScheduler",
}

# --- How long work may stand still ----------------------------------------------------------------------------------
WORK_DEADLINE = env.int("WORK_DEADLINE", 900)  # seconds a row may not move before the sweep sends its task again
# Seconds between the steps of a report, to spare the database.
REPORT_STEP_PAUSE = env.int("REPORT_STEP_PAUSE_MS", 50) / 1000

# --- Logs and errors: each says which request and which task it is about -----------------------------------------------
LOGGING = logs.LOGGING
DJANGO_GUID = {
    # The proxy sets it, whatever a visitor sends. The answer says it too: that is how gunicorn's own log knows it.
    "GUID_HEADER_NAME": "X-Request-ID",
    "EXPOSE_HEADER": False,
    "INTEGRATIONS": [CeleryIntegration()],
}
if SENTRY_DSN := env.str("SENTRY_DSN", ""):
    sentry.start(
        dsn=SENTRY_DSN,
        environment=env.str("SENTRY_ENVIRONMENT", "production"),
        release=env.str("SENTRY_RELEASE", BASE_DIR.parent.name),
    )
