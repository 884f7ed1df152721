"""What the vendor's samples put on the wire in languages that are not run here, byte for byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from api_scene import KEY, NOW
from wire_scene import House, open_house

from chappe.api.server import Limits

SENDS = {
    "WinDev, HTTPRequest": (
        b"POST /v2/notification/messages/send HTTP/1.1\r\n"
        b"Accept: */*\r\n"
        b"X-Primotexto-ApiKey: %(key)s\r\n"
        b"Content-Type: application/json\r\n"
        b"User-Agent: PC SOFT Framework\r\n"
        b"Host: 127.0.0.1:%(port)d\r\n"
        b"Content-Length: 0\r\n"
        b"Connection: Keep-Alive\r\n"
        b"Cache-Control: no-cache\r\n"
        b"\r\n"
        b'{"number":"+33612345678","message":"Bonjour","sender":"Boutique"}'
    ),
    ".NET, RestSharp": (
        b"POST /v2//notification/messages/send HTTP/1.1\r\n"
        b"X-Primotexto-ApiKey: %(key)s\r\n"
        b"Content-type: application/json\r\n"
        b"Accept: application/json, application/xml, text/json, text/x-json, text/javascript, text/xml\r\n"
        b"User-Agent: RestSharp/105.0.0.0\r\n"
        b"Host: 127.0.0.1:%(port)d\r\n"
        b"Content-Length: 0\r\n"
        b"Accept-Encoding: gzip, deflate\r\n"
        b"Expect: 100-continue\r\n"
        b"Connection: Keep-Alive\r\n"
        b"\r\n"
        b'{"type":"notification","number":"+33612345678","message":"Bonjour","sender":null,"campaignName":null,'
        b'"category":null,"date":null}'
    ),
    "Python 2, urllib2": (
        b"POST /v2/notification/messages/send HTTP/1.1\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Content-Length: 0\r\n"
        b"Host: 127.0.0.1:%(port)d\r\n"
        b"User-Agent: Python-urllib/2.7\r\n"
        b"Connection: close\r\n"
        b"X-Primotexto-Apikey: %(key)s\r\n"
        b"Content-Type: application/json\r\n"
        b"\r\n"
        b'{"message": "Bonjour \\u00e9t\\u00e9", "number": "0612345678"}'
    ),
}
STATUS_BY_NUMBER = {
    "WinDev, HTTPRequest": (
        b"GET /v2/messages/status?identifier=%%2B33612345678 HTTP/1.1\r\n"
        b"Accept: */*\r\n"
        b"X-Primotexto-ApiKey: %(key)s\r\n"
        b"Content-Type: application/json\r\n"
        b"User-Agent: PC SOFT Framework\r\n"
        b"Host: 127.0.0.1:%(port)d\r\n"
        b"Content-Length: 0\r\n"
        b"Connection: Keep-Alive\r\n"
        b"\r\n"
    ),
    ".NET, RestSharp": (
        b"GET /v2//messages/status?identifier=+33612345678 HTTP/1.1\r\n"
        b"X-Primotexto-ApiKey: %(key)s\r\n"
        b"Content-type: application/json\r\n"
        b"Accept: application/json, application/xml, text/json, text/x-json, text/javascript, text/xml\r\n"
        b"User-Agent: RestSharp/105.0.0.0\r\n"
        b"Host: 127.0.0.1:%(port)d\r\n"
        b"Accept-Encoding: gzip, deflate\r\n"
        b"\r\n"
    ),
}
ID_AS_NUMBER = (
    b"GET /v2/messages/status?identifier=362891 HTTP/1.1\r\n"
    b"Accept-Encoding: identity\r\n"
    b"Host: 127.0.0.1:%(port)d\r\n"
    b"X-Primotexto-Apikey: %(key)s\r\n"
    b"Content-Type: application/json\r\n"
    b"Connection: close\r\n"
    b"User-Agent: Python-urllib/2.7\r\n"
    b"\r\n"
)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, Limits(head_seconds=60, body_seconds=60)) as house:
        yield house


def filled(request: bytes, house: House) -> bytes:
    """With key and port, and the length that its body has."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = (head % {b"key": KEY.encode(), b"port": house.server.port}).split(b"\r\n")
    lines = [b"Content-Length: %d" % len(body) if line.startswith(b"Content-Length") else line for line in lines]
    return b"\r\n".join([*lines, b"", body])


@pytest.mark.parametrize("sample", SENDS)
async def test_a_sample_sends(house: House, sample: str) -> None:
    request = filled(SENDS[sample], house)
    head, _, body = request.partition(b"\r\n\r\n")
    client = await house.connect()
    if b"Expect:" in head:
        client.write(head, b"\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        answer = await client.ask(body)
    else:
        answer = await client.ask(request)
    assert (answer.status, json.loads(answer.body)["creditsUsed"]) == (200, 1.0)
    message = await house.scene.stored(int(json.loads(answer.body)["snapshotId"]))
    assert message.number == "+33612345678"
    assert message.text == ("Bonjour été" if "Python" in sample else "Bonjour")


@pytest.mark.parametrize("sample", STATUS_BY_NUMBER)
async def test_a_sample_asks_by_number(house: House, sample: str) -> None:
    id_ = await house.scene.sent()
    answer = await (await house.connect()).ask(filled(STATUS_BY_NUMBER[sample], house))
    found = json.loads(answer.body)
    assert (answer.status, found["id"], found["submitted"]) == (200, id_, NOW)


async def test_a_sample_that_takes_an_id_for_a_number_is_told_what_to_use(house: House) -> None:
    answer = await (await house.connect()).ask(filled(ID_AS_NUMBER, house))
    told = json.loads(answer.body)
    assert (answer.status, told["code"], told["field"]) == (400, 11, "identifier")
    assert told["error"] == told["message"] == "Invalid phone number; for the id of a message, use snapshotId."
