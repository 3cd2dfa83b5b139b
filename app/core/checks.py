"""What `manage.py check --deploy` refuses."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, register


@register(Tags.security, deploy=True)
def addresses_are_given(**kwargs: Any) -> list[Error]:
    """Without them the site would print its mails and mark them sent, and ask a gateway on this machine for money."""
    hint = "Set it in the environment; `EMAIL_URL=console:` says that mails are to be printed."
    return [Error(f"{name} is not set.", hint=hint, id="core.E001") for name in settings.ADDRESSES_NOT_GIVEN]
