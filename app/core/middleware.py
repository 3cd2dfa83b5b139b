import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from core.metrics import DURATION, REQUESTS


class HttpFigures:
    """Counts and times requests by view name (never by path, whose values have no bound)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        start = time.perf_counter()
        response = self.get_response(request)
        view = (request.resolver_match.view_name if request.resolver_match else "") or "none"
        method = request.method if request.method in ("GET", "HEAD", "POST") else "other"
        REQUESTS.labels(method, view, response.status_code).inc()
        DURATION.labels(method, view).observe(time.perf_counter() - start)
        return response
