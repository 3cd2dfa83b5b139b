"""The reference shop as its visitors meet it."""

from __future__ import annotations

import re
from typing import Any

import requests

WORKERS = ("critical", "default", "newsletters", "images", "reports", "sweep")


class Shop:
    """A visitor of the site: a session that talks to one host through the proxy."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = False

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.address + path, timeout=30, **options)

    def order(self) -> str:
        """Places an order as the page's form does; returns the order's path."""
        page = self.get("/")
        assert page.status_code == 200, page.text
        form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        product = re.search(r'<option value="(\d+)"', page.text)
        assert product
        answer = self.session.post(
            self.address + "/",
            data=form | {"product": product[1], "quantity": "1"},
            headers={"Referer": self.address + "/"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        return answer.url.removeprefix(self.address)

    def workers(self, password: str) -> set[str]:
        """The workers that have answered Flower, by name and host; password: of its user."""
        return set(self.get("/flower/api/workers?refresh=1", auth=("flower", password)).json())

    def state(self, order: str) -> str:
        return self.get(order + "state.json").json()["state"]
