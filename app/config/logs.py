"""How every process of the project logs: web, workers, Beat and commands. gunicorn's own processes too: see gunicorn.conf.py."""

from typing import Any

from environs import validate

from config.environment import env

LEVEL = env.str("LOG_LEVEL", "INFO")
FORMATTERS = {"plain": "core.logs.Plain", "json": "core.logs.Json"}
FORMAT = env.str("LOG_FORMAT", "plain", validate=validate.OneOf(list(FORMATTERS)))
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"subjects": {"()": "core.tracing.Subjects"}, "missed": {"()": "core.logs.Missed"}},
    "formatters": {"line": {"()": FORMATTERS[FORMAT]}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["subjects"]}},
    "root": {"handlers": ["stderr"], "level": LEVEL},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "axes": {"level": "WARNING"},
        # It tells of every change of the id.
        "django_guid": {"level": "WARNING"},
        # core.tracing says what it would say, with the request's id.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.beat": {"filters": ["missed"]},
        # billiard's, which keeps its lines from other handlers.
        "multiprocessing": {"handlers": ["stderr"], "propagate": False},
        # gunicorn's --log-level is that of the first; the second has none of its own.
        "gunicorn.error": {"handlers": [], "propagate": True},
        "gunicorn.access": {"handlers": [], "level": LEVEL, "propagate": True},
    },
}
