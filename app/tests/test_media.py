"""Pictures by chord and documents by chain, on both result backends."""

import io
import os
import stat
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests
from celery import current_app
from celery.exceptions import Retry
from core.outbox import AlreadySent
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from gateway.server import DOCUMENTS, Server
from media import services
from media.models import SIZES, Document, Download, Image
from media.tasks import download_document, image_failed
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from pytest_django import Settings

from tests.conftest import Worker, misbehave, results, wait_until


def picture(width: int = 1200, height: int = 600, kind: str = "JPEG") -> bytes:
    content = io.BytesIO()
    Pillow.effect_noise((width, height), 40).convert("RGB").save(content, kind)
    return content.getvalue()


def upload(site: Client, content: bytes, name: str = "pot.jpg") -> Any:
    file = SimpleUploadedFile(name, content, content_type="image/jpeg")
    return site.post("/images/", {"title": "My pot", "file": file, "reference": uuid.uuid4()})


@pytest.fixture
def image(user: User) -> Image:
    return Image.objects.create(owner=user, title="pot", file=ContentFile(picture(), name="pot.jpg"))


@pytest.mark.results
def test_an_uploaded_picture_ends_ready_in_every_size(user_site: Client, worker: Worker) -> None:
    response = upload(user_site, picture())
    page = response["Location"]
    wait_until(lambda: 'data-state="ready"' in user_site.get(page).content.decode())
    image = Image.objects.get()
    assert {(t.size, t.width, t.height) for t in image.thumbnails.all()} == {
        ("small", 160, 80),
        ("medium", 480, 240),
        ("large", 960, 480),
    }
    for thumbnail in image.thumbnails.all():
        with Pillow.open(thumbnail.file.path) as found:
            assert found.format == "WEBP"


@pytest.mark.results
@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # by Celery's own backend
def test_a_reason_that_is_not_stored_yet_is_waited_for(image: Image) -> None:
    failed_id = str(uuid.uuid4())
    with pytest.raises(Retry):
        image_failed(failed_id, image_id=image.pk)
    image_failed.backend.mark_as_failure(failed_id, ValueError("too small"))
    image_failed(failed_id, image_id=image.pk)
    image.refresh_from_db()
    assert (image.state, image.error) == ("failed", "ValueError: too small")


@pytest.mark.results
def test_a_picture_that_breaks_off_fails_visibly(user_site: Client, worker: Worker) -> None:
    whole = picture()
    response = upload(user_site, whole[: len(whole) // 2])
    page = response["Location"]
    wait_until(lambda: 'data-state="failed"' in user_site.get(page).content.decode())
    assert "truncated" in Image.objects.get().error


def test_a_thumbnail_made_twice_is_one(image: Image) -> None:
    for _ in range(2):
        services.make_thumbnail(image_id=image.pk, size="small")
    assert image.thumbnails.count() == 1
    folder = Path(image.thumbnails.get().file.path).parent
    assert len(list(folder.glob(f"{image.reference}*"))) == 1


def test_a_picture_is_ready_only_with_every_size(image: Image) -> None:
    for size in SIZES:
        assert services.finish_image(image_id=image.pk) == Image.State.PENDING
        services.make_thumbnail(image_id=image.pk, size=size)
    assert services.finish_image(image_id=image.pk) == Image.State.READY


def test_a_late_failure_does_not_spoil_a_ready_picture(image: Image) -> None:
    image.move(state=Image.State.READY)
    services.fail(work=image, reason="late")
    assert (image.state, image.error) == (Image.State.READY, "")


@pytest.mark.parametrize(
    ("content", "status", "complaint"),
    [
        (b"not a picture", 422, "valid image"),
        (b"", 422, "empty"),
        (b"x" * (5 * 1024 * 1024 + 1), 413, "larger than 5 MB"),
    ],
    ids=["no picture", "empty", "too large"],
)
def test_a_bad_upload_is_explained(user_site: Client, content: bytes, status: int, complaint: str) -> None:
    response = upload(user_site, content)
    assert response.status_code == status
    assert complaint in response.content.decode()
    assert not Image.objects.exists()


@pytest.mark.parametrize("kind", ["BMP", "GIF", "EPS", "TIFF", "JPEG2000"])
def test_pictures_of_other_formats_are_refused_and_never_decoded(user_site: Client, user: User, kind: str) -> None:
    assert "valid image" in upload(user_site, picture(20, 20, kind)).content.decode()
    assert not Image.objects.exists()
    image = Image.objects.create(owner=user, title="pot", file=ContentFile(picture(20, 20, kind), name="pot.jpg"))
    with pytest.raises(UnidentifiedImageError):
        services.make_thumbnail(image_id=image.pk, size="small")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_formats_that_the_form_names_are_taken(user_site: Client, kind: str) -> None:
    assert upload(user_site, picture(20, 20, kind)).status_code == 302
    assert Image.objects.count() == 1


def test_a_picture_with_too_many_pixels_is_refused(user_site: Client, settings: Settings) -> None:
    settings.UPLOAD_MAX_PIXELS = 100
    assert upload(user_site, picture(20, 20)).status_code == 413


SHRINK = """
import resource, sys, django
django.setup()
from media import services
from PIL import Image
Image.init()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[1], "rb") as original:
    services.shrink(original, longest_edge=160)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_picture_is_in_memory_once(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    pixels = 6000 * 6600  # just below what may be uploaded
    Pillow.new("RGB", (6000, 6600), "white").save(path)
    variables = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    program = [sys.executable, "-c", SHRINK, str(path)]
    result = subprocess.run(program, env=variables, capture_output=True, text=True, check=True)
    copies = int(result.stdout) * 1024 / (pixels * 3)
    assert copies < 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_pictures_of_every_colour_mode_are_shrunk(mode: str) -> None:
    content = io.BytesIO()
    kind = "JPEG" if mode == "CMYK" else "PNG"
    Pillow.new("RGB", (400, 200), "teal").convert(mode).save(content, kind)
    small = services.shrink(content, longest_edge=160)
    assert (small.mode, small.size) == ("RGB", (160, 80))


def test_the_places_in_a_photo_are_not_published(image: Image, user: User) -> None:
    content, notes = io.BytesIO(), Pillow.Exif()
    notes[0x010E] = "at home"
    Pillow.new("RGB", (300, 200)).save(content, "JPEG", exif=notes)
    image.file.save("x", ContentFile(content.getvalue()))
    services.make_thumbnail(image_id=image.pk, size="small")
    assert str(image.reference) not in image.file.url
    with Pillow.open(image.thumbnails.get().file.path) as thumbnail:
        assert not thumbnail.getexif()


def test_uploaded_files_are_readable_for_the_proxys_group_only(user: User, tmp_path: Path, settings: Settings) -> None:
    settings.MEDIA_ROOT = str(tmp_path)
    tmp_path.chmod(0o2750)
    image = Image.objects.create(owner=user, title="pot", file=ContentFile(picture(), name="pot.jpg"))
    path = Path(image.file.path)
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & stat.S_ISGID, "the folder hands its group on"


@pytest.mark.django_db(transaction=True)
def test_an_upload_sent_twice_leaves_one_file(user: User, tmp_path: Path, settings: Settings) -> None:
    settings.MEDIA_ROOT = str(tmp_path)
    reference, content = uuid.uuid4(), picture(20, 20)

    def send() -> None:
        together.wait()
        services.upload(owner=user, title="pot", file=ContentFile(content, name="pot.jpg"), reference=reference)
        connection.close()

    together = threading.Barrier(4)
    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    services.upload(owner=user, title="pot", file=ContentFile(content, name="pot.jpg"), reference=reference)
    assert [str(path) for path in (tmp_path / "originals").iterdir()] == [Image.objects.get().file.path]


@pytest.mark.parametrize("change", [{"title": "another pot"}, {"file": ContentFile(b"another", name="pot.jpg")}])
def test_another_picture_in_the_same_form_is_refused_and_leaves_no_file(
    user: User, tmp_path: Path, settings: Settings, change: dict[str, Any]
) -> None:
    settings.MEDIA_ROOT = str(tmp_path)
    form: dict[str, Any] = {"title": "pot", "file": ContentFile(picture(20, 20), name="pot.jpg")}
    form |= {"reference": uuid.uuid4(), "owner": user}
    services.upload(**form)
    with pytest.raises(AlreadySent):
        services.upload(**form | change)
    assert len(list((tmp_path / "originals").iterdir())) == 1


@pytest.mark.results
def test_a_document_passes_through_the_chain(user_site: Client, worker: Worker, gateway: Server) -> None:
    misbehave(gateway, "documents", "fail", times=2)
    user_site.post("/documents/", {"name": "menu.txt", "reference": uuid.uuid4()})
    wait_until(lambda: Document.objects.get().state == Document.State.READY)
    assert Document.objects.get().words == 220
    assert "220 words: Soup of the day" in user_site.get("/documents/").content.decode()


@pytest.mark.results
def test_the_text_of_a_document_is_in_no_message_and_no_result(
    user_site: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DOCUMENTS, "menu.txt", "soup\0" + 300_000 * "é")
    user_site.post("/documents/", {"name": "menu.txt", "reference": uuid.uuid4()})
    wait_until(lambda: Document.objects.get().state == Document.State.READY)
    wait_until(worker.is_idle)
    found = [len(result) for result in results()]
    assert len(found) >= 3  # download, process, store
    assert max(found) < 1000
    assert Document.objects.get().words == 2
    assert not Download.objects.exists()


def test_a_second_chain_for_the_same_document_changes_nothing(user: User, gateway: Server) -> None:
    """A message of the sweep, after the first chain has ended or in its middle."""
    document = Document.objects.create(owner=user, name="menu.txt")
    services.download(document_id=document.pk)
    services.download(document_id=document.pk)
    words = services.process(document_id=document.pk)
    assert services.store(document_id=document.pk, words=words) == Document.State.READY
    services.download(document_id=document.pk)
    assert not Download.objects.exists()
    assert services.process(document_id=document.pk) == 0
    assert services.store(document_id=document.pk, words=0) == Document.State.READY
    assert Document.objects.get().words == 220


def test_a_document_that_failed_leaves_no_download(user: User, gateway: Server) -> None:
    document = Document.objects.create(owner=user, name="broken.bin")
    services.download(document_id=document.pk)
    with pytest.raises(services.Unusable, match="empty"):
        services.process(document_id=document.pk)
    services.fail_document(document_id=document.pk, reason="The document is empty.")
    assert Document.objects.get().error == "The document is empty."
    assert not Download.objects.exists()


STEPS: list[tuple[str, tuple[object, ...], dict[str, object]]] = [
    ("make_thumbnail", (0, "small"), {}),
    ("finish_image", (0,), {}),
    ("image_failed", ("x",), {"image_id": 0}),
    ("download_document", (0,), {}),
    ("store_document", (1,), {"document_id": 0}),
    ("document_failed", ("x",), {"document_id": 0}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), STEPS, ids=[name for name, *_ in STEPS])
def test_a_step_of_a_row_that_was_deleted_has_nothing_to_do(
    db: None, name: str, args: tuple[object, ...], kwargs: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.tasks.reason_of", lambda task, failed_id: "unknown")
    assert current_app.tasks[f"media.tasks.{name}"].apply(args=args, kwargs=kwargs, throw=True).get() == "gone"


@pytest.mark.results
def test_an_error_in_the_middle_of_the_chain_is_shown(user_site: Client, worker: Worker) -> None:
    user_site.post("/documents/", {"name": "broken.bin", "reference": uuid.uuid4()})
    wait_until(lambda: Document.objects.get().state == Document.State.FAILED)
    assert "The document is empty" in user_site.get("/documents/").content.decode()


def test_a_document_the_supplier_does_not_have_is_an_error(user: User, gateway: Server) -> None:
    document = Document.objects.create(owner=user, name="missing")
    with pytest.raises(services.Unusable, match="no missing"):
        services.download(document_id=document.pk)


def test_a_document_without_end_is_not_read_to_its_end(user: User, gateway: Server, settings: Settings) -> None:
    settings.DOCUMENT_MAX_BYTES = 100
    document = Document.objects.create(owner=user, name="menu.txt")
    with pytest.raises(services.Unusable, match="larger than 100 bytes"):
        services.download(document_id=document.pk)


def test_documents_that_failed_together_do_not_return_together(
    user: User, gateway: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = set()

    def retry(*, exc: Exception, countdown: float) -> Exception:
        pauses.add(countdown)
        return exc

    monkeypatch.setattr(download_document, "retry", retry)
    misbehave(gateway, "documents", "fail")
    document = Document.objects.create(owner=user, name="menu.txt")
    for _ in range(5):
        with pytest.raises(requests.RequestException):
            download_document(document.pk)
    assert len(pauses) == 5
    assert min(pauses) > 0


def test_the_form_fetches_known_documents_only(user_site: Client) -> None:
    form = {"name": "http://169.254.169.254/", "reference": uuid.uuid4()}
    assert user_site.post("/documents/", form).status_code == 422
    assert not Document.objects.exists()
