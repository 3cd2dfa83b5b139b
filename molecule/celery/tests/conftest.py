"""The seconds that tests measure, printed as a table after the last one."""

from __future__ import annotations

import pytest

ROWS = pytest.StashKey[list[tuple[str, str, str]]]()


@pytest.fixture(scope="session")
def counted(pytestconfig: pytest.Config) -> list[tuple[str, str, str]]:
    """Rows of the table: the cause, the host, the seconds."""
    return pytestconfig.stash.setdefault(ROWS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table, between the lines that bin/test looks for."""
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    terminalreporter.section("counted")
    terminalreporter.write_line("seconds until a deaf worker consumes again, by cause")
    for cause, host, seconds in rows:
        terminalreporter.write_line(f"{cause:<48} {host:<18} {seconds:>8}")
