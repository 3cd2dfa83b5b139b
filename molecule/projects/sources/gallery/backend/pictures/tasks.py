from io import BytesIO
from pathlib import PurePath

from celery import shared_task
from django.core.files.base import ContentFile
from PIL import Image, ImageOps

from pictures.models import Picture


@shared_task
def make_thumbnail(pk):
    picture = Picture.objects.get(pk=pk)
    with Image.open(picture.image) as image:
        small = ImageOps.contain(ImageOps.exif_transpose(image).convert("RGB"), (64, 64))
    written = BytesIO()
    small.save(written, "JPEG")
    picture.thumbnail.save(PurePath(picture.image.name).stem + ".jpg", ContentFile(written.getvalue()))
    return picture.thumbnail.name
