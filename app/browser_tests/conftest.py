"""A browser in front of a deployed stack, through its proxy. Environment: STOCKPOT_URL, and the logins the tests name."""

import json
import os
import re
import secrets
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

CHROMIUM = Path(__file__).resolve().parents[2] / "lab" / "chromium"
SCREENSHOTS = Path(__file__).resolve().parents[2] / ".lab" / "screenshots"
PASSWORD = "cobol-and-soup-" + secrets.token_hex(4)
SECONDS = 1000
expect.set_options(timeout=30 * SECONDS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"]
    with sync_playwright() as playwright:
        sites = {"LAB_SITES": os.environ["STOCKPOT_URL"].rpartition(":")[2]}
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options, env=os.environ | sites)
        yield chromium
        chromium.close()


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[[], BrowserContext]]:
    """Makes browsers that know nothing of each other."""
    contexts: list[BrowserContext] = []

    def make() -> BrowserContext:
        # The demo's certificate is its own.
        context = browser.new_context(base_url=os.environ["STOCKPOT_URL"], ignore_https_errors=True, has_touch=True)
        context.set_default_timeout(20 * SECONDS)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def context(new_context: Callable[[], BrowserContext]) -> BrowserContext:
    return new_context()


def refusals(page: Page) -> list[str]:
    """What the browser says, from now on, that the site's Content-Security-Policy made it refuse."""
    found: list[str] = []
    page.on("console", lambda line: found.append(line.text) if "Content Security Policy" in line.text else None)
    return found


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A new visitor's page; it must report neither errors nor anything refused, and is photographed when its test fails."""
    page = context.new_page()
    errors = refusals(page)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    if getattr(request.node, "failed", False):
        photograph(page, request.node.name)
    assert errors == []


def photograph(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@pytest.fixture
def member(page: Page) -> Page:
    """The page of someone who has just registered."""
    return register(page)


@pytest.fixture
def stranger(new_context: Callable[[], BrowserContext]) -> Page:
    """The page of another member, in a browser of his own."""
    return register(new_context().new_page())


def register(page: Page) -> Page:
    name = f"cook-{secrets.token_hex(4)}"
    page.goto("/register/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Email").fill(f"{name}@example.org")
    page.get_by_label("Password", exact=True).or_(page.get_by_label("Password:", exact=True)).fill(PASSWORD)
    page.get_by_label(re.compile("Password confirmation")).fill(PASSWORD)
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("status")).to_contain_text(f"Welcome, {name}")
    return page


@pytest.fixture
def staff(page: Page) -> Page:
    """The administrator's page."""
    page.goto("/login/")
    page.get_by_label("Username").fill(os.environ["STOCKPOT_ADMIN_USER"])
    page.get_by_label("Password").fill(os.environ["STOCKPOT_ADMIN_PASSWORD"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Admin")).to_be_visible()
    return page


@pytest.fixture
def misbehave() -> Iterator[Callable[..., None]]:
    """Has the demo's gateway answer in another way (app/gateway/server.py): `misbehave("charges", "reject", status=422, times=1)`."""

    def tell(method: str, path: str, wish: dict[str, object]) -> None:
        request = f"Request('http://127.0.0.1:8900{path}', {json.dumps(wish).encode()!r}, method='{method}')"
        program = f"from urllib.request import Request, urlopen; urlopen({request}, timeout=10)"
        command = [*shlex.split(os.environ["STOCKPOT_ON_SERVER"]), f"python3 -c {shlex.quote(program)}"]
        subprocess.run(command, check=True, timeout=60)

    yield lambda service, mode, **options: tell("PUT", "/mode", {"service": service, "mode": mode, **options})
    tell("DELETE", "/modes", {})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    report = yield
    if report.failed:
        item.failed = True  # type: ignore[attr-defined]
    return report
