"""Fourteen queues, workers of several kinds, a search that needs an extension."""

from __future__ import annotations

import re

from visitor import Visit, Wait


def test_library_catalogues_through_every_queue(visit: Visit, wait_until: Wait) -> None:
    """Fourteen queues; workers have settings and a pool of their own; the search needs the extension."""
    library = visit("library")
    isbn = str(len(re.findall("<li>", library.text("/"))))
    book = library.send("/", {"title": f"The Name of the Rose {isbn}", "isbn": isbn}, to="/books/")
    kinds = wait_until(lambda: (found := re.findall(r"<li>(\w+) by (.*?)</li>", library.text(book)))[11:] and found)
    assert len({kind for kind, _ in kinds}) == 12
    assert {by.rpartition("-")[0] for _, by in kinds} == {"a worker (ThreadPoolExecutor"}, kinds
    assert "Name of the Rose" in library.text("/?q=naem+of+rose")
