"""Registration, signing in, the welcome mail over a real SMTP conversation, and old sessions."""

from datetime import timedelta
from email import message_from_bytes
from smtplib import SMTPRecipientsRefused

import pytest
from accounts import services
from accounts.models import Welcome
from accounts.tasks import cleanup_sessions, send_welcome_email
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from tests.conftest import Mailbox, Worker, wait_until

FORM = {"username": "grace", "email": "grace@example.org", "password1": "cobol-and-soup", "password2": "cobol-and-soup"}


@pytest.fixture
def welcome(user: User) -> Welcome:
    return Welcome.objects.create(user=user)


def test_registering_signs_in_and_a_worker_sends_the_mail(site: Client, worker: Worker, mails: Mailbox) -> None:
    response = site.post("/register/", FORM, follow=True)
    assert "Welcome, grace" in response.content.decode()
    assert response.context["user"].username == "grace"
    wait_until(lambda: Welcome.objects.filter(state=Welcome.State.SENT).exists())
    (envelope,) = mails.envelopes
    assert envelope.rcpt_tos == ["grace@example.org"]
    assert message_from_bytes(bytes(envelope.original_content or b""))["Subject"] == "Welcome, grace"


def test_the_mail_is_queued_only_when_the_user_is_committed(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks, db: None
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        services.register(username="grace", email="g@example.org", password="x")
        assert len(callbacks) == 0
    assert len(callbacks) == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"username": "ada"}, "already exists"),
        ({"email": "nonsense"}, "valid email"),
        ({"password2": "something else"}, "match"),
        ({"password1": "12345678", "password2": "12345678"}, "too common"),
    ],
)
def test_a_bad_registration_is_explained(site: Client, user: User, change: dict[str, str], complaint: str) -> None:
    response = site.post("/register/", FORM | change)
    assert response.status_code == 422
    assert complaint in response.content.decode()
    assert User.objects.count() == 1


def test_a_user_can_sign_in_and_out(site: Client, user: User) -> None:
    site.post("/login/", {"username": "ada", "password": "correct horse battery"})
    assert site.get("/images/").status_code == 200
    site.post("/logout/")
    assert site.get("/images/").status_code == 302


def test_the_mail_is_sent_once(welcome: Welcome, mails: Mailbox) -> None:
    assert [services.send_welcome(welcome_id=welcome.pk) for _ in range(2)] == ["sent", "sent"]
    assert mails.addresses == ["ada@example.org"]


def test_a_user_deleted_meanwhile_is_not_an_error(welcome: Welcome, mails: Mailbox) -> None:
    key = welcome.pk
    welcome.user.delete()
    assert send_welcome_email.apply(args=(key,), throw=True).get() == "gone"
    assert mails.envelopes == []


def test_an_address_the_server_refuses_is_recorded(welcome: Welcome, mails: Mailbox) -> None:
    User.objects.update(email="nobody@refused.example")
    assert services.send_welcome(welcome_id=welcome.pk) == Welcome.State.FAILED
    welcome.refresh_from_db()
    assert "550 no such user" in welcome.error


def test_an_address_the_server_defers_is_tried_again(welcome: Welcome, mails: Mailbox) -> None:
    User.objects.update(email="busy@later.example")
    with pytest.raises(SMTPRecipientsRefused):
        services.send_welcome(welcome_id=welcome.pk)
    welcome.refresh_from_db()
    assert welcome.state == Welcome.State.PENDING
    assert "450" in welcome.error


def test_a_mail_the_server_will_never_take_fails_and_says_why(welcome: Welcome, mails: Mailbox) -> None:
    mails.failures, mails.answer = 1, "554 no soup here"
    assert services.send_welcome(welcome_id=welcome.pk) == Welcome.State.FAILED
    welcome.refresh_from_db()
    assert "554 no soup here" in welcome.error


def test_the_row_is_claimed_and_not_locked_while_the_mail_server_is_asked(
    welcome: Welcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*args: object) -> None:
        seen.append((len(connection.savepoint_ids), services.send_welcome(welcome_id=welcome.pk)))

    seen: list[tuple[int, str]] = []
    monkeypatch.setattr("accounts.services.send_mail", look)
    assert services.send_welcome(welcome_id=welcome.pk) == "sent"
    assert seen == [(len(connection.savepoint_ids), "elsewhere")]


def test_the_claim_of_a_lost_worker_lapses(welcome: Welcome, mails: Mailbox) -> None:
    welcome.claim(seconds=0)
    assert services.send_welcome(welcome_id=welcome.pk) == "sent"


@pytest.mark.results
def test_the_task_waits_for_a_mail_server_out_of_order(worker: Worker, welcome: Welcome, mails: Mailbox) -> None:
    mails.failures = 2
    assert send_welcome_email.delay(welcome.pk).get(timeout=60) == "sent"
    assert mails.addresses == ["ada@example.org"]


def test_expired_sessions_are_deleted_and_others_kept(db: None) -> None:
    now = timezone.now()
    for key, age in (("old", -1), ("new", 1)):
        Session.objects.create(session_key=key, session_data="", expire_date=now + timedelta(days=age))
    cleanup_sessions()
    assert [session.session_key for session in Session.objects.all()] == ["new"]
