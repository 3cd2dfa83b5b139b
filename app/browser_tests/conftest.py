"""A browser in front of a deployed stack, through its proxy. Environment: STOCKPOT_URL, and the logins the tests name."""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

SCREENSHOTS = Path(__file__).resolve().parents[2] / ".lab" / "screenshots"
PASSWORD = "cobol-and-soup-" + secrets.token_hex(4)
SECONDS = 1000
expect.set_options(timeout=30 * SECONDS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    # The demo's certificate is its own.
    context = browser.new_context(base_url=os.environ["STOCKPOT_URL"], ignore_https_errors=True)
    context.set_default_timeout(20 * SECONDS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A new visitor's page; it must not report errors, and is photographed when its test fails."""
    page = context.new_page()
    page.goto = partial(go, page.goto)  # type: ignore[method-assign]  # the same signature
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    if getattr(request.node, "failed", False):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png", full_page=True)
    assert errors == []


def go(goto: Callable[..., Any], url: str, **options: Any) -> Any:
    """Load a page. Chromium gives up when this machine's networks change, as they do when containers come and go beside it."""
    for _ in range(5):
        try:
            return goto(url, **options)
        except Error as error:
            if "ERR_NETWORK_CHANGED" not in str(error):
                raise
    return goto(url, **options)


@pytest.fixture
def member(page: Page) -> Page:
    """The page of someone who has just registered."""
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Any:
    report = yield
    if report.failed:
        item.failed = True  # type: ignore[attr-defined]
    return report
