"""The wiring: what a server consists of, in which order it starts and stops. The only module that knows all others.

    store ─ simulator ─ campaigns ─ sweep ─ notifier ─ leases, and with each a connector and its dispatcher ─
    customers ─ HTTP

Stopping goes the other way round: no request is accepted any more, no claim begins, each connector answers what it
owes and empties its window, the leases go back, and only then the store closes. What was accepted and has not left
stays on the queue.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import random
import secrets
import signal
import socket
import string
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from chappe.api.app import create_app
from chappe.api.server import Server, make_server
from chappe.api.services import Services
from chappe.api.tls import Certificate
from chappe.connectors.smpp import SmppConnector, SmppSettings
from chappe.core import hours
from chappe.core.campaigns import PAUSED
from chappe.core.errors import ChappeError
from chappe.core.figures import Figures, limit_sentence
from chappe.core.message import Event, Holder, Inbound, Question, Submission
from chappe.core.ports import Store
from chappe.core.routing import (
    LIVE,
    SIMULATOR,
    VIA,
    Member,
    Portion,
    Route,
    elsewhere,
    names_through,
    own_portions,
    portions,
)
from chappe.core.steering import Steered, StoredConnector, Told
from chappe.core.targets import parse_networks
from chappe.customers.server import CustomerServer
from chappe.flow import inbound, sweep
from chappe.flow.asking import Asker
from chappe.flow.campaigns import Installation, Runner
from chappe.flow.dispatch import Dispatcher
from chappe.flow.hold import Watch
from chappe.flow.lease import Leases
from chappe.flow.live import Live
from chappe.flow.notify import Notifier
from chappe.flow.rates import Rates
from chappe.flow.roster import Roster
from chappe.flow.settle import Settlement
from chappe.flow.shifting import Shifter
from chappe.flow.steering import Helm
from chappe.notifier.child import Child
from chappe.notifier.pipe import Start
from chappe.operators import join
from chappe.settings import Settings
from chappe.simulator import Mood, Simulator, load_mood
from chappe.storage.opening import hold, open_store
from chappe.storage.writer_process import Apart

log = logging.getLogger(__name__)

SIMULATOR_WINDOW = 100
NOTIFIER_DRAIN_SECONDS = 5.0
"""How long webhooks under way may take at the end; what is not answered then is posted again."""
NOTIFIER_WAKES_SECONDS = 0.01
"""After something was committed that webhooks may want."""
LOST_DRAIN_SECONDS = 3.0
"""How long a connector that another node is about to take may wait for its answers."""
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


@dataclass(slots=True)
class _Line:
    """A connector that this node has leased, as its dispatcher sees it: silent when the lease is over."""

    connector: SmppConnector
    leases: Leases
    dispatcher: Dispatcher | None = None
    tasks: tuple[asyncio.Task[None], ...] = ()
    asking: asyncio.Task[None] | None = None
    ending: asyncio.Task[None] | None = None
    """Drains because it was told to, or to begin anew, while the lease is kept."""

    @property
    def name(self) -> str:
        return self.connector.name

    @property
    def epoch(self) -> int:
        return self.connector.epoch

    def free(self) -> int:
        return self.connector.free() if self.leases.holds(self.name) else 0

    def submit(self, submissions: Sequence[Submission]) -> Sequence[Submission]:
        return self.connector.submit(submissions) if self.leases.holds(self.name) else submissions

    async def ask(self, question: Question) -> bool:
        return self.leases.holds(self.name) and await self.connector.ask(question)

    def wake(self) -> None:
        if self.dispatcher is not None:
            self.dispatcher.wake()

    async def end(self, drain_seconds: float) -> None:
        """Claims end before the window empties: a claim that is cancelled would be a doubt."""
        if self.asking is not None:
            await _cancel(self.asking)
        if self.dispatcher is not None:
            self.dispatcher.stop()
        running, dispatching = self.tasks
        await asyncio.wait([dispatching])
        await self.connector.drain(drain_seconds)
        await _cancel(running)


class Node:
    """A running server; `async with` starts and stops it. `base_url` is where it listens."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.failed = False
        """A part that has to run for ever has ended."""
        self.base_url = ""
        self.smpp_port: int | None = None
        """Where customers bind."""
        self.store: Store
        self.simulator: Simulator
        self._operators = join(settings, ())
        self._roster: Roster
        self._own: SmppSettings | None = None
        """The simulator's connector, which is no other node's."""
        self._wanted: Mapping[str, SmppSettings] = {}
        """Connector → the settings it ought to have."""
        self._routes: list[Route] = []
        """Those of the settings, and `live` for what takes none of them, by all operators if it has no table."""
        self._orphans: list[Route] = []
        """On which something waits although no rule is left that says for whom: it leaves as from `live`."""
        self._lines: dict[str, _Line] = {}
        self._lost: list[_Line] = []
        """Not ours any more, until they are silent."""
        self._told: dict[str, Told] = {}
        self._helm: Helm | None = None
        self._shifter: Shifter
        self._leases: Leases | None = None
        self._hold: Watch
        self._server: Server
        self._live = Live()
        self._customers: CustomerServer | None = None
        self._services: Services | None = None
        self._campaigns: Runner | None = None
        self._notifier: Notifier | None = None
        self._notifying: asyncio.Task[None] | None = None
        self._notifier_wakes = False
        """Soon."""
        self._queued_on: set[str] = set()
        """The routes whose connectors are woken next."""
        self._background: set[asyncio.Task[None]] = set()
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
        lock = stack.enter_context(hold(settings.database))
        preparing = asyncio.create_task(asyncio.to_thread(hours.prepare))  # beside the rest: it takes half a second
        stack.push_async_callback(_cancel, preparing)
        apart = None if lock is None else Apart(lock, self._break)
        self.store = await open_store(settings.database, apart=apart)
        stack.push_async_callback(self.store.close)
        host, port = settings.address
        await self._refuse_the_unsafe(host)
        await self.store.listen(self._wake)
        self._hold = Watch(self.store, self._wake_all)
        await self._hold.look()
        self._roster = Roster(self.store, _now_ms, on_changed=self._see_operators, has_ended=self._has_ended)
        await self._roster.look()
        self._operators.check_routes()
        if self._operators.live_route == SIMULATOR:
            log.warning("NO OPERATOR IS CONFIGURED: every message goes to the built-in simulator, none to a phone")
        elif settings.stop_mention is None and self._operators.settings.mention is None:
            log.warning("NO STOP MENTION: marketing leaves as it is written; set stop_mention")
        self.simulator = Simulator(_read_mood(settings.simulator_mood))
        stack.push_async_callback(_cancel, self._run_for_ever("hold", self._hold.run()))
        if settings.role != "api":
            await self._start_sending(f"{socket.gethostname()}:{port}" if settings.node is None else settings.node)
        if settings.role != "worker":
            await self._start_answering(host, port)
        stack.push_async_callback(_cancel, self._run_for_ever("roster", self._roster.run()))
        await preparing
        log.info(
            "serving",
            extra={"url": self.base_url, "node": settings.node, "role": settings.role},
        )

    async def _start_sending(self, node: str) -> None:
        """The simulator, the sweep, and the connectors that are ours to lease."""
        settings, stack = self.settings, self._stack
        simulator_port = await self.simulator.start("127.0.0.1")
        stack.push_async_callback(self.simulator.stop)
        self._campaigns = Runner(
            self.store,
            node,
            self._installation(),
            now_ms=_now_ms,
            wake=self._wake,
        )
        self._run_for_ever("campaigns", self._campaigns.run())
        self._run_for_ever("sweep", sweep.run(self.store, _now_ms, self._publish, self._wake_all))
        # Nodes that share a database have a simulator each, and each simulator its own ids.
        simulator = SIMULATOR if settings.database_path is not None else f"{SIMULATOR}@{node}"
        self._own = _to_simulator(simulator, settings, simulator_port)
        self._shifter = Shifter(self.store, [*settings.rules, settings.live], _now_ms)
        self._leases = Leases(
            self.store,
            Holder(node, secrets.token_hex(8)),
            (),
            own=[simulator],
            clock=time.monotonic,
            now_ms=_now_ms,
            on_taken=self._take,
            on_lost=self._lose,
        )
        stack.push_async_callback(self._leases.close)
        stack.push_async_callback(self._hide)
        stack.push_async_callback(self._drain)
        self._notifier = Notifier(self.store, Child(Start(allow=settings.webhook_networks)), _now_ms)
        self._notifying = self._run_for_ever("notifier", self._notifier.run())
        self._helm = Helm(
            self.store, node, _now_ms, on_steered=self._steer, on_queued=self._see_routes, figures=self._figures
        )
        self._arrange()
        await self._helm.look()
        await self._leases.beat()
        self._run_for_ever("leases", self._leases.run())
        self._run_for_ever("helm", self._helm.run())
        self._run_for_ever("shifts", self._shifter.run())

    async def _start_answering(self, host: str, port: int) -> None:
        settings, joined = self.settings, self._operators.settings
        services = self._services = Services(
            store=self.store,
            now_ms=_now_ms,
            live_route=self._operators.live_route,
            public_url=settings.public_url,
            links_url=settings.links_url,
            default_validity_ms=settings.default_validity_seconds * 1000,
            routes=settings.rules,
            cut=joined.cut,
            wake=self._wake,
            readiness=self._readiness,
            token=_token,
            chance=secrets.token_bytes,
            rates=Rates(time.monotonic, None if settings.database_path else self.store, _now_ms),
            live=self._live,
            webhook_networks=parse_networks(settings.webhook_networks),
            stop_mention=joined.mention,
            rate=_rate_of(joined.operators),
            wake_campaigns=self._wake_campaigns,
        )
        certificate: Certificate | None = None
        if settings.tls_cert is not None and settings.tls_key is not None:
            certificate = Certificate(Path(settings.tls_cert), Path(settings.tls_key))
            self._stack.push_async_callback(_cancel, self._run_for_ever("certificate", certificate.watch()))
        if settings.smpp_address is not None:  # before HTTP, so that /ready is told once both are open
            await self._open_to_customers(*settings.smpp_address, services, certificate)
        self._server = make_server(
            create_app(services), host, port, tls=None if certificate is None else certificate.context
        )
        await self._server.start()
        self._stack.push_async_callback(self._server.stop)
        self._stack.callback(self._live.close)
        scheme = "http" if certificate is None else "https"
        self.base_url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._server.port}"
        self._tell_services(services)
        # The one host whose links the simulator may open: the text is a caller's, and so is any other host in it.
        self.simulator.links_host = urlsplit(services.links_base or self.base_url).netloc

    async def _open_to_customers(
        self, host: str, port: int, services: Services, certificate: Certificate | None
    ) -> None:
        settings = self.settings
        if certificate is None and not settings.smpp_plaintext and not _is_loopback(host):
            raise CannotServe(
                f"not listening for SMPP on {host}, which others can reach, without TLS: set tls_cert and tls_key, or "
                "smpp_plaintext if a tunnel or the network protects the passwords"
            )
        customers = CustomerServer(
            self.store,
            services,
            services.rates,
            now_ms=_now_ms,
            clock=time.monotonic,
            wake=self._wake,
            alone=settings.database_path is not None,
        )
        running = self._run_for_ever("customers", customers.run())
        self._stack.push_async_callback(_cancel, running)
        tls = None if certificate is None or settings.smpp_plaintext else certificate.context
        try:
            self.smpp_port = await customers.start(host, port, tls=tls)
        except OSError as error:
            raise CannotServe(f"cannot listen on {settings.smpp_listen}: {os.strerror(error.errno or 0)}") from error
        self._stack.push_async_callback(customers.stop, settings.drain_seconds)
        self._customers = customers
        log.info("open to customers", extra={"host": host, "port": self.smpp_port, "tls": tls is not None})

    # --- connectors ---

    def _take(self, name: str, epoch: int) -> None:
        """Runs a connector that is ours now, and keeps it busy from its route."""
        operator = self._wanted.get(name)
        if operator is None or self._leases is None:
            return  # removed: that nobody else had it is all that was to be known
        settlement = Settlement(self.store, _now_ms, self._publish, partial(self._elsewhere, name))
        connector = SmppConnector(
            operator,
            now_ms=_now_ms,
            chance=random.random,
            on_answers=settlement.answers,
            on_receipts=settlement.receipts,
            on_inbound=self._receive,
            on_room=lambda: line.wake(),
        )
        connector.epoch = epoch
        if self._told.get(name) is Told.PAUSE:
            connector.pause()
        line = self._lines[name] = _Line(connector, self._leases)
        line.dispatcher = Dispatcher(self.store, line, partial(self._portions, name), _now_ms)
        line.tasks = (
            self._run_for_ever(f"connector {name}", connector.run()),
            self._run_for_ever(f"dispatch {name}", line.dispatcher.run()),
        )
        if operator.query_after_seconds:
            asker = Asker(self.store, line, int(operator.query_after_seconds * 1000), line.dispatcher.is_idle, _now_ms)
            line.asking = self._run_for_ever(f"ask {name}", asker.run())

    async def _lose(self, name: str) -> None:
        line = self._lines.pop(name, None)
        if line is not None:  # else the server stops, and ends it with the others
            self._lost.append(line)
            await line.end(LOST_DRAIN_SECONDS)
            self._lost.remove(line)

    # --- connectors that are told something ---

    def _steer(self, steered: Sequence[Steered]) -> None:
        """Does what they are told; what is new for one that another node has is that node's."""
        self._told = {one.connector: one.told for one in steered}
        for line in self._lines.values():
            told = self._told.get(line.name, Told.RUN)
            if told is Told.DRAIN:
                self._begin_to_end(line)
            elif told is Told.PAUSE and not line.connector.paused:
                line.connector.pause()
                log.info("paused", extra={"connector": line.name})
            elif told is Told.RUN and line.connector.paused:
                line.connector.resume()
                log.info("resumed", extra={"connector": line.name})
        self._assign()

    def _begin_to_end(self, line: _Line) -> None:
        if line.ending is None:
            line.ending = self._run_for_ever(f"drain {line.name}", self._end(line))

    async def _end(self, line: _Line) -> None:
        """Drains with the lease kept, so that what has no answer yet is nobody's doubt meanwhile."""
        log.info("draining", extra={"connector": line.name})
        await line.end(self.settings.drain_seconds)
        log.info("drained", extra={"connector": line.name})
        if self._lines.get(line.name) is not line:
            return  # lost, or the server stops: whoever does that is ending it too
        del self._lines[line.name]
        if self._told.get(line.name) is not Told.DRAIN and line.leases.holds(line.name):
            self._take(line.name, line.epoch)
        self._assign()

    def _assign(self) -> None:
        """What the nodes share: all but those that are drained; a lease lasts until the drain ends.

        One that was removed is shared until a node has it and nothing is left to do: what an earlier holder has left
        without an answer, when it died, becomes doubts by that.
        """
        if self._leases is None or self._own is None:
            return
        here = self._here
        names = [name for name in self._wanted if name in here]
        kept = dict.fromkeys([*names, *self._operators.leaving, *self._lines])
        self._leases.assign([name for name in kept if name != self._own.name])

    # --- operators that come, change and go ---

    def _see_operators(self, stored: Sequence[StoredConnector]) -> None:
        before, self._operators = self._operators, join(self.settings, stored)
        for name, why in self._operators.wrong.items():
            if before.wrong.get(name) != why:
                log.error("added operator is left out", extra={"connector": name, "reason": why})
        for route in self._operators.unserved:
            log.warning("no operator is left for a route: what takes it waits", extra={"route": route})
        if self._services is not None:
            if (before.live_route, self._operators.live_route) == (SIMULATOR, LIVE):
                log.warning("THE FIRST OPERATOR: live keys write to phones from now on, no longer to the simulator")
            self._tell_services(self._services)
        if self._campaigns is not None:
            self._campaigns.installation = self._installation()
        self._arrange()

    def _arrange(self) -> None:
        """Connectors and routes as the operators want them."""
        if self._own is None:
            return
        joined = self._operators.settings
        self._wanted = {operator.name: operator for operator in (*joined.operators, self._own)}
        self._routes = [*joined.rules, joined.live, Route(SIMULATOR, (Member(self._own.name),))]
        self._orphans = [replace(joined.live, name=route.name) for route in self._orphans]
        for line in self._lines.values():
            wanted, has = self._wanted.get(line.name), line.connector.settings
            if line.ending is not None or wanted == has:
                continue
            if wanted is None or not has.differs_live(wanted):
                self._begin_to_end(line)
            else:
                line.connector.adjust(wanted)
                changed = {"window": wanted.window, "rate": wanted.rate, "burst": wanted.burst}
                log.info("changed", extra={"connector": line.name, **changed})
        self._assign()
        self._wake_all()

    def _tell_services(self, services: Services) -> None:
        joined, services.live_route = self._operators.settings, self._operators.live_route
        services.cut, services.stop_mention, services.rate = joined.cut, joined.mention, _rate_of(joined.operators)
        is_only_simulated = services.live_route == SIMULATOR and self.base_url
        services.public_url = self.settings.public_url or (self.base_url if is_only_simulated else None)

    def _installation(self) -> Installation:
        joined = self._operators.settings
        return Installation(joined.mention, _token, joined.cut, joined.rules)

    def _has_ended(self, name: str) -> bool:
        """A removed connector that this node has, and has nothing to do for any more."""
        gone = name in self._operators.leaving and name not in self._lines
        return gone and self._leases is not None and self._leases.holds(name)

    def _figures(self) -> Mapping[str, tuple[Sequence[str], Figures]]:
        return {
            line.name: (self._routes_of(line.name), line.connector.figures())
            for line in [*self._lost, *self._lines.values()]
        }

    # --- routes ---

    def _portions(self, name: str) -> Sequence[Portion]:
        """What this connector may take at the moment."""
        routes = [self._shifter.shifted(route) for route in (*self._routes, *self._orphans)]
        return own_portions(routes, name) + portions(routes, name, self._able())

    def _able(self) -> set[str]:
        """The connectors, of all nodes, that take messages."""
        able = {line.name for line in self._lines.values() if line.connector.able and line.leases.holds(line.name)}
        return able if self._helm is None else able | self._helm.able_elsewhere

    def _elsewhere(self, name: str) -> Mapping[str, Sequence[str]]:
        """Who could take what this connector refuses."""
        routes = [*self._routes, *self._orphans]
        members = {member.connector for route in routes for member in route.members}
        return elsewhere(routes, name, self._able(), members - self._here)

    @property
    def _here(self) -> set[str]:
        """Those that there are and that were not told to stay away."""
        return {name for name in self._wanted if self._told.get(name) is not Told.DRAIN}

    def _routes_of(self, name: str) -> list[str]:
        return [VIA + name, *names_through((*self._routes, *self._orphans), name)]

    def _see_routes(self, queued: Sequence[str]) -> None:
        own = (portion.route for name in self._here for portion in own_portions(self._routes, name))
        known = {route.name for route in self._routes}.union(own)
        orphans = [name for name in queued if name not in known and not name.startswith(PAUSED)]
        if orphans != [route.name for route in self._orphans]:
            self._orphans = [replace(self._operators.settings.live, name=name) for name in orphans]
            if orphans:
                log.warning(
                    "nobody is set to take these routes: what waits leaves as from live", extra={"routes": orphans}
                )
                self._wake_all()

    async def _hide(self) -> None:
        if self._helm is not None:
            await self._helm.close()

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
                self._break()

        task.add_done_callback(ended)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _break(self) -> None:
        self.failed = True
        self._broken.set()

    # --- stopping ---

    async def _drain(self) -> None:
        """Ends everything in the background: leases and sweep first, then each line in order."""
        lines, self._lines = list(self._lines.values()), {}
        in_lines = {task for line in [*lines, *self._lost] for task in (*line.tasks, line.ending)}
        await asyncio.gather(*(_cancel(task) for task in self._background - in_lines - {self._notifying}))
        ends = [line.end(self.settings.drain_seconds) for line in lines]
        if self._notifier is not None:
            ends.append(self._notifier.stop(min(self.settings.drain_seconds, NOTIFIER_DRAIN_SECONDS)))
        await asyncio.gather(*ends)

    # --- what the parts tell each other ---

    def _publish(self, events: Sequence[Event]) -> None:
        """Public states reached. Settled messages make room and may be queued again."""
        self._live.publish(events)
        self._wake_notifier()
        self._wake_all()

    async def _receive(self, messages: Sequence[Inbound]) -> bool:
        stored = await inbound.receive(self.store, messages, _now_ms())
        self._wake_notifier()
        return stored

    def _wake_notifier(self) -> None:
        """A little later, so that it looks once for all that was committed meanwhile; so do customers."""
        if not self._notifier_wakes:
            self._notifier_wakes = True
            asyncio.get_running_loop().call_later(NOTIFIER_WAKES_SECONDS, self._wake_notifier_now)

    def _wake_notifier_now(self) -> None:
        self._notifier_wakes = False
        if self._notifier is not None:
            self._notifier.wake()
        if self._customers is not None:
            self._customers.wake()

    def _wake(self, route: str) -> None:
        """When all that was accepted in this turn of the loop has said so."""
        self._wake_notifier()  # accepted: the first of its events
        if not self._queued_on:
            asyncio.get_running_loop().call_soon(self._wake_queued)
        self._queued_on.add(route)

    def _wake_queued(self) -> None:
        queued_on, self._queued_on = self._queued_on, set()
        for line in self._lines.values():
            if not queued_on.isdisjoint(self._routes_of(line.name)):
                line.wake()

    def _wake_campaigns(self) -> None:
        if self._campaigns is not None:
            self._campaigns.wake()

    def _wake_all(self) -> None:
        for line in self._lines.values():
            line.wake()

    def _readiness(self) -> Mapping[str, object]:
        """An operator that is away does not make us unready: what is accepted meanwhile waits on disk."""
        figures = {} if self._helm is None else self._helm.current()
        return {
            "ready": not self.failed,
            "held": self._hold.held,
            "connectors": {
                name: "bound" if line.connector.bound else "unbound" for name, line in sorted(self._lines.items())
            },
            "limits": {name: limit_sentence(of) for name, of in sorted(figures.items())},
            "unserved": self._operators.unserved,
        }


def _read_mood(source: str | None) -> Mood:
    try:
        return Mood() if source is None else load_mood(source)
    except (OSError, ValueError) as error:
        raise CannotServe(f"simulator_mood: {error}") from error


def _rate_of(operators: Sequence[SmppSettings]) -> float | None:
    """What they take together, if each says it."""
    rates = [operator.rate for operator in operators]
    return sum(rates) if rates and all(rates) else None


def _to_simulator(name: str, settings: Settings, port: int) -> SmppSettings:
    return SmppSettings(
        name=name,
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
