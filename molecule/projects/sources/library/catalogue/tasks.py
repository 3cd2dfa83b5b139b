import csv
import threading

from celery import shared_task
from django.conf import settings

from .models import Book, Export, Work


@shared_task
def work(pk, kind):
    by = getattr(settings, "CATALOGUED_BY", "the site itself")
    Work.objects.create(book_id=pk, kind=kind, by=f"{by} ({threading.current_thread().name.split('_')[0]})")


@shared_task
def export(pk):
    order = Export.objects.get(pk=pk)
    order.file = f"books-{pk}.csv"
    with open(settings.EXPORTS / order.file, "w", newline="") as file:
        csv.writer(file).writerows(Book.objects.order_by("title").values_list("title", "isbn"))
    order.save()
    return order.file
