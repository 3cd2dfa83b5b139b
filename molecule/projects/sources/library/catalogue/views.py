from django.conf import settings
from django.contrib.postgres.search import TrigramSimilarity
from django.db import transaction
from django.http import FileResponse, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from . import tasks
from .models import Book, Export


def search(request):
    books = Book.objects.order_by("title")
    if words := request.GET.get("q"):
        books = books.annotate(similarity=TrigramSimilarity("title", words)).filter(similarity__gt=0.2)
    return render(request, "catalogue/search.html", {"books": books[:50]})


@require_POST
def add(request):
    book = Book.objects.create(title=request.POST["title"], isbn=request.POST["isbn"])

    def catalogue():
        for kind in settings.KINDS:
            tasks.work.apply_async([book.pk, kind], queue=kind)

    transaction.on_commit(catalogue)
    return redirect("book", pk=book.pk)


def book(request, pk):
    return render(request, "catalogue/book.html", {"book": get_object_or_404(Book, pk=pk)})


@require_POST
def order_export(request):
    order = Export.objects.create()
    transaction.on_commit(lambda: tasks.export.delay(order.pk))
    return redirect("export", pk=order.pk)


def export(request, pk):
    order = get_object_or_404(Export, pk=pk)
    if not order.file:
        return HttpResponse("It is being written.", status=202)
    return FileResponse(open(settings.EXPORTS / order.file, "rb"), content_type="text/csv")
