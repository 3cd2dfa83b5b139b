"""Every setting of the project, read from the environment; README.md lists the variables."""

import os
import socket
import ssl
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any

from celery.schedules import crontab
from core import sentinel
from csp.constants import NONE, SELF
from django_guid.integrations.celery import CeleryIntegration
from environs import validate

from config import logs, sentry
from config.environment import database, env

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
    "axes",
    "csp",
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
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "core.throttle.KnownBrowserMiddleware",
    "axes.middleware.AxesMiddleware",
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
                "config.context.pages",
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
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
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
# Nothing from elsewhere, and no script or style that stands in a page.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
# The proxy redirects to HTTPS, and it alone knows whether a certificate is good enough for HSTS.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]
CSRF_FAILURE_VIEW = "core.views.csrf_failure"
THROTTLE = env.bool("THROTTLE", True)  # off for load tests, which send all from one address
# Ten wrong passwords without a minute's pause between them, from one address or for one name, and for a minute not even the right
# one is heard. Counted in the
# database: no cache has to be there. A success forgives nothing: an attacker has an account, too.
AXES_ENABLED = THROTTLE
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=1)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_PARAMETERS = "core.throttle.counted_by"
AXES_CLIENT_IP_CALLABLE = "core.throttle.address"
AXES_LOCKOUT_CALLABLE = "core.throttle.too_many"
AXES_SENSITIVE_PARAMETERS = ["username"]  # a password is typed there sooner or later
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
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
REDIS_SOCKET: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 1,
    "socket_keepalive": True,
    "health_check_interval": 30,
}
# Where the URLs begin with sentinel:// these are of Sentinels, which say who of several servers is the primary. They have a second each
# and no second try: the next one is asked.
SENTINEL: dict[str, Any] = {}
if PRIMARY_NAME := env.str("REDIS_PRIMARY_NAME", ""):
    limits = {"socket_timeout": 1, "socket_connect_timeout": 1, "retry": None}
    password = env.str("REDIS_SENTINEL_PASSWORD", "") or None
    SENTINEL = {"master_name": PRIMARY_NAME, "sentinel_kwargs": {"password": password, **limits}}
    # A primary that is cut off says no goodbye: whoever waits for it hears that from the kernel, after about 20 seconds.
    keepalive = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 3, socket.TCP_KEEPCNT: 3}
    REDIS_SOCKET["socket_keepalive_options"] = keepalive
    # One that is frozen keeps its connections, and so does one that is cut off, to whom something was just said: a worker asks this often for
    # an answer, hangs up when it has had none for a while, and finds the new one. Longer than socket_timeout: a primary that is only slow loses
    # nobody whom it would not lose anyway.
    REDIS_SOCKET["health_check_interval"] = 6


def sentinel_options(url: str) -> dict[str, Any]:
    """What a client has to know beside the addresses of Sentinels; broker, results and cache may be behind different servers."""
    if not (SENTINEL and url.startswith(sentinel.SCHEME)):
        return {}
    tls = sentinel.tls(url)
    return {**SENTINEL, "sentinel_kwargs": {**SENTINEL["sentinel_kwargs"], "ssl": bool(tls), **tls}}


CACHE_URL = env.str("CACHE_URL")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": [CACHE_URL],  # one: Django would take those of Sentinels for replicas
        # Django joins prefix, version and key with colons itself.
        # Empty is an answer, too: none, as in a Redis of somebody else's; so below.
        "KEY_PREFIX": os.environ.get("CACHE_KEY_PREFIX", "cache:").rstrip(":"),
        "OPTIONS": {
            **REDIS_SOCKET,
            **(
                {"pool_class": "core.sentinel.PrimaryPool", **options}
                if (options := sentinel_options(CACHE_URL))
                else {}
            ),
        },
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_URL = "/media/"
MEDIA_ROOT = env.str("MEDIA_ROOT", str(BASE_DIR / "media-files"))
MEDIA_IS_PRIVATE = env.bool("MEDIA_IS_PRIVATE", False)
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
FALLBACKS = {
    "EMAIL_URL": "mails would be printed and count as sent; `console:` says that this is meant",
    "PAYMENT_GATEWAY_URL": "a gateway on this machine would be asked for money",
}
NOT_GIVEN = {name: what for name, what in FALLBACKS.items() if not env.str(name, "")}
if env.str("MEDIA_ROOT", "") and not MEDIA_IS_PRIVATE:
    NOT_GIVEN["MEDIA_IS_PRIVATE"] = (
        "a proxy would show uploads to anybody, where `media_is_private: true` has them lent one by one"
    )
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
# Seconds the gateway remembers an idempotency key. A charge is asked for with it for five sixths of that, 20 hours of a day:
# what is under way then has its answer before the key is forgotten.
PAYMENT_KEY_RETENTION = env.int("PAYMENT_KEY_RETENTION", 86400, validate=validate.Range(min=6 * PAYMENT_TIME_LIMIT + 6))
PAYMENT_KEY_AGE_LIMIT = PAYMENT_KEY_RETENTION * 5 // 6

# --- Celery ---------------------------------------------------------------------------------------------------------
KEY_PREFIX = os.environ.get("CELERY_KEY_PREFIX", "celery:")
BROKER_URL = env.str("CELERY_BROKER_URL")
RESULTS_URL = env.str("CELERY_RESULT_BACKEND", BROKER_URL)
# What belongs to the broker that keeps the messages; app/README.md says what is the same with both.
REDIS_BROKER: dict[str, Any] = {
    # visibility_timeout must exceed the longest time limit and countdown: later, Redis hands the message to another worker.
    # No retry_on_timeout: a worker whose subscription breaks would wait in redis-py for ever, active but deaf.
    "broker_transport_options": {
        **REDIS_SOCKET,
        "visibility_timeout": env.int("CELERY_VISIBILITY_TIMEOUT", 43200),
        "global_keyprefix": KEY_PREFIX,
        **sentinel_options(BROKER_URL),
    },
}
RABBITMQ_BROKER: dict[str, Any] = {
    # Every queue is a quorum queue, which is on the disk before it says so. A topic exchange, because a countdown is kept by
    # RabbitMQ then, not by a worker.
    "task_default_queue_type": "quorum",
    "task_default_exchange_type": "topic",
    "task_create_missing_queue_type": "quorum",
    "task_create_missing_queue_exchange_type": "topic",
    "worker_detect_quorum_queues": True,
    # A message counts as sent when RabbitMQ has it. One that does not answer, as when its memory is full, is waited for so many
    # seconds; the sweep sends later.
    "broker_transport_options": {"confirm_publish": True, "read_timeout": 5, "write_timeout": 5},
    # Seconds; a worker notices after two of them that RabbitMQ is gone without a word.
    "broker_heartbeat": 30,
}
if BROKER_URL.startswith("amqps://"):
    # An address can say nothing of it, and without this any certificate would do. Without a name it is the address's, without an authority the
    # system's are trusted.
    RABBITMQ_BROKER["broker_use_ssl"] = {
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": env.str("CELERY_BROKER_CA", "") or None,
        "server_hostname": env.str("CELERY_BROKER_TLS_NAME", "") or None,
    }
RETRY_BACKOFF_BASE = env.int("RETRY_BACKOFF_BASE_MS", 2000) / 1000  # seconds before the first retry; doubles
RETRY_BACKOFF_MAX = env.int("RETRY_BACKOFF_MAX", 600)  # seconds
CELERY: dict[str, Any] = {
    "broker_url": BROKER_URL,
    "result_backend": RESULTS_URL,
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
    # From Celery 5.7 on a limit here wins over that of every worker's command line: by default there is none.
    "task_time_limit": env.int("CELERY_TASK_TIME_LIMIT", 0) or None,
    "task_soft_time_limit": env.int("CELERY_TASK_SOFT_TIME_LIMIT", 0) or None,
    "worker_prefetch_multiplier": 1,
    "task_acks_late": True,
    # A task whose process was killed is tried again as often as its max_retries say, and then fails for all to see; if the
    # broker does not take the next attempt, the message goes back.
    "task_retry_on_worker_lost": True,
    "task_reject_on_worker_lost": True,
    # Seconds before a task whose process was killed runs again: the claim on its row has lapsed by then. Nothing for "*",
    # which Celery would apply after these.
    "task_annotations": {
        "payments.tasks.process_payment": {"default_retry_delay": PAYMENT_TIME_LIMIT + 2},
        "accounts.tasks.send_welcome_email": {"default_retry_delay": MAIL_CLAIM + 2},
        "newsletters.tasks.send_chunk": {"default_retry_delay": MAIL_CLAIM + 2},
    },
    # Connections
    "broker_pool_limit": 10,
    "broker_connection_timeout": 2,  # seconds for all attempts of one call; workers try for ever
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # Redis up and refusing, as when its disk is full, is a connection to be made again too: without this a worker ends, and
    # takes nothing while its tasks run on.
    "broker_channel_error_retry": True,
    **(RABBITMQ_BROKER if BROKER_URL.startswith(("amqp://", "amqps://")) else REDIS_BROKER),
    # Once more, for a connection that was cut; the sweep sends what the broker did not take.
    "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0},
    "result_backend_transport_options": {
        "global_keyprefix": KEY_PREFIX,
        # Longer than it takes until another primary is chosen.
        "retry_policy": (
            {"timeout": 30.0, "max_retries": 60}
            if sentinel_options(RESULTS_URL)
            else {"timeout": 5.0, "max_retries": 10}
        ),
        **sentinel_options(RESULTS_URL),
    },
    "redis_backend_use_ssl": sentinel.tls(RESULTS_URL),
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
        # Queues in place of priorities, whose numbers mean the opposite with another broker: a worker of both takes from them in turn.
        "analytics.tasks.generate_reports": {"queue": "reports"},
        "analytics.*": {"queue": "low-priority"},
        "media.*": {"queue": "images"},
        "newsletters.*": {"queue": "emails"},
    },
    "beat_scheduler": "django_celery_beat.schedulers:DatabaseScheduler",
    # What was sent is stored at once: the Beat that takes over, or is started again, does not send it again.
    "beat_sync_every": 1,
}
# Messages are signed, and those that are not are refused, where there is a key for it. It signs a task's arguments, not which task it is.
if SIGNING_KEY := env.str("CELERY_SECURITY_KEY", ""):
    CELERY |= {
        "security_key": SIGNING_KEY,
        "security_certificate": env.str("CELERY_SECURITY_CERTIFICATE"),
        "security_cert_store": env.str("CELERY_SECURITY_CERT_STORE"),
        "security_digest": "sha256",
        "accept_content": ["auth"],
        "task_serializer": "auth",
        # Events and results run nothing.
        "event_serializer": "json",
        "result_accept_content": ["json"],
    }
# What `ensure_schedules` creates besides core's own; times in UTC.
SCHEDULES = {
    "Daily report": {"task": "analytics.tasks.daily_report", "schedule": crontab(hour="6", minute="0")},
    "Remove expired sessions": {"task": "accounts.tasks.cleanup_sessions", "schedule": crontab(hour="3", minute="30")},
    "Read the inventory": {"task": "inventory.tasks.sync_inventory", "schedule": timedelta(minutes=30)},
}

# --- How long work may stand still ----------------------------------------------------------------------------------
WORK_DEADLINE = env.int("WORK_DEADLINE", 900)  # seconds a row may not move before the sweep sends its task again
# Seconds between the steps of a report, to spare the database.
REPORT_STEP_PAUSE = env.int("REPORT_STEP_PAUSE_MS", 50) / 1000

# --- Figures --------------------------------------------------------------------------------------------------------
# Seconds between a worker's reports; one that leaves out three is down.
WORKER_REPORT_INTERVAL = env.int("WORKER_REPORT_INTERVAL_MS", 5000) / 1000

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
