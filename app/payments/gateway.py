"""Talks to the payment gateway."""

from dataclasses import dataclass
from typing import Any

import requests
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings

CHARGE_ID_LENGTH = 64  # what a receipt holds


class Declined(Exception):
    """The gateway answered that it will not charge this customer."""


class Refused(Exception):
    """The gateway did not charge, and will not however often it is asked: our request or our account is wrong."""


class OutcomeUnknown(Exception):
    """The gateway gave no usable answer: it may have charged. Asking again with the same key is safe."""


@dataclass(frozen=True)
class Charge:
    id: str
    amount: int  # cents


def charge(*, key: str, reference: str, amount: int) -> Charge:
    """Charges the amount (cents) once for the key, as long as the gateway remembers the key.

    reference: what `find` finds the charge by.
    Raises Declined, Refused, or OutcomeUnknown if the gateway answers too late, with an error, or not at all.
    """
    response = ask(
        "POST", "/charges", json={"amount": amount, "reference": reference}, headers={"Idempotency-Key": key}
    )
    if response.status_code == 402:
        raise Declined(reason(response))
    return charge_in(response)


def find(*, reference: str) -> Charge | None:
    """The charge that was made for the reference, if any. Raises Refused or OutcomeUnknown."""
    response = ask("GET", f"/charges/{reference}")
    return None if response.status_code == 404 else charge_in(response)


def ask(method: str, path: str, **options: Any) -> requests.Response:
    """The gateway's answer, whatever it is. Raises OutcomeUnknown if there is none.

    The timeout is one of each read; an answer that trickles in is ended by the task's soft time limit.
    """
    try:
        return requests.request(
            method, f"{settings.PAYMENT_GATEWAY_URL}{path}", timeout=settings.DOWNSTREAM_TIMEOUT, **options
        )
    except (requests.Timeout, SoftTimeLimitExceeded) as error:
        raise OutcomeUnknown("the gateway did not answer in time") from error
    except requests.RequestException as error:
        raise OutcomeUnknown("the connection to the gateway broke") from error


def charge_in(response: requests.Response) -> Charge:
    """The charge an answer speaks of. Raises Refused or OutcomeUnknown if it speaks of none."""
    # Too early, too many, or the same key is being worked on: another time the answer is another.
    if 400 <= response.status_code < 500 and response.status_code not in (408, 409, 425, 429):
        raise Refused(f"the gateway refused with {response.status_code}: {reason(response)}")
    if not response.ok:
        raise OutcomeUnknown(f"the gateway answered {response.status_code}")
    try:
        match response.json():
            case {"id": str(id), "amount": int(amount)} if 0 < len(id) <= CHARGE_ID_LENGTH and amount >= 0:
                return Charge(id=id, amount=amount)
    except ValueError as error:
        raise OutcomeUnknown("the gateway's answer cannot be read") from error
    raise OutcomeUnknown("the gateway's answer cannot be read")


def reason(response: requests.Response) -> str:
    """What a refusal says for itself."""
    try:
        return str(response.json()["reason"])[:200]
    except (ValueError, TypeError, KeyError):
        return "no reason given"
