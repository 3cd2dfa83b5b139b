"""Work in the background."""

from celery import shared_task
from django.db.models import F

from books.models import Book


@shared_task
def lend(title: str) -> int:
    """Count that a book was lent; returns the number of books it applied to."""
    return Book.objects.filter(title=title).update(lent=F("lent") + 1)
