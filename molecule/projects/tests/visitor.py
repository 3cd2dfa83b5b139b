"""A visitor of one of the sites that a server holds, through its proxy, under the site's own name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter

# Those that are deployed, as in the playbooks' vars/main.yml.
PROJECTS = os.environ.get("STOCKPOT_PROJECTS", "parcel library").split()

Wait = Callable[..., Any]


class Named(HTTPAdapter):
    """Says the site's name in the TLS handshake too: no DNS knows it, so the address is the server's."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, server_hostname=self.name, assert_hostname=False, **options)


class Visitor:
    """A session with one site, which it reaches on a port of this machine."""

    def __init__(self, name: str, port: int) -> None:
        self.address = f"https://127.0.0.1:{port}"
        self.origin = f"https://{name}:{port}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = False
        self.session.headers.update({"Host": f"{name}:{port}", "Origin": self.origin})
        self.session.mount("https://", Named(name))

    def get(self, path: str) -> requests.Response:
        """A page, whatever it answers."""
        return self.session.get(self.address + path, timeout=30)

    def text(self, path: str) -> str:
        """A page that is there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, page: str, form: dict[str, str], to: str = "", **options: Any) -> str:
        """Fills in a form of a page; the path of the page that it leads to."""
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', self.text(page)))
        answer = self.session.post(self.address + (to or page), data=hidden | form, timeout=30, **options)
        assert answer.ok, answer.text
        return answer.url.removeprefix(self.address)


Visit = Callable[[str], Visitor]
