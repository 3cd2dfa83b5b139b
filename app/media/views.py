import uuid

from core.access import own_or_403
from core.http import UserRequest
from core.outbox import AlreadySent
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.text import slugify
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from media import services
from media.files import lend
from media.forms import DocumentForm, ImageForm
from media.models import SIZES, Document, Image


@login_required
@require_http_methods(["GET", "POST"])
def images(request: UserRequest) -> HttpResponse:
    """The upload form, and the visitor's own pictures."""
    form = ImageForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            return redirect(services.upload(owner=request.user, **form.cleaned_data))
        except AlreadySent:
            form.refuse_change()
    status = 413 if form.has_error("file", "too_large") else 422 if form.errors else 200
    context = {"form": form, "images": Image.objects.filter(owner=request.user)[:20]}
    return render(request, "media/images.html", context, status=status)


@login_required
@require_GET
@never_cache
def image(request: UserRequest, reference: uuid.UUID) -> HttpResponse:
    """One picture; htmx asks for the part that changes."""
    found = own_or_403(request, Image, reference)
    template = "media/_image.html" if request.htmx else "media/image.html"
    return render(request, template, {"image": found, "thumbnails": found.thumbnails.all(), "sizes": len(SIZES)})


@login_required
@require_GET
def thumbnail(request: UserRequest, reference: uuid.UUID, size: str) -> HttpResponseBase:
    """One size of a picture, for its owner."""
    found = own_or_403(request, Image, reference)
    return lend(get_object_or_404(found.thumbnails, size=size).file, content_type="image/webp")


@login_required
@require_GET
def original(request: UserRequest, reference: uuid.UUID) -> HttpResponseBase:
    """What was uploaded, to keep and not to be shown: nobody has decoded all of it."""
    found = own_or_403(request, Image, reference)
    return lend(
        found.file,
        content_type="application/octet-stream",
        save_as=slugify(found.title, allow_unicode=True) or "picture",
    )


@login_required
@require_http_methods(["GET", "POST"])
@never_cache
def documents(request: UserRequest) -> HttpResponse:
    """The form that fetches a document, and the visitor's own documents; htmx asks for the list."""
    form = DocumentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.request_document(owner=request.user, **form.cleaned_data)
            return redirect("documents")
        except AlreadySent:
            form.refuse_change()
    found = list(Document.objects.filter(owner=request.user)[:20])
    context = {"form": form, "documents": found, "busy": not all(document.is_over for document in found)}
    template = "media/_documents.html" if request.htmx else "media/documents.html"
    return render(request, template, context, status=422 if form.errors else 200)
