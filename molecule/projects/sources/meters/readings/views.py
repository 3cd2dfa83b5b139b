from django.core.cache import cache
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from readings.models import Reading
from readings.tasks import take


def meters(request):
    context = {"readings": Reading.objects.select_related("tariff"), "last": cache.get("last meter")}
    return render(request, "readings/meters.html", context)


@csrf_exempt
@require_POST
def receive(request):
    """What meters send to; they keep no cookies."""
    take.delay(request.body.hex())
    return HttpResponse(status=202)
