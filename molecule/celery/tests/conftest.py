"""The seconds that tests measure, printed as a table after the last one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

ROW = "seconds by cause"


@pytest.fixture
def count(host_name: str, record_property: Callable[[str, object], None]) -> Callable[[str, object], None]:
    """Notes a row of the table: the cause, and the seconds."""
    return lambda cause, seconds: record_property(ROW, f"{cause:<48} {host_name:<18} {seconds:>8}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, between the lines that bin/test looks for."""
    reports = [
        report for one in terminalreporter.stats.values() for report in one if isinstance(report, pytest.TestReport)
    ]
    rows = [
        row for report in reports if report.when == "teardown" for name, row in report.user_properties if name == ROW
    ]
    if rows:
        terminalreporter.section("counted")
        terminalreporter.write_line("seconds until a deaf worker consumes again, by cause")
        terminalreporter.write_line("\n".join(rows))
