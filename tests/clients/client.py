"""python client.py BASE_URL API_KEY"""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

BASE, KEY = sys.argv[1:]


def ask(method: str, path: str, body: dict[str, Any] | None = None, key: str = KEY) -> tuple[int, Any]:
    octets = None if body is None else json.dumps(body).encode()
    headers = {"X-Primotexto-ApiKey": key, "Content-Type": "application/json"}
    try:
        with urlopen(Request(f"{BASE}/v2{path}", octets, headers, method=method)) as response:
            status, text = response.status, response.read()
    except HTTPError as error:
        with error:
            status, text = error.code, error.read()
    return status, json.loads(text) if text else None


def call(name: str, method: str, path: str, body: dict[str, Any] | None = None, key: str = KEY) -> Any:
    status, answer = ask(method, path, body, key)
    print(json.dumps({"call": name, "http": status, "answer": answer}))
    return answer


sent = call(
    "notification",
    "POST",
    "/notification/messages/send",
    {"number": "0600000000", "message": "Bonjour Zoé €", "category": "python"},
)
call("marketing", "POST", "/marketing/messages/send", {"number": "+33600000008", "message": "Soldes", "sender": "Shop"})
status_path = f"/messages/status?{urlencode({'snapshotId': sent['snapshotId']})}"
for _ in range(300):
    if "delivered" in ask("GET", status_path)[1]:
        break
    time.sleep(0.1)
call("by id", "GET", status_path)
call("by number", "GET", f"/messages/status?{urlencode({'identifier': '+33600000000'})}")
call("wrong key", "GET", "/account/stats", key="0" * 32)
call("bad number", "POST", "/notification/messages/send", {"number": "06", "message": "Bonjour"})
call("no message", "POST", "/notification/messages/send", {"number": "0600000000"})
call("unknown id", "GET", "/messages/status?snapshotId=999999999")
call("unsubscribe", "POST", "/unsubscribers/default/contacts", {"identifier": "0600000010"})
call("refused", "POST", "/marketing/messages/send", {"number": "0600000010", "message": "Soldes"})
call("back again", "DELETE", f"/unsubscribers/default/contacts?{urlencode({'identifier': '+33600000010'})}")
