from django.contrib import messages
from django.db import transaction
from django.shortcuts import get_object_or_404, redirect, render

from pictures.forms import PictureForm
from pictures.models import Picture
from pictures.tasks import make_thumbnail


def index(request):
    form = PictureForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        picture = form.save()
        transaction.on_commit(lambda: make_thumbnail.delay(picture.pk))
        messages.success(request, "Thank you for your picture.")
        return redirect("picture", pk=picture.pk)
    return render(request, "pictures/index.html", {"form": form, "pictures": Picture.objects.order_by("-pk")[:20]})


def picture(request, pk):
    return render(request, "pictures/picture.html", {"picture": get_object_or_404(Picture, pk=pk)})
