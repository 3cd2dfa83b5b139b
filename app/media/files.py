"""Uploads for whoever was let in."""

from pathlib import Path

from django.conf import settings
from django.db.models.fields.files import FieldFile
from django.http import FileResponse, Http404, HttpResponse, HttpResponseBase
from django.utils.http import content_disposition_header


def lend(file: FieldFile, *, content_type: str, save_as: str = "") -> HttpResponseBase:
    """Answers with an upload. The caller has asked whose it is.

    By the proxy where that keeps uploads private: it serves /media/ to this header and to nobody else. Elsewhere by this
    process.

    Args:
        content_type: what it is; browsers do not look for themselves (`nosniff`).
        save_as: the name to keep it under; without one it is shown.

    Raises:
        Http404: it is not there.
        SuspiciousFileOperation: its row names a file that is no upload.
    """
    if not Path(file.path).is_file():
        raise Http404
    response: HttpResponseBase
    if settings.MEDIA_IS_PRIVATE:
        response = HttpResponse(content_type=content_type, headers={"X-Accel-Redirect": file.url})
    else:
        response = FileResponse(file.open(), content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(bool(save_as), save_as) or "inline"
    # The visitor's own browser keeps it, and asks each time whether it may still be seen.
    response["Cache-Control"] = "private, no-cache"
    return response
