"""Reports errors to Sentry, or to what speaks its protocol: those of views, final failures of tasks, what is logged as critical."""

import logging
from typing import Any

from core import logs, tracing
from environs import EnvValidationError


def start(*, dsn: str, environment: str, release: str) -> None:
    """Starts the reports. They are sent by a thread of their own: whoever serves a visitor never waits for Sentry.

    Raises EnvValidationError if sentry-sdk is not installed, or the address is none of Sentry's.
    """
    try:
        import sentry_sdk
        from sentry_sdk.integrations.celery import CeleryIntegration
        from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger
        from sentry_sdk.integrations.redis import RedisIntegration
        from sentry_sdk.scrubber import EventScrubber
        from sentry_sdk.utils import BadDsn
    except ModuleNotFoundError as error:
        raise EnvValidationError(
            'Environment variable "SENTRY_DSN" is set, but sentry-sdk is not installed: add it to requirements.in.', []
        ) from error
    ignore_logger("gunicorn.access")  # what others asked for before
    try:
        sentry_sdk.init(
            dsn,
            environment=environment,
            release=release,
            integrations=[
                LoggingIntegration(event_level=logging.CRITICAL),
                CeleryIntegration(propagate_traces=False),
            ],
            before_send=prepared,
            # Nothing but errors, and of a visitor only what the error is about.
            auto_session_tracking=False,
            send_default_pii=False,
            max_request_body_size="never",
            include_local_variables=False,
            # It would report each command: keys of sessions, and visitors' addresses, stand in them.
            disabled_integrations=[RedisIntegration()],
            event_scrubber=EventScrubber(recursive=True),
        )
    except BadDsn:
        raise EnvValidationError('Environment variable "SENTRY_DSN" is not an address of Sentry.', []) from None


def prepared(event: Any, hint: object) -> Any:
    """The report with request and task as tags, without passwords in URLs; of the request no more than method and path."""
    event.setdefault("tags", {}).update(tracing.subjects())
    if "request" in event:
        event["request"] = {key: event["request"].get(key) for key in ("method", "url")}
    return scrubbed(event)


def scrubbed(value: Any) -> Any:
    """The value, lists and dictionaries with all that is in them, without passwords in URLs."""
    if isinstance(value, str):
        return logs.without_passwords(value)
    if isinstance(value, list):
        return [scrubbed(item) for item in value]
    if isinstance(value, dict):
        return {key: scrubbed(item) for key, item in value.items()}
    return value
