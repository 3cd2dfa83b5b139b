"""What `manage.py check --deploy` refuses."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, register


@register(Tags.security, deploy=True)
def uploads_are_private(**kwargs: Any) -> list[Error]:
    """A proxy that serves the folder of uploads serves everybody's to everybody."""
    hint = "`media_is_private: true` tells the proxy and, by MEDIA_IS_PRIVATE=1, this project that uploads are lent one by one."
    return [Error("Uploads may be public.", hint=hint, id="core.E002")] if settings.MEDIA_IS_PUBLIC else []


@register(Tags.security, deploy=True)
def addresses_are_given(**kwargs: Any) -> list[Error]:
    """Without them the site would print its mails and mark them sent, and ask a gateway on this machine for money."""
    hint = "Set it in the environment; `EMAIL_URL=console:` says that mails are to be printed."
    return [Error(f"{name} is not set.", hint=hint, id="core.E001") for name in settings.ADDRESSES_NOT_GIVEN]
