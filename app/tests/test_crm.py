"""Leads on their way to the CRM."""

import uuid

import pytest
from core import outbox
from crm import client, services
from crm.models import Lead
from crm.tasks import sync_lead
from django.contrib.auth.models import User
from django.test import Client
from gateway.server import Server

from tests.conftest import Worker, misbehave, wait_until


@pytest.fixture
def lead(db: None) -> Lead:
    return Lead.objects.create(name="Alan", email="alan@example.org", message="soup for 80")


def test_a_lead_reaches_the_crm_once(lead: Lead, gateway: Server) -> None:
    assert [services.sync(lead_id=lead.pk) for _ in range(2)] == ["synced", "synced"]
    assert gateway.leads[str(lead.reference)]["email"] == "alan@example.org"
    assert gateway.requests["leads"] == 1


@pytest.mark.parametrize(("mode", "kind"), [("timeout", "timeout"), ("drop", "connection"), ("fail", "server_error")])
def test_a_passing_failure_is_told_apart_and_raised(lead: Lead, gateway: Server, mode: str, kind: str) -> None:
    misbehave(gateway, "leads", mode)
    with pytest.raises(client.Unavailable):
        services.sync(lead_id=lead.pk)
    lead.refresh_from_db()
    assert (lead.state, lead.failure, lead.attempts) == (Lead.State.PENDING, kind, 1)


@pytest.mark.results
def test_a_rejected_lead_fails_at_once(lead: Lead, worker: Worker, gateway: Server) -> None:
    misbehave(gateway, "leads", "reject")
    assert sync_lead.delay(lead.pk).get(timeout=60) == "failed"
    lead.refresh_from_db()
    assert (lead.failure, lead.attempts) == (Lead.Failure.REJECTED, 1)
    assert "422" in lead.error


@pytest.mark.results
def test_the_fifth_failure_is_final_and_recorded(lead: Lead, worker: Worker, gateway: Server) -> None:
    misbehave(gateway, "leads", "fail")
    with pytest.raises(client.Unavailable):
        sync_lead.delay(lead.pk).get(timeout=60)
    lead.refresh_from_db()
    assert (lead.state, lead.failure, lead.attempts) == (Lead.State.FAILED, Lead.Failure.SERVER_ERROR, 5)


def test_the_task_recovers_before_the_fifth_failure(lead: Lead, worker: Worker, gateway: Server) -> None:
    misbehave(gateway, "leads", "fail", times=4)
    assert sync_lead.delay(lead.pk).get(timeout=60) == "synced"
    lead.refresh_from_db()
    assert (lead.failure, lead.error, lead.attempts) == ("", "", 5)


def test_the_admin_sends_failed_leads_again(
    lead: Lead, admin: User, site: Client, worker: Worker, gateway: Server
) -> None:
    lead.move(state=Lead.State.FAILED, failure=Lead.Failure.TIMEOUT, error="The CRM did not answer in time.")
    site.force_login(admin)
    assert "did not answer in time" in site.get("/admin/crm/lead/?state=failed").content.decode()
    response = site.post("/admin/crm/lead/", {"action": "try_again", "_selected_action": [lead.pk]}, follow=True)
    assert "1 sent again" in response.content.decode()
    wait_until(lambda: Lead.objects.get().state == Lead.State.SYNCED)


def test_retry_leaves_leads_alone_that_did_not_fail(lead: Lead) -> None:
    assert outbox.try_again(Lead.objects.all()) == 0


def test_the_contact_form_makes_one_lead_however_often_it_is_sent(site: Client, db: None) -> None:
    form = {"name": "Alan", "email": "alan@example.org", "message": "", "reference": uuid.uuid4()}
    for _ in range(2):
        assert "Thank you, Alan" in site.post("/contact/", form, follow=True).content.decode()
    assert Lead.objects.count() == 1


def test_another_message_in_the_same_form_is_not_thanked_for_and_thrown_away(site: Client, db: None) -> None:
    form = {"name": "Alan", "email": "alan@example.org", "message": "soup", "reference": uuid.uuid4()}
    site.post("/contact/", form, follow=True)
    response = site.post("/contact/", form | {"message": "and stew"}, follow=True)
    assert "Thank you" not in response.content.decode()
    assert "You sent this form before" in response.content.decode()
