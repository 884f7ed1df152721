"""Kannel's bearerbox and smsbox, as an application uses them: texts in, receipts and replies out, both by HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from chappe.loopback import free_port
from tests.peers.peer_program import PATIENCE_SECONDS, PEERS

SENDER = "CHAPPE"
DELIVERED, FAILED, ACCEPTED, REFUSED = "1", "2", "8", "16"
"""Kinds of receipt; the last two say what the SMSC answered."""
ALL_KINDS = "31"


class Kannel:
    """Running boxes. Use `running`."""

    def __init__(self, admin_port: int, send_port: int, callback_port: int) -> None:
        self._told: asyncio.Queue[tuple[str, dict[str, str]]] = asyncio.Queue()
        self._status_url = f"http://127.0.0.1:{admin_port}/status.txt?password=status"
        self._send_url = f"http://127.0.0.1:{send_port}/cgi-bin/sendsms"
        self._callback_url = f"http://127.0.0.1:{callback_port}/receipt?kind=%d&says=%A"
        self._http = httpx2.AsyncClient()

    async def send(self, number: str, text: str) -> None:
        """Says that the boxes took it, no more."""
        is_cyrillic = any("\u0400" <= character <= "\u04ff" for character in text)
        query = {
            "username": "tester",
            "password": "secret",
            "from": SENDER,
            "to": number,
            "text": text,
            "charset": "UTF-8",
            "coding": "2" if is_cyrillic else "0",
            "dlr-mask": ALL_KINDS,
            "dlr-url": self._callback_url,
        }
        answer = await self._http.get(f"{self._send_url}?{urlencode(query)}")
        assert answer.status_code == 202, answer.text

    async def receipts(self, count: int) -> dict[str, str]:
        """The next so many: kind → what it says. They are told at once, so in any order."""
        told = [await self._next("/receipt") for _ in range(count)]
        return {said["kind"]: said["says"] for said in told}

    async def reply(self) -> tuple[str, str, str]:
        """Who wrote, to whom, and what, as the boxes have decoded it."""
        said = await self._next("/mo")
        charset = "utf-16-be" if said["coding"] == "2" else "utf-8"
        return said["from"], said["to"], said["text"].encode("latin-1").decode(charset)

    async def until(self, said: str) -> None:
        """Its status has this in it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with suppress(httpx2.TransportError):
                    if said in (await self._http.get(self._status_url)).text:
                        return
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        await self._http.aclose()

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One callback."""
        head = await reader.readuntil(b"\r\n\r\n")
        url = urlsplit(head.split(b" ", 2)[1].decode("ascii"))
        query = parse_qs(url.query, keep_blank_values=True, encoding="latin-1")  # whatever the text's octets are
        parameters = {name: value for name, (value,) in query.items()}
        self._told.put_nowait((url.path, parameters))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async def _next(self, path: str) -> dict[str, str]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            called, said = await self._told.get()
        assert called == path, (called, said)
        return said


@asynccontextmanager
async def running(folder: Path, port: int, system_id: str, password: str) -> AsyncIterator[Kannel]:
    """Boxes, bound to this port; what they log is in the folder."""
    admin_port, box_port, send_port, callback_port = (free_port() for _ in range(4))
    kannel = Kannel(admin_port, send_port, callback_port)
    callbacks = await asyncio.start_server(kannel.hear, "127.0.0.1", callback_port)
    config = folder / "kannel.conf"
    config.write_text(
        (PEERS / "kannel.conf")
        .read_text("utf-8")
        .format(
            admin_port=admin_port,
            box_port=box_port,
            send_port=send_port,
            callback_port=callback_port,
            port=port,
            system_id=system_id,
            password=password,
        )
    )
    boxes: list[asyncio.subprocess.Process] = []
    try:
        for box, ready in (("bearerbox", "chappe"), ("smsbox", "smsbox:")):
            with (folder / f"{box}.log").open("wb") as log:
                boxes.append(
                    await asyncio.create_subprocess_exec(f"/usr/sbin/{box}", str(config), stdout=log, stderr=log)
                )
            await kannel.until(ready)
        await kannel.until("(online")
        yield kannel
    finally:
        for process in reversed(boxes):
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()
        callbacks.close()
        await kannel.close()
