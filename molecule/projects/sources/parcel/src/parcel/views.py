from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from parcel.models import Carrier, Parcel
from parcel.tracking import track


def find(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        carrier = get_object_or_404(Carrier, name=request.POST["carrier"])
        parcel, _ = Parcel.objects.get_or_create(number=request.POST["number"], defaults={"carrier": carrier})
        track.delay(parcel.number)
        return redirect("parcel", number=parcel.number)
    return render(request, "parcel/find.html", {"carriers": Carrier.objects.order_by("name")})


def parcel(request: HttpRequest, number: str) -> HttpResponse:
    return render(request, "parcel/parcel.html", {"parcel": get_object_or_404(Parcel, number=number)})
