from django.db import models


class Tariff(models.Model):
    name = models.CharField(max_length=20, unique=True)
    cents = models.PositiveIntegerField()

    def __str__(self):
        return self.name


class Reading(models.Model):
    meter = models.CharField(max_length=16)
    kilowatt_hours = models.PositiveIntegerField()
    tariff = models.ForeignKey(Tariff, on_delete=models.PROTECT)
    cost = models.PositiveIntegerField(null=True, help_text="in cents")

    def __str__(self):
        return f"{self.meter}: {self.kilowatt_hours} kWh"
