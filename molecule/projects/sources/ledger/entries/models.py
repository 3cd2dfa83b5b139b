from django.db import models


class Entry(models.Model):
    account = models.CharField(max_length=40)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    booked = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-booked"]
        verbose_name_plural = "entries"

    def __str__(self):
        return f"{self.account} {self.amount}"


class Statement(models.Model):
    account = models.CharField(max_length=40)
    balance = models.DecimalField(max_digits=14, decimal_places=2, null=True)

    def __str__(self):
        return self.account


class Closing(models.Model):
    at = models.DateTimeField(auto_now_add=True)
    entries = models.PositiveIntegerField()

    def __str__(self):
        return f"{self.at}: {self.entries}"
