"""Names are resolved once, their addresses judged, and the connection goes to one that passed.

Between the judgement and the connection nobody is asked again, so a name that changes its address meanwhile (DNS
rebinding) gains nothing; the Host header and the TLS name stay those of the URL.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import TypeAlias

from aiohappyeyeballs import AddrInfoType

from chappe.core.targets import Networks, forbidden_address

LookUp: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""From a name to its IP addresses; raises OSError."""

LOOK_UP_THREADS = 64
"""A name server that hangs holds a thread for half a minute; the event loop's own pool has six."""
NAMES_KEPT = 1024


class ForbiddenAddress(OSError):
    """The host has no address a webhook may go to; `word` is the reason of the first."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class UnknownName(OSError):
    """The name service knows no address of the host, or does not answer."""


class GuardedNames:
    """From a host to the addresses that are open, kept for a while; those who ask at the same time ask once."""

    def __init__(self, allowed: Networks, look_up: LookUp, kept_seconds: float) -> None:
        self._allowed = allowed
        self._look_up = look_up
        self._kept_seconds = kept_seconds
        self._asked: OrderedDict[str, tuple[float, asyncio.Task[list[str]]]] = OrderedDict()

    async def resolve(self, host: str, port: int) -> list[AddrInfoType]:
        """As `getaddrinfo` gives them. Raises ForbiddenAddress and UnknownName."""
        addresses = [host] if _is_address(host) else await asyncio.shield(self._find(host))
        words = [forbidden_address(address, self._allowed) for address in addresses]
        open_ones = [address for address, word in zip(addresses, words, strict=True) if word is None]
        if not open_ones:
            raise ForbiddenAddress(next((word for word in words if word is not None), "host"))
        return [_info_of(address, port) for address in open_ones]

    def _find(self, host: str) -> asyncio.Task[list[str]]:
        known = self._asked.get(host)
        if known is not None and not _is_over(*known):
            return known[1]
        task = asyncio.create_task(self._ask(host))
        task.add_done_callback(_retrieve)
        self._asked[host] = time.monotonic() + self._kept_seconds, task
        self._asked.move_to_end(host)
        if len(self._asked) > NAMES_KEPT:
            self._asked.popitem(last=False)
        return task

    async def _ask(self, host: str) -> list[str]:
        try:
            return list(await self._look_up(host))
        except OSError as error:
            raise UnknownName(*error.args) from error


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


def _is_over(until: float, task: asyncio.Task[list[str]]) -> bool:
    """Whether the name is to be asked for again: not while somebody is asking."""
    return task.done() and (until < time.monotonic() or task.exception() is not None)


def _retrieve(task: asyncio.Task[list[str]]) -> None:
    """Those who asked may have given up; an exception that nobody sees would be complained about."""
    if not task.cancelled():
        task.exception()


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _info_of(address: str, port: int) -> AddrInfoType:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)
