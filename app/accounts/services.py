import smtplib
from importlib import import_module
from typing import cast

from core import outbox
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
    """Sends the mail unless it was sent; returns "sent", "gone" (the user was deleted meanwhile) or the state it is in.

    Raises OSError (smtplib's errors are some) if the mail server cannot be reached or answers "try later".
    """
    with transaction.atomic():
        # Another worker with the same message leaves it to the one that holds the row.
        rows = Welcome.objects.select_for_update(skip_locked=True, of=("self",)).select_related("user")
        welcome = rows.filter(pk=welcome_id).first()
        if welcome is None:
            return "gone" if not Welcome.objects.filter(pk=welcome_id).exists() else "elsewhere"
        if welcome.is_over:
            return welcome.state
        name = welcome.user.get_username()
        text = f"Hello {name},\n\nyour pot is on the stove: {settings.SITE_URL}\n"
        try:
            send_mail(f"Welcome, {name}", text, None, [welcome.user.email])
        except smtplib.SMTPRecipientsRefused as refusal:
            if any(code < 500 for code, _ in refusal.recipients.values()):
                raise
            welcome.move(state=Welcome.State.FAILED, error="The mail server does not know this address.")
            return welcome.state
        welcome.move(state=Welcome.State.SENT, error="")
        return welcome.state


def clear_expired_sessions() -> None:
    """Deletes sessions nobody can use any more."""
    cast(type[SessionBase], import_module(settings.SESSION_ENGINE).SessionStore).clear_expired()
