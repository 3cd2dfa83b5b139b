"""The visitors of the projects that are deployed, and only their tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from visitor import PROJECTS, Visit, Visitor

from lab import PROJECT, lab_ports


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is not deployed: the tests of a project stand in a file of its name."""
    absent = {f"test_{name}.py" for name in os.listdir(PROJECT / "molecule/projects/sources") if name not in PROJECTS}
    items[:] = [item for item in items if item.path.name not in absent]


@pytest.fixture
def visit(host_name: str, published: Callable[[str, int], tuple[str, int]]) -> Visit:
    """A visitor of a project's site on the host under test."""
    return lambda project: Visitor(f"{project}.example", published(host_name, 443)[1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"]
    options.append("--host-resolver-rules=MAP *.example 127.0.0.1")
    with sync_playwright() as playwright:
        sites = {"LAB_SITES": " ".join(str(ports["443"]) for ports in lab_ports().values())}
        chromium = playwright.chromium.launch(
            executable_path=PROJECT / "lab/chromium", args=options, env=os.environ | sites
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, visit: Visit) -> Iterator[Callable[[str, str], Page]]:
    """Opens a page of a project in a browser of its own."""
    contexts = []

    def open_one(project: str, path: str) -> Page:
        contexts.append(browser.new_context(ignore_https_errors=True))
        page = contexts[-1].new_page()
        page.goto(visit(project).origin + path)
        return page

    yield open_one
    for context in contexts:
        context.close()
