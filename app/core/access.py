"""Who may see what: rows that belong to a person are shown to that person and to staff."""

import uuid
from typing import TypeVar

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from core.models import OutboxRow

Row = TypeVar("Row", bound=OutboxRow)


def own_or_403(request: HttpRequest, model: type[Row], reference: uuid.UUID) -> Row:
    """The row with this reference. Raises Http404 if there is none, PermissionDenied if it is someone else's."""
    row = get_object_or_404(model, reference=reference)
    if getattr(row, "owner_id", None) != request.user.pk and not request.user.is_staff:
        raise PermissionDenied
    return row
