"""What the kills came to, printed as a table after the last one."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, between the lines that bin/test looks for."""
    reports = [
        report for one in terminalreporter.stats.values() for report in one if isinstance(report, pytest.TestReport)
    ]
    rows = [
        row for report in reports if report.when == "call" for name, row in report.user_properties if name == "counted"
    ]
    if rows:
        lines = [list(rows[0]), *([str(figure) for figure in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        terminalreporter.section("counted")
        for line in lines:
            terminalreporter.write_line("   ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
