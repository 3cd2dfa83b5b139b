"""Slows down whoever sends a form too often: passwords are not guessed, rows not made by the thousand."""

import logging
import time
from collections.abc import Callable
from functools import wraps

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from core.conf import setting

logger = logging.getLogger(__name__)
View = Callable[..., HttpResponseBase]


def throttled(a_minute: int) -> Callable[[View], View]:
    """Lets each address send the view's form so many times a minute, over all web servers; 429 beyond that."""

    def decorate(view: View) -> View:
        @wraps(view)
        def limited(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
            if setting("THROTTLE") and request.method == "POST" and times_seen(request, view.__qualname__) > a_minute:
                return too_many(request)
            return view(request, *args, **kwargs)

        return limited

    return decorate


def times_seen(request: HttpRequest, view: str) -> int:
    """How often this minute the visitor's address has sent the form, this time included; 0 if the cache is away."""
    key = f"throttle:{view}:{address(request)}:{int(time.time() // 60)}"
    try:
        cache.add(key, 0, timeout=120)
        return int(cache.incr(key))
    except Exception as error:  # whatever the cache's client raises: a site without its cache still takes orders
        logger.error("the throttle cannot count: %s", type(error).__name__)
        return 0


def address(request: HttpRequest) -> str:
    """The visitor's address, as our own proxy saw it: what it adds to X-Forwarded-For stands last."""
    forwarded: str = request.headers.get("X-Forwarded-For", "")
    return forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")


def too_many(request: HttpRequest) -> HttpResponse:
    context = {"status": 429, "title": "Too often", "advice": "Wait a minute, then send it again."}
    response = render(request, "error.html", context, status=429)
    response["Retry-After"] = "60"
    return response
