from importlib import import_module
from typing import cast

from core import mail, outbox
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.core.mail import send_mail
from django.db import transaction

from accounts.models import Welcome


def register(*, username: str, email: str, password: str) -> User:
    """Creates the user and queues the welcome mail, which starts only if the user is really there."""
    with transaction.atomic():
        user = User.objects.create_user(username=username, email=email, password=password)
        outbox.send_on_commit(Welcome.objects.create(user=user))
    return user


def send_welcome(*, welcome_id: int) -> str:
    """Sends the mail unless it was sent; returns the state, or "elsewhere".

    Raises OSError (smtplib's errors are some) if the mail server cannot be reached or answers "try later".
    """
    welcome = Welcome.objects.select_related("user").get(pk=welcome_id)
    if welcome.is_over:
        return welcome.state
    # Claimed, not locked: a slow mail server must not keep a transaction open.
    if not welcome.claim(seconds=settings.MAIL_CLAIM):
        return "elsewhere"
    name = welcome.user.get_username()
    text = f"Hello {name},\n\nyour pot is on the stove: {settings.SITE_URL}\n"
    try:
        send_mail(f"Welcome, {name}", text, None, [welcome.user.email])
    except OSError as error:
        if reason := mail.refusal(error):
            welcome.move(state=Welcome.State.FAILED, error=reason, claimed_until=None)
            return welcome.state
        welcome.move(error=f"{type(error).__name__}: {error}", claimed_until=None)
        raise
    welcome.move(state=Welcome.State.SENT, error="", claimed_until=None)
    return welcome.state


def clear_expired_sessions() -> None:
    """Deletes sessions nobody can use any more."""
    cast(type[SessionBase], import_module(settings.SESSION_ENGINE).SessionStore).clear_expired()
