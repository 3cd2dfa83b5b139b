"""Old names of settings, an old Celery, Beat with a schedule in a file."""

from __future__ import annotations

import re

from testinfra.host import Host
from visitor import Visit, Wait


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
