"""Talks to the payment gateway."""

from dataclasses import dataclass

import requests
from django.conf import settings


class Declined(Exception):
    """The gateway answered that it will not charge."""


class OutcomeUnknown(Exception):
    """The gateway gave no usable answer: it may have charged. Asking again with the same key is safe."""


@dataclass(frozen=True)
class Charge:
    id: str
    amount: int  # cents


def charge(*, key: str, amount: int) -> Charge:
    """Charges the amount (cents) once for the key, however often it is called.

    Raises Declined if the gateway refuses, OutcomeUnknown if it answers too late, with an error, or not at all.
    """
    try:
        response = requests.post(
            f"{settings.PAYMENT_GATEWAY_URL}/charges",
            json={"amount": amount},
            headers={"Idempotency-Key": key},
            timeout=settings.DOWNSTREAM_TIMEOUT,
        )
    except requests.Timeout as error:
        raise OutcomeUnknown("the gateway did not answer in time") from error
    except requests.RequestException as error:
        raise OutcomeUnknown("the connection to the gateway broke") from error
    if response.status_code == 402:
        raise Declined(response.json().get("reason", "declined"))
    if not response.ok:
        raise OutcomeUnknown(f"the gateway answered {response.status_code}")
    body = response.json()
    return Charge(id=body["id"], amount=body["amount"])
