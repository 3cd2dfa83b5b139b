from django.contrib.postgres.indexes import GinIndex
from django.db import models


class Book(models.Model):
    title = models.CharField(max_length=200)
    isbn = models.CharField(max_length=13, unique=True)

    class Meta:
        indexes = [GinIndex(name="book_title_trigrams", fields=["title"], opclasses=["gin_trgm_ops"])]

    def __str__(self):
        return self.title


class Work(models.Model):
    """A kind of work that was done on a book."""

    book = models.ForeignKey(Book, on_delete=models.CASCADE, related_name="works")
    kind = models.CharField(max_length=20)
    by = models.CharField(max_length=60)

    def __str__(self):
        return f"{self.book}: {self.kind}"


class Export(models.Model):
    ordered = models.DateTimeField(auto_now_add=True)
    file = models.CharField(max_length=100, blank=True)

    def __str__(self):
        return self.file or "ordered"
