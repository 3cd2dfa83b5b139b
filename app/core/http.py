"""Request types for views: what the middleware adds, so that mypy knows."""

from django.contrib.auth.models import User
from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class Request(HttpRequest):
    htmx: HtmxDetails


class UserRequest(Request):
    """Behind login_required."""

    user: User
