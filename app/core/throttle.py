"""Slows down whoever sends a form too often: rows are not made by the thousand, passwords not guessed.

Wrong passwords are counted by django-axes, by address and by account name; settings.py says how often. Here is what it asks
us, and the count of the other forms.
"""

import logging
import time
from collections.abc import Callable
from functools import wraps
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in
from django.core.cache import cache
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.crypto import constant_time_compare, salted_hmac

from core.conf import setting

logger = logging.getLogger(__name__)
View = Callable[..., HttpResponseBase]
KNOWN_BROWSER = "known_browser"  # a cookie
SIGNED_IN = "core.signed_in"  # among the request's WSGI variables: the mark of who has just signed in
YEAR = 365 * 86400  # seconds


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
    """The visitor's address, as our own proxy saw it: what it adds to X-Forwarded-For stands last.

    Of IPv6 it is the network that one customer of a provider has whole.
    """
    forwarded: str = request.headers.get("X-Forwarded-For", "")
    found = forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", "")
    try:
        is_v6 = ip_address(found).version == 6
    except ValueError:  # a socket file has none
        return found
    return str(ip_network((found, 64), strict=False).network_address) if is_v6 else found


def counted_by(request: HttpRequest, credentials: dict[str, str] | None) -> list[str]:
    """What wrong passwords are added up by, each on its own: the visitor's address and, from everywhere, the account's name.

    Not by the name where someone has signed in with it before: others' guesses do not shut a person out of the own browser.
    """
    username = (credentials or {}).get("username", "")
    known = constant_time_compare(request.COOKIES.get(KNOWN_BROWSER, ""), mark_of(username))
    return ["ip_address"] if known else ["ip_address", "username"]


def mark_of(username: str) -> str:
    """What a browser shows that has signed in with the name. Nobody else can make it."""
    return salted_hmac("core.throttle.known_browser", username).hexdigest()


@receiver(user_logged_in)
def note_who_signed_in(request: HttpRequest, user: AbstractBaseUser, **kwargs: object) -> None:
    request.META[SIGNED_IN] = mark_of(user.get_username())


class KnownBrowserMiddleware:
    """Lets a browser remember that it has signed in, whatever page that was on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if mark := request.META.get(SIGNED_IN):
            secure = settings.SESSION_COOKIE_SECURE
            response.set_cookie(KNOWN_BROWSER, mark, max_age=YEAR, secure=secure, httponly=True, samesite="Lax")
        return response


def too_many(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
    context = {"status": 429, "title": "Too often", "advice": "Wait a minute, then send it again."}
    response = render(request, "error.html", context, status=429)
    response["Retry-After"] = "60"
    return response
