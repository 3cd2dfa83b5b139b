import io
import uuid
from typing import IO

import requests
from core import outbox
from core.models import OutboxRow
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import ContentFile, File
from django.db import transaction
from PIL import Image as Pillow
from PIL import ImageOps

from media.models import FORMATS, SIZES, Document, Download, Image, Thumbnail

EXCERPT = 300  # characters


class Unusable(Exception):
    """The document is there but nothing can be made of it."""


def upload(*, owner: User, title: str, file: File[bytes], reference: uuid.UUID) -> Image:
    """Keeps the picture and queues its thumbnails; the same form again keeps the first.

    Raises outbox.AlreadySent if the reference was used for another picture.
    """
    values = {"owner": owner, "title": title, "size": file.size, "file": file}
    return outbox.create_and_send(Image, reference=reference, told_apart_by=("owner", "title", "size"), **values)


def make_thumbnail(*, image_id: int, size: str) -> None:
    """Makes one size of the image, unless it exists. Raises OSError if the file cannot be read as a picture."""
    image = Image.objects.get(pk=image_id)
    if image.is_over or image.thumbnails.filter(size=size).exists():
        return
    with image.file.open() as original:
        small = shrink(original, longest_edge=SIZES[size])
    content = io.BytesIO()
    small.save(content, "WEBP", quality=82)
    values = {"width": small.width, "height": small.height, "file": ContentFile(content.getvalue(), name=size)}
    Thumbnail.objects.update_or_create(image=image, size=size, defaults=values)
    image.move()


def shrink(original: IO[bytes], *, longest_edge: int) -> Pillow.Image:
    """The picture, at most so many pixels wide and high, upright, and without the camera's notes about the place.

    It is in memory once at its full size. Raises OSError if it is not readable as a picture of our formats.
    """
    with Pillow.open(original, formats=FORMATS) as picture:
        # Colours of a palette cannot be mixed.
        small = picture.convert("RGB") if picture.mode in ("1", "P") else picture
        small.thumbnail((longest_edge, longest_edge))
        return ImageOps.exif_transpose(small).convert("RGB")


def finish_image(*, image_id: int) -> str:
    """Marks the image ready if every size exists; returns the state it is in."""
    with transaction.atomic():
        image = Image.objects.select_for_update().get(pk=image_id)
        if not image.is_over and image.thumbnails.count() == len(SIZES):
            image.move(state=Image.State.READY, error="")
        return image.state


def fail(*, work: OutboxRow, reason: str) -> None:
    """Shows the owner that the work came to nothing, and why; what was finished meanwhile stays so."""
    if not work.is_over:
        work.move(state="failed", error=reason)


def request_document(*, owner: User, name: str, reference: uuid.UUID) -> Document:
    """Queues the fetching of the document."""
    return outbox.create_and_send(Document, reference=reference, owner=owner, name=name)


def download(*, document_id: int) -> None:
    """Keeps what the supplier sends. Raises requests.RequestException, or Unusable if there is nothing or too much."""
    name = Document.objects.values_list("name", flat=True).get(pk=document_id)
    content = fetch(name=name)
    with transaction.atomic():
        document = Document.objects.select_for_update().get(pk=document_id)
        if not document.is_over:
            Download.objects.update_or_create(document=document, defaults={"content": content})
            document.move()


def fetch(*, name: str) -> bytes:
    """The supplier's document of this name. Raises requests.RequestException or Unusable."""
    # The form offers names only: nobody can make the server fetch an address.
    address = f"{settings.INVENTORY_URL}/documents/{name}"
    content = b""
    with requests.get(address, timeout=settings.DOWNSTREAM_TIMEOUT, stream=True) as response:
        if 400 <= response.status_code < 500:
            raise Unusable(f"The supplier has no {name}.")
        response.raise_for_status()
        for part in response.iter_content(65536):
            content += part
            if len(content) > settings.DOCUMENT_MAX_BYTES:
                raise Unusable(f"{name} is larger than {settings.DOCUMENT_MAX_BYTES} bytes.")
    return content


def process(*, document_id: int) -> int:
    """Counts the words of what was downloaded; 0 if another worker has stored them already.

    Raises Unusable if the document is empty.
    """
    download = Download.objects.filter(document=document_id).first()
    if download is None:
        return 0
    if not download.words:
        raise Unusable("The document is empty.")
    return len(download.words)


def store(*, document_id: int, words: int) -> str:
    """Keeps the number of words and the beginning of the document; returns the state it is in."""
    with transaction.atomic():
        document = Document.objects.select_for_update().get(pk=document_id)
        download = Download.objects.filter(document=document).first()
        if words and download and not document.is_over:
            excerpt = " ".join(download.words[:30])[:EXCERPT]
            document.move(state=Document.State.READY, words=words, excerpt=excerpt, error="")
            download.delete()
        return document.state


def fail_document(*, document_id: int, reason: str) -> None:
    """Shows the owner that the document came to nothing, and why."""
    with transaction.atomic():
        document = Document.objects.select_for_update().get(pk=document_id)
        fail(work=document, reason=reason)
        Download.objects.filter(document=document).delete()
