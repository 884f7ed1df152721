"""Names are resolved once, their addresses judged, and the connection goes to one that passed.

Between the judgement and the connection nobody is asked again, so a name that changes its address meanwhile (DNS
rebinding) gains nothing; the Host header and the TLS name stay those of the URL.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType

from chappe.core.targets import Networks, forbidden_address

LookUp: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""From a name to its IP addresses; raises OSError."""

LOOK_UP_THREADS = 64
"""A name server that hangs holds a thread for half a minute; the event loop's own pool has six."""


class ForbiddenAddress(OSError):
    """The host has no address a webhook may go to; `word` is the reason of the first."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class GuardedResolver(AbstractResolver):
    """Lets aiohttp see the addresses that are open, and no other."""

    def __init__(self, allowed: Networks, look_up: LookUp) -> None:
        self._allowed = allowed
        self._look_up = look_up

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._look_up(host)
        words = [forbidden_address(address, self._allowed) for address in addresses]
        open_ones = [address for address, word in zip(addresses, words, strict=True) if word is None]
        if not open_ones:
            raise ForbiddenAddress(next((word for word in words if word is not None), "host"))
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in open_ones
        ]

    async def close(self) -> None:
        """Holds nothing."""


def guarded_sockets(allowed: Networks) -> Callable[[AddrInfoType], socket.socket]:
    """Makes sockets for open addresses only: the last look, at the very address that is connected to."""

    def make(target: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = target
        word = forbidden_address(str(address[0]), allowed)
        if word is not None:
            raise ForbiddenAddress(word)
        return socket.socket(family, kind, protocol)

    return make


def system_look_up() -> LookUp:
    """The machine's own name service, in threads of its own."""
    threads = ThreadPoolExecutor(LOOK_UP_THREADS, "look-up")

    def look_up(host: str) -> list[str]:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        return [str(address[0]) for *_, address in found]

    async def in_thread(host: str) -> list[str]:
        return await asyncio.get_running_loop().run_in_executor(threads, look_up, host)

    return in_thread
