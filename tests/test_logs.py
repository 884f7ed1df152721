from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from chappe.logs import JsonFormatter, TextFormatter, configure_logs


def record(event: str = "bound", *, failed: bool = False, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "chappe.app", "levelno": logging.INFO, "levelname": "INFO", "msg": event, "created": 1_795_511_523.5}
    )
    vars(made).update(extra)
    if failed:
        try:
            raise ValueError("broken")
        except ValueError:
            made.exc_info = sys.exc_info()
    return made


def test_json_line_keeps_every_extra_field_with_its_type() -> None:
    line = JsonFormatter().format(record(operator="orange", window=10, of={"a": [1, None]}, path=Exception("x")))
    assert json.loads(line) == {
        "time": "2026-11-24T09:12:03.500+00:00",
        "level": "info",
        "logger": "chappe.app",
        "event": "bound",
        "operator": "orange",
        "window": 10,
        "of": {"a": [1, None]},
        "path": "x",
    }


def test_json_field_does_not_hide_the_lines_own() -> None:
    line = json.loads(JsonFormatter().format(record(level="high", logger="other")))
    assert (line["level"], line["level_"], line["logger"], line["logger_"]) == ("info", "high", "chappe.app", "other")


def test_json_is_one_line_with_the_trace_inside() -> None:
    line = JsonFormatter().format(record("two\nlines", failed=True))
    assert "\n" not in line
    assert json.loads(line)["trace"].endswith("ValueError: broken")


def test_text_line_shows_fields_that_cannot_be_taken_for_others() -> None:
    line = TextFormatter().format(record(window=10, why='a "b"=c\nd', none=""))
    assert line == '2026-11-24T09:12:03.500+00:00 INFO    chappe.app: bound window=10 why="a \\"b\\"=c\\nd" none=""'


def test_text_trace_stands_below() -> None:
    assert TextFormatter().format(record(failed=True)).splitlines()[-1] == "ValueError: broken"


@pytest.mark.parametrize(("log_format", "kind"), [("text", TextFormatter), ("json", JsonFormatter)])
def test_configured_logs_go_to_stderr_once(
    log_format: Any, kind: type, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.Logger("root")
    monkeypatch.setattr(logging, "root", root)
    configure_logs("text")
    configure_logs(log_format)
    assert [type(handler.formatter) for handler in root.handlers] == [kind]
    root.info("started", extra={"port": 8000})
    root.debug("not shown")
    out, err = capsys.readouterr()
    assert (out, err.count("started"), err.count("not shown")) == ("", 1, 0)
