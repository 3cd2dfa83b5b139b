"""Who may see what: rows that belong to a person are shown to that person and to staff."""

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from core.models import OutboxRow

Row = TypeVar("Row", bound=OutboxRow)
AnyRequest = TypeVar("AnyRequest", bound=HttpRequest)
Given = ParamSpec("Given")
View = Callable[Concatenate[AnyRequest, Given], HttpResponse]


def staff_only(view: View[AnyRequest, Given]) -> View[AnyRequest, Given]:
    """Sends strangers to the login page and refuses users who are no staff."""

    @wraps(view)
    def checked(request: AnyRequest, /, *args: Given.args, **kwargs: Given.kwargs) -> HttpResponse:
        if not request.user.is_staff:
            raise PermissionDenied
        return view(request, *args, **kwargs)

    decorated: Any = login_required(checked)
    return decorated  # type: ignore[no-any-return]  # login_required keeps the signature, its stub does not say so


def own_or_403(request: HttpRequest, model: type[Row], reference: uuid.UUID) -> Row:
    """The row with this reference. Raises Http404 if there is none, PermissionDenied if it is someone else's.

    A row without an owner is staff's.
    """
    row = get_object_or_404(model, reference=reference)
    refuse_strangers(request, getattr(row, "owner_id", None))
    return row


def refuse_strangers(request: HttpRequest, owner_id: int | None) -> None:
    """Raises PermissionDenied unless the visitor is the owner or staff."""
    if not request.user.is_staff and (owner_id is None or owner_id != request.user.pk):
        raise PermissionDenied
