"""What `manage.py check` refuses; with --deploy, also what suits a developer alone."""

from typing import Any

from celery import current_app
from django.core.checks import CheckMessage, Error, Tags, register

from core.conf import setting
from core.models import NEEDS_ATTENTION, OutboxRow, outbox_models


@register(Tags.security, deploy=True)
def production_is_told_apart(**kwargs: Any) -> list[CheckMessage]:
    hint = "Set it in the environment."
    return [
        Error(f"{name} is not set: {what}.", hint=hint, id="core.E001") for name, what in setting("NOT_GIVEN").items()
    ]


@register
def celery_is_configured(**kwargs: Any) -> list[CheckMessage]:
    if current_app.conf.broker_url:
        return []
    hint = "Import your Celery application in the project's __init__.py, and give it a broker_url."
    return [
        Error("Celery has no broker_url: it is not the project's application that is used.", hint=hint, id="core.E002")
    ]


@register(Tags.models)
def outbox_rows_are_complete(**kwargs: Any) -> list[CheckMessage]:
    return [
        Error(f"{model._meta.label}: {problem}", obj=model, id="core.E003")
        for model in outbox_models()
        for problem in problems(model)
    ]


def problems(model: type[OutboxRow]) -> list[str]:
    """What keeps the sweep from rows of this kind, or a person from seeing those that it gave up."""
    if not getattr(model, "unfinished", ()):
        return ["`unfinished` names no state: nothing would be sent again."]
    found = []
    if getattr(model, "task", None) not in current_app.tasks:
        found.append("`task` is the name of no task.")
    if NEEDS_ATTENTION not in (model._meta.get_field("state").choices or ()):
        found.append("`state` lacks the choice NEEDS_ATTENTION.")
    if not any(index.fields == ["next_send_at"] and index.condition for index in model._meta.indexes):
        found.append("no sweep_index() is among the indexes: the sweep would read the whole table each minute.")
    return found
