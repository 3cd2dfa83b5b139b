"""Talks to the CRM and tells its failures apart."""

import requests
from django.conf import settings


class CrmError(Exception):
    """The CRM did not take the lead; `kind` is one of Lead.Failure."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self.kind, self.text = kind, text

    def __str__(self) -> str:
        return self.text


class Unavailable(CrmError):
    """Another attempt may succeed: no answer, no connection, or a server error."""


class Rejected(CrmError):
    """Another attempt with the same data would be refused as well."""


def create_lead(*, reference: str, name: str, email: str, message: str) -> None:
    """Hands the lead over, once for each reference. Raises Unavailable or Rejected."""
    try:
        response = requests.post(
            f"{settings.CRM_URL}/leads",
            json={"name": name, "email": email, "message": message},
            headers={"Idempotency-Key": reference},
            timeout=settings.DOWNSTREAM_TIMEOUT,
        )
    except requests.Timeout as error:
        raise Unavailable("timeout", "The CRM did not answer in time.") from error
    except requests.RequestException as error:
        raise Unavailable("connection", "There was no connection to the CRM.") from error
    if response.status_code >= 500 or response.status_code == 429:
        raise Unavailable("server_error", f"The CRM answered {response.status_code}.")
    if not response.ok:
        raise Rejected("rejected", f"The CRM refused the lead with {response.status_code}.")
