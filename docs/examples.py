"""Each operation's example as a command, and as a program in two languages: printed for people, run by the tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from chappe.api.areas import AREAS
from chappe.api.operations import STREAM
from proofs.calls import Call, call_of

BASE_URL = "http://127.0.0.1:8000"
KEY = "0123456789abcdef0123456789abcdef"


def examples() -> str:
    """The whole page: a heading for each operation, and its example in each language."""
    pieces = []
    for area in AREAS:
        for operation in area.operations:
            values = {one.name: one.example for one in operation.parameters if one.example is not None}
            call = call_of(operation, values, operation.example)
            pieces.append(f"## {operation.summary}\n\n`{operation.name}`")
            pieces += [f"```{fence}\n{write(call, BASE_URL, KEY)}\n```" for fence, write in LANGUAGES.items()]
    return "\n\n".join(pieces)


def curl(call: Call, base_url: str, key: str) -> str:
    words = [f"curl {'-N ' if call.operation.answer is STREAM else ''}-X {call.method} '{base_url}{call.target}'"]
    words += [f"-H '{name}: {value}'" for name, value in _headers(call, key).items()]
    if call.body is not None:
        words.append("-d '" + json.dumps(call.body, ensure_ascii=False).replace("'", r"'\''") + "'")
    return " \\\n    ".join(words)


def php(call: Call, base_url: str, key: str) -> str:
    lines = ["<?php", "$options = ['http' => [", f"    'method' => '{call.method}',", "    'header' => ["]
    lines += [f"        '{name}: {value}'," for name, value in _headers(call, key).items()]
    lines.append("    ],")
    if call.body is not None:
        lines.append(f"    'content' => json_encode({_in_php(call.body)}),")
    lines += ["]];", f"echo file_get_contents('{base_url}{call.target}', false, stream_context_create($options));"]
    return "\n".join(lines)


def python(call: Call, base_url: str, key: str) -> str:
    lines = ["import json"] if call.body is not None else []
    lines += ["from urllib.request import Request, urlopen", ""]
    if call.body is not None:
        lines.append(f"body = {_in_python(call.body)}")
    lines += ["request = Request(", f'    "{base_url}{call.target}",', f'    method="{call.method}",']
    if headers := _headers(call, key):
        lines += ["    headers={", *(f'        "{name}": "{value}",' for name, value in headers.items()), "    },"]
    if call.body is not None:
        lines.append("    data=json.dumps(body).encode(),")
    lines += [")", "with urlopen(request) as answer:", "    print(answer.read().decode())"]
    return "\n".join(lines)


LANGUAGES: Mapping[str, Callable[[Call, str, str], str]] = {"sh": curl, "php": php, "python": python}


def _headers(call: Call, key: str) -> Mapping[str, str]:
    headers = {} if call.operation.open else {"X-Primotexto-ApiKey": key}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    return {**headers, **call.headers}


def _in_php(value: Any) -> str:
    match value:
        case dict():
            return "[" + ", ".join(f"{_in_php(name)} => {_in_php(member)}" for name, member in value.items()) + "]"
        case list():
            return "[" + ", ".join(map(_in_php, value)) + "]"
        case str():
            return "'" + value.replace("\\", r"\\").replace("'", r"\'") + "'"
        case _:
            return json.dumps(value)


def _in_python(value: Any, margin: str = "") -> str:
    """A member on each line."""
    inner = margin + "    "
    match value:
        case dict() if value:
            members = [f"{inner}{_in_python(name)}: {_in_python(it, inner)},\n" for name, it in value.items()]
            return "{\n" + "".join(members) + margin + "}"
        case list() if value:
            return "[" + ", ".join(_in_python(it, inner) for it in value) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return repr(value)
