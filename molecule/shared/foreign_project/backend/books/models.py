"""What the library stores."""

from django.db import models


class Book(models.Model):
    """A book and how often it was lent."""

    title = models.CharField(max_length=100, unique=True)
    lent = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.title


class MigrateRun(models.Model):
    """One run of `manage.py migrate`."""

    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.at)
