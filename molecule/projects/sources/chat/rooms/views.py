from django.http import JsonResponse
from django.shortcuts import render

from rooms.models import Line, Server


def index(request):
    rooms = Line.objects.order_by("room").values_list("room", flat=True).distinct()
    return render(request, "rooms/index.html", {"rooms": rooms})


def room(request, room):
    return render(request, "rooms/room.html", {"room": room, "lines": Line.objects.filter(room=room)})


def servers(request):
    running = Server.objects.filter(ended=None).count()
    return JsonResponse({"running": running, "ended": Server.objects.exclude(ended=None).count()})
