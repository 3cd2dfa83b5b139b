"""Six projects side by side on one server, each as its visitors and its operators meet it."""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from testinfra.host import Host
from visitor import Visitor

STATIC_FILES = {
    "ledger": "/static/entries/ledger.css",
    "chat": "/static/rooms/room.js",
    "parcel": "/static/parcel/van.svg",
    "library": "/static/themes/oak.css",
    "meters": "/static/readings/meters.css",
}
Wait = Callable[..., Any]
Visit = Callable[[str], Visitor]


@pytest.fixture
def visit(host_name: str, published: Callable[[str, int], tuple[str, int]]) -> Visit:
    """A visitor of a project's site on the host under test."""
    return lambda project: Visitor(f"{project}.example", published(host_name, 443)[1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"]
    options.append("--host-resolver-rules=MAP *.example 127.0.0.1")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
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


def test_ledger_draws_up_a_statement(visit: Visit, wait_until: Wait) -> None:
    """Old names of settings, Celery 5.2 where the Python still runs it: the form, the worker, the page with its result."""
    ledger = visit("ledger")
    for amount in ("120.00", "-19.50"):
        ledger.send("/", {"account": "rent", "amount": amount})
    assert "-19.50" in ledger.text("/")
    balance = sum(float(amount) for amount in re.findall(r"<td>rent<td>(-?[\d.]+)", ledger.text("/")))
    statement = ledger.send("/", {"account": "rent"}, to="/statements/")
    assert wait_until(lambda: f"Balance: {balance:.2f}" in ledger.text(statement))


def test_ledger_runs_the_celery_that_its_python_takes(host: Host) -> None:
    """One lock for both Debians."""
    version = host.check_output("ledger-python -c 'import celery; print(celery.__version__)'")
    python = host.check_output("ledger-python -c 'import sys; print(sys.version_info < (3, 12))'")
    assert version.startswith("5.2." if python == "True" else "5.5.")


def test_the_books_are_closed_by_beat(visit: Visit, wait_until: Wait) -> None:
    """Beat keeps its schedule in a file, which it may write although the release is read-only."""
    closed = re.compile(r'id="closing">(.*?)<')
    first = wait_until(lambda: closed.search(visit("ledger").text("/")))
    assert wait_until(lambda: closed.search(visit("ledger").text("/"))[1] != first[1])


def test_two_visitors_talk_over_a_websocket_and_a_task_answers_there(open_page: Callable[[str, str], Page]) -> None:
    """A browser's own WebSocket through nginx to the ASGI server; the task's result comes over it from the worker."""
    room = f"/talk-{id(open_page)}/"
    anna, ben = open_page("chat", room), open_page("chat", room)
    said = anna.locator("#lines"), ben.locator("#lines")
    for page in (anna, ben):
        expect(page.locator("button")).to_be_enabled()
    for page, text in ((anna, "Is anybody here?"), (ben, "I am.")):
        page.locator("input").fill(text)
        page.locator("button").click()
        for lines in said:
            expect(lines).to_contain_text(text)
    anna.locator("input").fill("/count")
    anna.locator("button").click()
    for lines in said:
        expect(lines).to_contain_text("2 lines so far")
    # From the database.
    expect(open_page("chat", room).locator("#lines li")).to_have_count(2)


def test_chat_servers_begin_and_end_in_order(host: Host, visit: Visit, wait_until: Wait) -> None:
    """The ASGI lifespan: what the application does at its end is done when systemd stops it."""
    servers = lambda: json.loads(visit("chat").text("/servers/"))  # noqa: E731
    before = wait_until(servers)
    assert before["running"] > 0
    host.check_output("systemctl restart chat-web")
    after = wait_until(servers)
    assert wait_until(lambda: servers()["running"] == before["running"])
    assert after["ended"] == before["ended"] + before["running"]


def picture(colour: tuple[int, int, int], width: int = 160, height: int = 90) -> bytes:
    """A PNG of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    rows = zlib.compress((b"\0" + bytes(colour) * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_gallery_shows_a_thumbnail_and_runs_its_front_end(
    visit: Visit, open_page: Callable[[str, str], Page], wait_until: Wait
) -> None:
    """The upload, the worker's file beside it, and what npm built: a script that writes sizes as people read them."""
    gallery = visit("gallery")
    shown = gallery.send("/", {"title": "Blue"}, files={"image": ("blue.png", io.BytesIO(picture((0, 0, 200))))})
    wait_until(lambda: 'id="thumbnail"' in gallery.text(shown))
    (thumbnail,) = re.findall(r'id="thumbnail" src="([^"]+)"', gallery.text(shown))
    assert gallery.get(thumbnail).content.startswith(b"\xff\xd8")
    expect(open_page("gallery", shown).locator("[data-bytes]")).to_have_text(re.compile(r"^\d+ bytes$"))


def test_parcel_is_tracked_without_any_result_backend(visit: Visit, wait_until: Wait) -> None:
    """An installed package, whose own command migrates and adds the carrier."""
    parcel = visit("parcel")
    found = parcel.send("/", {"number": "AT-7", "carrier": "Blue Van"})
    assert wait_until(lambda: "on its way with Blue Van" in parcel.text(found))


def test_library_catalogues_through_every_queue(visit: Visit, wait_until: Wait) -> None:
    """Fourteen queues; workers have settings and a pool of their own; the search needs the extension."""
    library = visit("library")
    isbn = str(len(re.findall("<li>", library.text("/"))))
    book = library.send("/", {"title": f"The Name of the Rose {isbn}", "isbn": isbn}, to="/books/")
    kinds = wait_until(lambda: (found := re.findall(r"<li>(\w+) by (.*?)</li>", library.text(book)))[11:] and found)
    assert len({kind for kind, _ in kinds}) == 12
    assert {by.rpartition("-")[0] for _, by in kinds} == {"a worker (ThreadPoolExecutor"}, kinds
    assert "Name of the Rose" in library.text("/?q=naem+of+rose")


def test_meters_understands_telegrams_by_a_private_package(visit: Visit, wait_until: Wait) -> None:
    """The tariffs are a release command's, the cache's table another's."""
    meters = visit("meters")
    sent = bytes.fromhex("00000000deadbeef") + (120).to_bytes(4, "big")
    assert meters.session.post(f"{meters.address}/telegrams/", data=sent, timeout=30).status_code == 202
    assert wait_until(lambda: "120 kWh<td>3720 cents (day)" in meters.text("/"))
    assert "Last heard of: 00000000deadbeef" in meters.text("/")


@pytest.mark.parametrize("project", STATIC_FILES)
def test_static_files_are_served(visit: Visit, project: str) -> None:
    """By nginx or, where the project does it itself, by the project."""
    assert visit(project).text(STATIC_FILES[project])
