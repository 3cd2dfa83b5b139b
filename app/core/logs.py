"""The two formats of a log line, and what is done to the lines of others."""

import logging
import re

from pythonjsonlogger.json import JsonFormatter

# The password in a URL's user info; a quote would end the URL.
URL_PASSWORD = re.compile(r"(?<=://)([^/\s?#:@\"']*:)[^/\s?#\"']*(?=@)")
FIELDS = ("time", "level", "logger", "request_id", "task", "task_id", "message", "exc_info", "stack_info")


def without_passwords(text: str) -> str:
    """The text with asterisks in place of passwords in URLs."""
    return URL_PASSWORD.sub(r"\1***", text)


class Plain(logging.Formatter):
    """Level and logger, what the line is about, and the message. The journal adds the time and the unit."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        about = vars(record)
        words = [record.levelname, record.name]
        words += [f"request={about['request_id']}"] if "request_id" in about else []
        words += [f"{about['task']}[{about['task_id']}]"] if "task" in about else []
        return " ".join([*words, record.message])

    def format(self, record: logging.LogRecord) -> str:
        return without_passwords(super().format(record))


class Json(JsonFormatter):
    """One object a line, with those of FIELDS that there are and nothing else that callers may have attached."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"], rename_fields={"levelname": "level", "name": "logger"}, timestamp="time"
        )

    def process_log_record(self, log_data: dict[str, object]) -> dict[str, object]:
        return {field: log_data[field] for field in FIELDS if field in log_data}

    def format(self, record: logging.LogRecord) -> str:
        return without_passwords(super().format(record))


class Missed(logging.Filter):
    """Beat skips a run whose message the broker does not take, and logs that as an error: there is no later attempt."""

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Message Error"):
            record.levelno, record.levelname = logging.CRITICAL, "CRITICAL"
        return True
