"""RabbitMQ's management API on loopback, and its command line."""

from __future__ import annotations

import base64
import json
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote

TIMEOUT = 20  # seconds that RabbitMQ has to answer


class Refused(Exception):
    """RabbitMQ does not know the user or password."""


class RabbitError(Exception):
    """What an operator has to be told."""


class Api:
    """The management API (https://www.rabbitmq.com/docs/management)."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self._port = port
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}

    def ask(self, method: str, *path: str, body: Any = None) -> Any:
        """The answer to a request; None for what is not there.

        Raises:
            OSError: nothing answers.
            Refused: the user or password is wrong.
            RabbitError: the request is refused.
        """
        connection = HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        try:
            address = "/api/" + "/".join(quote(part, safe="") for part in path)
            connection.request(method, address, json.dumps(body) if body is not None else None, self._headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except HTTPException as error:
            raise OSError(f"the management API ended: {error!r}") from error
        finally:
            connection.close()
        if answer.status == 401:
            raise Refused(json.loads(text or "{}").get("reason", text))
        if answer.status == 404:
            return None
        if answer.status >= 400:
            raise RabbitError(f"RabbitMQ refuses {method} {address}: {text.strip()}")
        return json.loads(text) if text else None
