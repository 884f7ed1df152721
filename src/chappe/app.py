"""The wiring: what a server consists of, in which order it starts and stops. The only module that knows all others.

    store ─ simulator ─ connectors with their dispatchers ─ sweep ─ HTTP

Stopping goes the other way round: no request is accepted any more, no claim begins, each connector answers what it
owes and empties its window, and only then the store closes. What was accepted and has not left stays on the queue.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import secrets
import signal
import string
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from chappe.api.app import create_app
from chappe.api.server import Server, make_server
from chappe.api.services import Services
from chappe.connectors.smpp import SmppConnector, SmppSettings
from chappe.core.errors import ChappeError
from chappe.core.message import Event, Inbound
from chappe.core.ports import Store
from chappe.flow import inbound, sweep
from chappe.flow.accept import LIVE, SIMULATOR
from chappe.flow.dispatch import Dispatcher
from chappe.flow.settle import Settlement
from chappe.settings import Settings
from chappe.simulator import Simulator
from chappe.storage.sqlite import open_sqlite

log = logging.getLogger(__name__)

SIMULATOR_WINDOW = 100
TOKEN_LETTERS = string.ascii_letters + string.digits
TOKEN_LENGTH = 12


class CannotServe(ChappeError):
    """The server refuses to start; the message says what to do."""


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; the process's exit code."""
    try:
        import uvloop
    except ImportError:  # Windows
        runner = asyncio.Runner()
    else:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with runner:
        return runner.run(_run(settings))


async def _run(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Node(settings) as node:
        await node.run_until(stop)
    return 1 if node.failed else 0


class Node:
    """A running server; `async with` starts and stops it. `base_url` is where it listens."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.failed = False
        """A part that has to run for ever has ended."""
        self.base_url = ""
        self.store: Store
        self.simulator: Simulator
        self.connectors: list[SmppConnector] = []
        self._dispatchers: dict[str, list[Dispatcher]] = {LIVE: [], SIMULATOR: []}
        self._dispatching: list[asyncio.Task[None]] = []
        self._server: Server
        self._broken = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Node:
        async with self._stack:
            await self._start()
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        log.info("stopped")

    async def run_until(self, stop: asyncio.Event) -> None:
        """Returns when told to stop, or when a part has failed and nothing useful can go on."""
        waits = [asyncio.create_task(event.wait()) for event in (stop, self._broken)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    # --- starting ---

    async def _start(self) -> None:
        settings, stack = self.settings, self._stack
        self.store = await open_sqlite(settings.database_path)
        stack.push_async_callback(self.store.close)
        host, port = settings.address
        await self._refuse_the_unsafe(host)
        self.simulator = Simulator()
        simulator_port = await self.simulator.start("127.0.0.1")
        stack.push_async_callback(self.simulator.stop)
        self._run_for_ever("sweep", sweep.run(self.store, _now_ms, self._publish, self._wake_all))
        for operator in settings.operators:
            await self._connect(operator, LIVE)
        await self._connect(_to_simulator(settings, simulator_port), SIMULATOR)
        stack.push_async_callback(self._drain)
        live_route = LIVE if settings.operators else SIMULATOR
        if live_route == SIMULATOR:
            log.warning("NO OPERATOR IS CONFIGURED: every message goes to the built-in simulator, none to a phone")
        services = Services(
            store=self.store,
            now_ms=_now_ms,
            live_route=live_route,
            public_url=settings.public_url,
            default_validity_ms=settings.default_validity_seconds * 1000,
            wake=self._wake,
            readiness=self._readiness,
            token=_token,
        )
        self._server = make_server(create_app(services), host, port)
        await self._server.start()
        stack.push_async_callback(self._server.stop)
        self.base_url = f"http://{f'[{host}]' if ':' in host else host}:{self._server.port}"
        if services.public_url is None and live_route == SIMULATOR:
            services.public_url = self.base_url
        # The one host whose links the simulator may open: the text is a caller's, and so is any other host in it.
        self.simulator.links_host = urlsplit(services.public_url or self.base_url).netloc
        log.info("serving", extra={"url": self.base_url, "database": settings.database})

    async def _connect(self, operator: SmppSettings, route: str) -> None:
        """Takes the connector, runs it, and keeps it busy from its route."""
        settlement = Settlement(self.store, _now_ms, self._publish)
        connector = SmppConnector(
            operator,
            now_ms=_now_ms,
            chance=random.random,
            on_answers=settlement.answers,
            on_receipts=settlement.receipts,
            on_inbound=self._receive,
            on_room=lambda: dispatcher.wake(),
        )
        dispatcher = Dispatcher(self.store, connector, route, _now_ms)
        connector.epoch = await self.store.open_connector(connector.name, _now_ms())
        self.connectors.append(connector)
        self._dispatchers[route].append(dispatcher)
        self._run_for_ever(f"connector {connector.name}", connector.run())
        self._dispatching.append(self._run_for_ever(f"dispatch {connector.name}", dispatcher.run()))

    async def _refuse_the_unsafe(self, host: str) -> None:
        if not _is_loopback(host) and not any(key.revoked_at is None for key in await self.store.list_keys()):
            raise CannotServe(
                f"not listening on {host}, which others can reach, before there is a key: "
                "create one with `chappe keys create --account NAME`"
            )

    def _run_for_ever(self, name: str, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Runs it in the background until the end; that it fails before then is a reason to stop the server."""
        task = asyncio.create_task(work, name=name)

        def ended(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                log.error("%s failed: the server stops", name, exc_info=error)
                self.failed = True
                self._broken.set()

        task.add_done_callback(ended)
        self._stack.push_async_callback(_cancel, task)
        return task

    # --- stopping ---

    async def _drain(self) -> None:
        """Claims end before the windows empty: a claim that is cancelled would be a doubt."""
        for dispatchers in self._dispatchers.values():
            for dispatcher in dispatchers:
                dispatcher.stop()
        await asyncio.wait(self._dispatching)
        await asyncio.gather(*(connector.drain(self.settings.drain_seconds) for connector in self.connectors))

    # --- what the parts tell each other ---

    def _publish(self, events: Sequence[Event]) -> None:
        """Public states reached. Settled messages make room and may be queued again."""
        self._wake_all()

    async def _receive(self, messages: Sequence[Inbound]) -> bool:
        return await inbound.receive(self.store, messages, _now_ms())

    def _wake(self, route: str) -> None:
        for dispatcher in self._dispatchers[route]:
            dispatcher.wake()

    def _wake_all(self) -> None:
        for route in self._dispatchers:
            self._wake(route)

    def _readiness(self) -> Mapping[str, object]:
        """An operator that is away does not make us unready: what is accepted meanwhile waits on disk."""
        return {
            "ready": not self.failed,
            "connectors": {connector.name: "bound" if connector.bound else "unbound" for connector in self.connectors},
        }


def _to_simulator(settings: Settings, port: int) -> SmppSettings:
    return SmppSettings(
        name=SIMULATOR,
        host="127.0.0.1",
        port=port,
        system_id="chappe",
        sender="CHAPPE",
        window=SIMULATOR_WINDOW,
        response_seconds=settings.simulator_response_seconds,
    )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _token() -> str:
    return "".join(secrets.choice(TOKEN_LETTERS) for _ in range(TOKEN_LENGTH))
