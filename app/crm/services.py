import uuid

from core import outbox
from django.db.models import F

from crm import client
from crm.models import Lead


def take(*, reference: uuid.UUID, name: str, email: str, message: str) -> Lead:
    """Keeps the lead and queues its way to the CRM. Raises outbox.AlreadySent if the form came with other content."""
    return outbox.create_and_send(Lead, reference=reference, name=name, email=email, message=message)


def sync(*, lead_id: int) -> str:
    """Hands the lead to the CRM and returns the state it is in: synced, or failed if the CRM rejected it.

    Raises client.Unavailable if another attempt may succeed.
    """
    lead = Lead.objects.get(pk=lead_id)
    if lead.is_over:
        return lead.state
    lead.move(attempts=F("attempts") + 1)
    try:
        client.create_lead(reference=str(lead.reference), name=lead.name, email=lead.email, message=lead.message)
    except client.Rejected as error:
        give_up(lead_id=lead_id, error=error)
        return Lead.State.FAILED
    except client.Unavailable as error:
        lead.move(failure=error.kind, error=str(error))
        raise
    lead.move(state=Lead.State.SYNCED, failure="", error="")
    return Lead.State.SYNCED


def give_up(*, lead_id: int, error: client.CrmError) -> None:
    """Records that the lead will not reach the CRM without help; the admin shows why."""
    Lead.objects.get(pk=lead_id).move(state=Lead.State.FAILED, failure=error.kind, error=str(error))
