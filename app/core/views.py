from django.core.cache import cache
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from kombu.exceptions import OperationalError

from core import broker, metrics, services
from core.access import staff_only
from core.models import TaskRun


@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_GET
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Every service the site needs answers; 503 and which one if not."""
    report = services.readiness()
    return JsonResponse(report, status=200 if set(report.values()) == {"ok"} else 503)


@require_GET
def fleet_metrics(request: HttpRequest) -> HttpResponse:
    """The fleet's figures, whichever web server answers."""
    return HttpResponse(metrics.fleet(), content_type=metrics.CONTENT_TYPE)


@require_GET
def web_metrics(request: HttpRequest) -> HttpResponse:
    """The figures of the web server that answers."""
    return HttpResponse(metrics.web(), content_type=metrics.CONTENT_TYPE)


@staff_only
@require_GET
@never_cache
def tasks(request: HttpRequest) -> HttpResponse:
    """The last tasks and what waits in the queues; htmx asks for the tables alone."""
    try:
        # However many look at the page, the broker is asked once in two seconds.
        lengths = cache.get_or_set("queue-lengths", broker.queue_lengths, timeout=2)
    except (OperationalError, OSError):
        lengths = None
    context = {"runs": TaskRun.objects.all()[:50], "lengths": lengths}
    # Not request.htmx: the page needs no middleware.
    return render(request, "core/_tasks.html" if "HX-Request" in request.headers else "core/tasks.html", context)


def error_page(request: HttpRequest, status: int, title: str, advice: str) -> HttpResponse:
    return render(request, "error.html", {"status": status, "title": title, "advice": advice}, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return error_page(request, 413, "Too large", "What was sent is larger than this page accepts.")
    return error_page(request, 400, "Not understood", "The request was malformed. Go back and try again.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 403, "Not allowed", "This page belongs to someone else.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page(request, 404, "Not found", "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Without the request: who is signed in stands in the database, which may be what broke."""
    context = {"status": 500, "title": "Something broke", "advice": "It is not your fault, and it has been logged."}
    return HttpResponse(render_to_string("error.html", context), status=500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    advice = "The form was not sent from this site, or it stood open too long. Go back, reload, and send it again."
    return error_page(request, 403, "Form refused", advice)
