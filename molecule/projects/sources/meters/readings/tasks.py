from celery import shared_task
from django.core.cache import cache
from meters_protocol import decode

from readings.models import Reading, Tariff


@shared_task
def take(telegram):
    """Decode a telegram, given in hexadecimal, and work out what was used costs."""
    meter, kilowatt_hours = decode(bytes.fromhex(telegram))
    tariff = Tariff.objects.get(name="day")
    reading = Reading.objects.create(
        meter=meter, kilowatt_hours=kilowatt_hours, tariff=tariff, cost=kilowatt_hours * tariff.cents
    )
    cache.set("last meter", meter, timeout=None)
    return reading.cost
