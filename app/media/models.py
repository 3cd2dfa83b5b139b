import uuid
from typing import ClassVar

from core.models import NEEDS_ATTENTION, OutboxRow, sweep_index
from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.db import models
from django.urls import reverse

FORMATS = ("JPEG", "PNG", "WEBP")  # the only ones that are ever decoded, whatever else Pillow knows
SIZES = {"small": 160, "medium": 480, "large": 960}  # longest edge in pixels


def overwriting_storage() -> FileSystemStorage:
    """Made again, a thumbnail replaces the old file instead of standing beside it."""
    return FileSystemStorage(allow_overwrite=True)


def original_path(image: "Image", name: str) -> str:
    """A name nobody can guess from the thumbnails': the original still tells where it was taken."""
    return f"originals/{uuid.uuid4()}"


def thumbnail_path(thumbnail: "Thumbnail", name: str) -> str:
    return f"thumbnails/{thumbnail.image.reference}-{thumbnail.size}.webp"


class Image(OutboxRow):
    """An uploaded picture, ready once it exists in every size."""

    class State(models.TextChoices):
        PENDING = "pending"
        READY = "ready"
        FAILED = "failed"
        NEEDS_ATTENTION = NEEDS_ATTENTION

    task = "media.tasks.start_thumbnails"
    unfinished: ClassVar[tuple[str, ...]] = (State.PENDING,)
    patience = 300

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    file = models.FileField(upload_to=original_path)
    size = models.PositiveIntegerField(default=0, db_default=0, editable=False, help_text="bytes")
    title = models.CharField(max_length=100)
    state = models.CharField(max_length=20, choices=State.choices, default=State.PENDING)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = (sweep_index("image_to_send", "pending"),)
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("image", args=[self.reference])


class Thumbnail(models.Model):
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="thumbnails")
    size = models.CharField(max_length=10, choices=[(size, size) for size in SIZES])
    file = models.FileField(upload_to=thumbnail_path, storage=overwriting_storage)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()

    class Meta:
        ordering = ("width",)
        constraints = (models.UniqueConstraint(fields=("image", "size"), name="one_thumbnail_a_size"),)

    def __str__(self) -> str:
        return f"{self.image} {self.size}"

    def get_absolute_url(self) -> str:
        return reverse("thumbnail", args=[self.image.reference, self.size])


class Document(OutboxRow):
    """A supplier's document: downloaded, its words counted, and stored."""

    class State(models.TextChoices):
        PENDING = "pending"
        READY = "ready"
        FAILED = "failed"
        NEEDS_ATTENTION = NEEDS_ATTENTION

    task = "media.tasks.start_document"
    unfinished: ClassVar[tuple[str, ...]] = (State.PENDING,)
    patience = 600

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    name = models.SlugField()
    state = models.CharField(max_length=20, choices=State.choices, default=State.PENDING)
    words = models.PositiveIntegerField(null=True, editable=False)
    excerpt = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = (sweep_index("document_to_send", "pending"),)
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.name


class Download(models.Model):
    """What the supplier sent, until it is processed: too large for a message or a result, and for the document's own row."""

    document = models.OneToOneField(Document, on_delete=models.CASCADE)
    content = models.BinaryField()

    @property
    def words(self) -> list[str]:
        """PostgreSQL's texts hold no NUL."""
        return bytes(self.content).decode(errors="replace").replace("\0", " ").split()

    def __str__(self) -> str:
        return str(self.document)
