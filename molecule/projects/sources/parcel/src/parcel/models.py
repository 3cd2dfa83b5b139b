from django.db import models


class Carrier(models.Model):
    name = models.CharField(max_length=60, unique=True)

    def __str__(self) -> str:
        return self.name


class Parcel(models.Model):
    number = models.CharField(max_length=20, unique=True)
    carrier = models.ForeignKey(Carrier, on_delete=models.PROTECT)
    whereabouts = models.CharField(max_length=100, blank=True)

    def __str__(self) -> str:
        return self.number
