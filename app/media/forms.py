from typing import Any

from core.forms import OnceForm
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from PIL import Image as Pillow

from media.models import FORMATS

DOCUMENTS = [(name, name) for name in ("menu.txt", "suppliers.txt", "broken.bin")]


class SmallImageField(forms.ImageField):
    def to_python(self, data: Any) -> Any:
        """Refuses what is too large before it is decoded."""
        if isinstance(data, UploadedFile) and (data.size or 0) > settings.UPLOAD_MAX_BYTES:
            limit = settings.UPLOAD_MAX_BYTES // 1024**2
            raise ValidationError(f"The file is larger than {limit} MB.", code="too_large")
        if isinstance(data, UploadedFile) and data.size:
            try:
                Pillow.open(data, formats=FORMATS)
            except Exception as error:  # decoders raise many kinds
                raise ValidationError(self.error_messages["invalid_image"], code="invalid_image") from error
            data.seek(0)
        found: Any = super().to_python(data)
        if found and found.image.width * found.image.height > settings.UPLOAD_MAX_PIXELS:
            raise ValidationError("The picture has too many pixels.", code="too_large")
        return found


class ImageForm(OnceForm):
    title = forms.CharField(max_length=100)
    file = SmallImageField(label="Picture", help_text="JPEG, PNG or WebP, up to 5 MB")


class DocumentForm(OnceForm):
    name = forms.ChoiceField(choices=DOCUMENTS, label="Document")
