"""How the server's log lines look: one fact a line, as text for people or JSON for programs.

Fields travel in `extra`. Nothing is masked here: a text, a full number or a secret is never given to a logger.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import msgspec

_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_json = msgspec.json.Encoder(enc_hook=str)


def configure_logs(log_format: Literal["text", "json"], level: int = logging.INFO) -> None:
    """Sends everything from `level` up to stderr in this format; replaces what was configured before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, then the fields of `extra`.

    A field named as one of the first four, or `trace`, is shown with an underscore behind it.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if trace := _trace(self, record):
            line["trace"] = trace
        line |= {f"{name}_" if name in line else name: value for name, value in _fields(record)}
        return _json.encode(line).decode()


class TextFormatter(logging.Formatter):
    """`TIME LEVEL LOGGER: EVENT name=value …`, a traceback below; values are written as JSON when not plain words."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{_time(record)} {record.levelname:<7} {record.name}: {record.getMessage()}"
        line = " ".join((head, *(f"{name}={_plain(value)}" for name, value in _fields(record))))
        return "\n".join(filter(None, (line, _trace(self, record))))


def _fields(record: logging.LogRecord) -> list[tuple[str, object]]:
    return [(name, value) for name, value in vars(record).items() if name not in _OF_EVERY_RECORD]


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info else ""


def _plain(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(' "=') else _json.encode(value).decode()
