"""Visitors of a site that stands at several addresses: they go on asking while something happens to it."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

# Seconds for an answer; a proxy's own limit is below it.
PATIENCE = 70
# Seconds from a visitor's order to the next: the shop takes 60 a minute from an address.
BETWEEN_ORDERS = 3.0


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: http.client.HTTPMessage
    text: str


class Browser:
    """Asks as browsers and curl do: where an address refuses the connection, it takes the next one.

    Args:
        name: the site's.
        addresses: those that its name stands for.
        certificate: the only one that is believed.
    """

    def __init__(self, name: str, addresses: Sequence[str], certificate: Path) -> None:
        self.name, self.addresses = name, addresses
        self.context = ssl.create_default_context(cafile=certificate)
        self.cookies: dict[str, str] = {}

    def _connection(self) -> http.client.HTTPSConnection:
        refused: OSError | None = None
        for address in self.addresses:
            try:
                plain = socket.create_connection((address, 443), timeout=PATIENCE)
            except OSError as error:
                refused = error
                continue
            connection = http.client.HTTPSConnection(self.name, timeout=PATIENCE)
            connection.sock = self.context.wrap_socket(plain, server_hostname=self.name)
            return connection
        raise refused or OSError(f"{self.name} has no address")

    def ask(self, path: str, *, form: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Get a page, or send a form.

        Raises:
            OSError, HTTPException: no address answered.
        """
        given = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **(headers or {})}
        body = None
        if form is not None:
            body = urlencode(form)
            given |= {"Content-Type": "application/x-www-form-urlencoded", "Referer": f"https://{self.name}/"}
        connection = self._connection()
        try:
            connection.request("POST" if form is not None else "GET", path, body=body, headers=given)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        finally:
            connection.close()
        for cookie in response.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return Answer(response.status, response.headers, text)

    def order(self) -> Answer:
        """Place an order as the page's form does; the answer names the order's path as its location."""
        page = self.ask("/")
        form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        product = re.search(r'<option value="(\d+)"', page.text)
        if page.status != 200 or not product:
            return page
        return self.ask("/", form=form | {"product": product[1], "quantity": "1"})

    def is_paid(self, order: str) -> bool:
        """Whether an order has come to its end."""
        return '"paid"' in self.ask(f"{order}state.json").text


class Crowd:
    """Visitors who look at pages and place orders, until they are told to stop.

    Attributes:
        answers: how often there was which status.
        failures: what did not end as it should, with when it began.
        orders: the paths of the orders that were taken.
    """

    def __init__(self, browsers: Sequence[Browser], pause: float) -> None:
        self.answers: Counter[int] = Counter()
        self.failures: list[str] = []
        self.orders: list[str] = []
        self._pause = pause
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=[browser]) for browser in browsers]

    @property
    def answered(self) -> int:
        """How many answers there were."""
        return sum(self.answers.values())

    def _visit(self, browser: Browser) -> None:
        ordered = 0.0
        while not self._stop.is_set():
            self._once(browser, "/healthz")
            self._once(browser, "/contact/")
            if time.monotonic() - ordered > BETWEEN_ORDERS:
                ordered = time.monotonic()
                self._once(browser, "")
            self._stop.wait(self._pause)

    def _once(self, browser: Browser, path: str) -> None:
        began = time.strftime("%H:%M:%S")
        try:
            answer = browser.ask(path) if path else browser.order()
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{began} {path or 'an order'}: {error!r}")
            return
        self.answers[answer.status] += 1
        if answer.status != (200 if path else 302):
            self.failures.append(f"{began} {path or 'an order'}: {answer.status}")
        elif not path:
            self.orders.append(answer.headers["Location"])

    @contextmanager
    def at_work(self) -> Iterator[Crowd]:
        """They come, and when the block ends they go."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()
