import requests
from celery import Task, chain, chord, shared_task
from celery.result import AsyncResult
from core.rowtask import RowTask
from core.services import backoff

from media import services
from media.models import SIZES, Document, Image


@shared_task(base=RowTask)
def start_thumbnails(image_id: int) -> None:
    """All sizes in parallel, then the image is ready; a size that fails fails the image."""
    if Image.objects.get(pk=image_id).is_over:
        return
    sizes = [make_thumbnail.si(image_id, size) for size in SIZES]
    chord(sizes)(finish_image.si(image_id).on_error(image_failed.s(image_id=image_id)))


@shared_task(base=RowTask)
def make_thumbnail(image_id: int, size: str) -> None:
    services.make_thumbnail(image_id=image_id, size=size)


@shared_task(base=RowTask)
def finish_image(image_id: int) -> str:
    return services.finish_image(image_id=image_id)


@shared_task(base=RowTask, bind=True, max_retries=5)
def image_failed(self: "Task[..., None]", task_id: str, *, image_id: int) -> None:
    services.fail(work=Image.objects.get(pk=image_id), reason=reason_of(self, task_id))


@shared_task(base=RowTask)
def start_document(document_id: int) -> None:
    """One step after the other; a step that fails fails the document. Results stay small: the text waits in the database."""
    if Document.objects.get(pk=document_id).is_over:
        return
    steps = chain(
        download_document.si(document_id), process_document.si(document_id), store_document.s(document_id=document_id)
    )
    steps.on_error(document_failed.s(document_id=document_id)).delay()


@shared_task(base=RowTask, bind=True, max_retries=3)
def download_document(self: "Task[..., None]", document_id: int) -> None:
    try:
        services.download(document_id=document_id)
    except requests.RequestException as error:
        raise self.retry(exc=error, countdown=backoff(retries=self.request.retries)) from error


@shared_task(base=RowTask)
def process_document(document_id: int) -> int:
    return services.process(document_id=document_id)


@shared_task(base=RowTask)
def store_document(words: int, *, document_id: int) -> str:
    return services.store(document_id=document_id, words=words)


@shared_task(base=RowTask, bind=True, max_retries=5)
def document_failed(self: "Task[..., None]", task_id: str, *, document_id: int) -> None:
    services.fail_document(document_id=document_id, reason=reason_of(self, task_id))


def reason_of(task: "Task[..., None]", failed_id: str) -> str:
    """What a failed task's exception said.

    A chord's body is said to have failed a moment before its result is stored (`Backend.chord_error_from_stack` of Celery 5.7).

    Args:
        task: who asks; it is tried again until the result is there.
        failed_id: the failed task.

    Raises:
        Retry: the result is not stored yet.
    """
    error = AsyncResult(failed_id).result
    if isinstance(error, Exception):
        return f"{type(error).__name__}: {error}"
    if task.request.retries < (task.max_retries or 0):
        raise task.retry(countdown=1)
    return "unknown"
