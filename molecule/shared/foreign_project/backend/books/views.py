"""The library's pages."""

import time

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from books.models import Book, MigrateRun
from books.tasks import lend


def shelf(request: HttpRequest) -> HttpResponse:
    """All books, and how often the database was migrated."""
    return render(
        request, "books/shelf.html", {"books": Book.objects.all(), "migrate_runs": MigrateRun.objects.count()}
    )


def motto(request: HttpRequest) -> HttpResponse:
    """The value of LIBRARY_MOTTO as the process got it."""
    return HttpResponse(settings.MOTTO, content_type="text/plain; charset=utf-8")


def visitor(request: HttpRequest) -> JsonResponse:
    """Who asks, as far as the server knows."""
    return JsonResponse(
        {"secure": request.is_secure(), "scheme": request.scheme, "address": request.META["REMOTE_ADDR"]}
    )


def slow(request: HttpRequest) -> HttpResponse:
    """Answer when the folder of uploads has a file `end`; there is one `begun` from the beginning."""
    default_storage.save("begun", ContentFile(b""))
    while not default_storage.exists("end"):
        time.sleep(0.1)
    return HttpResponse("at last", content_type="text/plain")


def key(request: HttpRequest) -> HttpResponse:
    """The value of LIBRARY_KEY as the process got it."""
    return HttpResponse(settings.KEY, content_type="text/plain; charset=utf-8")


def edition(request: HttpRequest) -> HttpResponse:
    """What the local settings say, if there are any."""
    return HttpResponse(settings.EDITION, content_type="text/plain; charset=utf-8")


def export(request: HttpRequest, name: str) -> HttpResponse:
    """Write the books to a file inside the source; answers with the names of all such files."""
    (settings.EXPORTS / f"{name}.txt").write_text("\n".join(book.title for book in Book.objects.all()))
    names = sorted(path.name for path in settings.EXPORTS.iterdir())
    return HttpResponse("\n".join(names), content_type="text/plain; charset=utf-8")


def upload_cover(request: HttpRequest) -> HttpResponse:
    """Store the uploaded file `cover`; answers with its name."""
    name = default_storage.save(request.FILES["cover"].name, request.FILES["cover"])
    return HttpResponse(name, content_type="text/plain; charset=utf-8", status=201)


def lend_book(request: HttpRequest) -> HttpResponse:
    """Lend the book `title` in the background."""
    lend.delay(request.POST["title"])
    return HttpResponse(status=202)
