"""WebSockets, an ASGI server, results in the database."""

from __future__ import annotations

import json
from collections.abc import Callable

from playwright.sync_api import Page, expect
from testinfra.host import Host
from visitor import Visit, Wait


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
