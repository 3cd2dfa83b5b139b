"""A newsletter to many addresses, in chunks."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from newsletters import services, tasks
from newsletters.models import Chunk, Newsletter, Subscriber
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from tests.conftest import Mailbox, Worker, wait_until


@pytest.fixture
def newsletter(db: None) -> Newsletter:
    return Newsletter.objects.create(subject="Winter soups", body="Come in, it is warm.")


def subscribe(count: int, domain: str = "example.org") -> None:
    Subscriber.objects.bulk_create(Subscriber(email=f"reader{number}@{domain}") for number in range(count))


def test_ten_thousand_addresses_are_cut_into_chunks_without_gap_or_overlap(newsletter: Newsletter) -> None:
    subscribe(10_000)
    assert services.start(newsletter_id=newsletter.pk) == 40
    covered: list[int] = []
    for chunk in newsletter.chunks.all():
        ids = Subscriber.objects.filter(pk__gte=chunk.first, pk__lte=chunk.last).values_list("pk", flat=True)
        assert len(ids) <= services.CHUNK
        covered += ids
    assert sorted(covered) == sorted(Subscriber.objects.values_list("pk", flat=True))


def test_a_newsletter_is_started_once(
    newsletter: Newsletter, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    subscribe(3)
    with django_capture_on_commit_callbacks() as callbacks:
        assert [services.start(newsletter_id=newsletter.pk) for _ in range(2)] == [1, 0]
    assert len(callbacks) == 1


@pytest.mark.results
def test_the_admin_sends_it_and_every_address_gets_one_mail(
    newsletter: Newsletter, admin: User, site: Client, worker: Worker, mails: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "CHUNK", 20)
    subscribe(100)
    subscribe(2, "refused.example")
    site.force_login(admin)
    action = {"action": "start", "_selected_action": [newsletter.pk]}
    page = site.post("/admin/newsletters/newsletter/", action, follow=True).content.decode()
    assert "6 chunks queued" in page
    wait_until(lambda: services.progress(newsletter_id=newsletter.pk) == (100, 2, 0, 0))
    assert sorted(mails.addresses) == sorted(f"reader{number}@example.org" for number in range(100))


def test_the_admin_asks_for_all_newsletters_at_once(
    admin: User, site: Client, db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    def show() -> str:
        return site.get("/admin/newsletters/newsletter/").content.decode()

    site.force_login(admin)
    with CaptureQueriesContext(connection) as none:
        show()
    for number in range(20):
        newsletter = Newsletter.objects.create(subject=f"Soup {number}", body="Warm.")
        for first, state in ((1, Chunk.State.SENT), (2, Chunk.State.PENDING), (3, Chunk.State.FAILED)):
            Chunk.objects.create(newsletter=newsletter, first=first, last=first, state=state, delivered=4, refused=1)
    with django_assert_num_queries(len(none)):
        page = show()
    assert page.count("12, 3, 1, 1") == 20


@pytest.fixture
def chunk(newsletter: Newsletter) -> Chunk:
    subscribe(5)
    first = Subscriber.objects.order_by("pk")[0].pk
    return Chunk.objects.create(newsletter=newsletter, first=first, last=first + 4)


def test_a_chunk_goes_on_after_the_last_address_served(chunk: Chunk, mails: Mailbox) -> None:
    Chunk.objects.update(position=chunk.first + 2)
    assert services.send_chunk(chunk_id=chunk.pk) == Chunk.State.SENT
    assert mails.addresses == ["reader3@example.org", "reader4@example.org"]
    assert services.send_chunk(chunk_id=chunk.pk) == Chunk.State.SENT
    assert len(mails.envelopes) == 2


def test_a_chunk_is_one_workers_at_a_time(chunk: Chunk, mails: Mailbox) -> None:
    assert chunk.claim(seconds=60)
    assert services.send_chunk(chunk_id=chunk.pk) == "elsewhere"
    assert mails.envelopes == []


def test_two_workers_with_one_chunk_send_each_mail_once(
    chunk: Chunk, mails: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A second worker comes with the same chunk while the first one sends: a message of the sweep.
    def sends_too(**options: Any) -> Any:
        ends.append(services.send_chunk(chunk_id=chunk.pk))
        return deliver(**options)

    deliver, ends = services.deliver, list[str]()
    monkeypatch.setattr(services, "deliver", sends_too)
    assert services.send_chunk(chunk_id=chunk.pk) == Chunk.State.SENT
    assert ends == 5 * ["elsewhere"]
    assert len(mails.envelopes) == 5


def test_a_worker_whose_claim_was_taken_stops(chunk: Chunk, mails: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(**options: Any) -> str:
        Chunk.objects.update(claimed_until=timezone.now())
        return "delivered"

    monkeypatch.setattr(services, "deliver", overtaken)
    assert services.send_chunk(chunk_id=chunk.pk) == "elsewhere"
    assert Chunk.objects.get().delivered == 0


def test_deferred_addresses_get_their_mail_later_and_no_one_gets_two(newsletter: Newsletter, mails: Mailbox) -> None:
    subscribe(2)
    subscribe(3, "greylisted.example")
    services.start(newsletter_id=newsletter.pk)
    chunk = Chunk.objects.get()
    mails.busy = 4
    states = [services.send_chunk(chunk_id=chunk.pk) for _ in range(3)]
    assert states == [Chunk.State.PENDING, Chunk.State.PENDING, Chunk.State.SENT]
    assert len(mails.addresses) == len(set(mails.addresses)) == 5
    assert services.progress(newsletter_id=newsletter.pk) == (5, 0, 0, 0)


def test_addresses_deferred_too_often_count_as_refused(newsletter: Newsletter, mails: Mailbox) -> None:
    subscribe(1, "later.example")
    services.start(newsletter_id=newsletter.pk)
    chunk = Chunk.objects.get()
    states = [services.send_chunk(chunk_id=chunk.pk) for _ in range(services.ROUNDS + 1)]
    assert states == services.ROUNDS * [Chunk.State.PENDING] + [Chunk.State.SENT]
    assert services.progress(newsletter_id=newsletter.pk) == (0, 1, 0, 0)


def test_the_task_goes_on_after_an_outage_without_repeating(chunk: Chunk, worker: Worker, mails: Mailbox) -> None:
    mails.failures = 2
    assert tasks.send_chunk.delay(chunk.pk).get(timeout=60) == Chunk.State.SENT
    assert sorted(mails.addresses) == [f"reader{number}@example.org" for number in range(5)]


def test_an_outage_longer_than_the_retries_leaves_the_chunk_to_the_sweep(
    chunk: Chunk, worker: Worker, mails: Mailbox
) -> None:
    mails.failures = 99
    with pytest.raises(OSError, match="out of order"):
        tasks.send_chunk.delay(chunk.pk).get(timeout=60)
    chunk.refresh_from_db()
    assert chunk.state == Chunk.State.PENDING
    assert "out of order" in chunk.error


def test_the_admin_sends_a_failed_chunk_again(
    chunk: Chunk, admin: User, site: Client, worker: Worker, mails: Mailbox
) -> None:
    Chunk.objects.update(state=Chunk.State.FAILED, error="out of order")
    site.force_login(admin)
    site.post("/admin/newsletters/chunk/", {"action": "try_again", "_selected_action": [chunk.pk]})
    wait_until(lambda: Chunk.objects.get().state == Chunk.State.SENT)
    assert len(mails.addresses) == 5
