"""`chappe cluster-demo`: messages flow while a node and the database's primary are killed; then every one is counted.

The client is an ordinary one: it sends each message with an idempotency key, and asks again after a 503 or a request
that nobody answered. So each of its messages is accepted once, whatever dies.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from chappe.cluster.cluster import Cluster
from chappe.core.errors import ChappeError
from chappe.http_client import Answer, Declined, Unreachable, call
from chappe.simulator import Mood

MESSAGES = 500
CLIENTS = 8
RATE = 40
"""Messages a second: what is in flight when something dies is what one wants to see."""
AGAIN_SECONDS = 0.2
RESUME_SECONDS = 30.0
END_SECONDS = 40.0
FINAL = frozenset({"delivered", "bounced", "error"})
SETTINGS = {"CHAPPE_DEFAULT_VALIDITY_SECONDS": "600", "CHAPPE_LOG_FORMAT": "json"}
MOOD = Mood(answer_seconds=0.2, receipt_seconds=11.0)
"""The answers that a dead node waited for are missing for so long that receipts do not tell in time: doubles are to be
seen, not only possible."""
UNAVAILABLE = 503
STILL_RUNNING = 409
"""The first request with this idempotency key has no answer yet."""


@dataclass(slots=True)
class Ledger:
    """What was seen from outside: by the client, and by the operator."""

    ids: dict[str, str] = field(default_factory=dict)
    """Number → the id that its 200 gave."""
    refused: int = 0
    """503s: asked again."""
    unanswered: int = 0
    """Requests without an answer: asked again, with the same key."""
    wrong: list[str] = field(default_factory=list)
    """Answers that should never be."""
    statuses: dict[str, Answer] = field(default_factory=dict)
    submits: Counter[str] = field(default_factory=Counter)
    node_resumed: float | None = None
    database_resumed: float | None = None

    @property
    def states(self) -> Counter[str]:
        return Counter(str(status["state"]) for status in self.statuses.values())

    @property
    def lost(self) -> list[str]:
        """Accepted, and neither delivered nor with any other end."""
        return [number for number in self.ids if self.statuses.get(number, {}).get("state") not in FINAL]

    @property
    def flagged(self) -> int:
        return sum(status.get("resent", 0) for status in self.statuses.values())

    @property
    def doubled(self) -> int:
        return sum(count > 1 for count in self.submits.values())

    @property
    def in_silence(self) -> int:
        """Submits too many that no status tells of."""
        return sum(
            max(0, count - 1 - self.statuses.get(number, {}).get("resent", 0)) for number, count in self.submits.items()
        )

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        resumed = self.node_resumed is not None and self.database_resumed is not None
        return resumed and bool(self.ids) and not self.lost and not self.in_silence and not self.wrong


def run(messages: int = MESSAGES) -> int:
    """Runs the demonstration to its end; 0 when nothing was lost and nothing doubled in silence. Raises ChappeError."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="chappe-cluster-", ignore_cleanup_errors=True) as folder:
        try:
            ledger = asyncio.run(_run(Path(folder), messages, console))
        except (asyncio.CancelledError, KeyboardInterrupt):
            console.print("\nStopped: everything that was started is gone.")
            return 143
    _print(console, ledger)
    return 0 if ledger.kept else 1


async def _run(folder: Path, messages: int, console: Console) -> Ledger:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(4 * CLIENTS))
    main = asyncio.current_task()
    assert main is not None  # noqa: S101 - asyncio.run made one
    loop.add_signal_handler(signal.SIGTERM, main.cancel)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=None)
        cluster = Cluster(
            folder,
            mood=MOOD,
            settings=SETTINGS,
            report=lambda step: progress.update(bar, description=step),
        )
        async with cluster:
            names = " and ".join(server.name for server in cluster.postgres.standbys)
            console.print(
                f"The database's primary is [bold]{cluster.postgres.primary.name}[/]; one of {names} confirms each "
                f"commit. {len(cluster.nodes)} nodes behind {cluster.base_url}, one simulated operator.",
                highlight=False,
            )
            return await _Story(cluster, console, progress, bar, messages).tell()


class _Story:
    """The client, and what happens to the cluster meanwhile."""

    def __init__(self, cluster: Cluster, console: Console, progress: Progress, bar: TaskID, messages: int) -> None:
        self._cluster = cluster
        self._console = console
        self._progress = progress
        self._bar = bar
        self._messages = messages
        self._ledger = Ledger()
        self._number = 0
        self._directing = True
        self._last_accepted_from = 0.0
        """When the request was begun that was accepted last."""

    async def tell(self) -> Ledger:
        self._progress.update(self._bar, description="sending", total=self._messages, completed=0)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._direct())
            for _ in range(CLIENTS):
                group.create_task(self._send())
        await self._follow()
        submitted = self._cluster.operator.ledger or ()
        self._ledger.submits = Counter(
            f"+{submit.pdu.destination_addr.decode()}" for submit in submitted if submit.message_id is not None
        )
        return self._ledger

    # --- the client ---

    async def _send(self) -> None:
        while self._directing or self._number < self._messages:
            number = f"+3361{self._number:07}"
            self._number += 1
            began = time.monotonic()
            while (id_ := await self._try(number)) is None:
                await asyncio.sleep(AGAIN_SECONDS)
                began = time.monotonic()
            self._ledger.ids[number] = id_
            self._last_accepted_from = max(self._last_accepted_from, began)
            accepted = len(self._ledger.ids)
            self._progress.update(self._bar, completed=accepted, total=max(self._messages, accepted))
            await asyncio.sleep(max(0.0, began + CLIENTS / RATE - time.monotonic()))

    async def _try(self, number: str) -> str | None:
        """The message's id once it is accepted."""
        body = {"number": number, "message": "Votre code est 4711.", "category": "otp"}
        path = "/v2/notification/messages/send"
        try:
            answer = await asyncio.to_thread(
                call, self._cluster.base_url, self._cluster.key, "POST", path, body, idempotency_key=number
            )
        except Unreachable:
            self._ledger.unanswered += 1
        except Declined as error:
            if error.status == UNAVAILABLE:
                self._ledger.refused += 1
            elif error.status != STILL_RUNNING:
                self._ledger.wrong.append(f"HTTP {error.status}: {error}")
        else:
            return str(answer["snapshotId"])
        return None

    async def _follow(self) -> None:
        """Until every message has ended, or time is up."""
        ledger, end = self._ledger, time.monotonic() + END_SECONDS
        self._progress.update(self._bar, description="waiting for final states", completed=0)
        while True:
            await asyncio.gather(*(self._ask(number) for number in ledger.lost))
            self._progress.update(self._bar, completed=len(ledger.ids) - len(ledger.lost))
            if not ledger.lost or time.monotonic() > end:
                return
            await asyncio.sleep(1)

    async def _ask(self, number: str) -> None:
        path = f"/v2/messages/status?snapshotId={self._ledger.ids[number]}"
        with suppress(Unreachable):  # it is asked again
            status: Answer = await asyncio.to_thread(call, self._cluster.base_url, self._cluster.key, "GET", path)
            self._ledger.statuses[number] = status

    # --- what goes wrong ---

    async def _direct(self) -> None:
        """Ends well or not; the client then stops in either case."""
        try:
            await self._accepted(self._messages // 4)
            await self._kill_node()
            await self._accepted(len(self._ledger.ids) + self._messages // 10)
            await self._kill_primary()
        finally:
            self._directing = False

    async def _kill_node(self) -> None:
        node = await self._cluster.holder()
        if node is None:
            raise ChappeError("no node speaks to the operator")
        counts = self._cluster.operator.counts
        binds = counts["binds"]
        node.kill()
        killed = time.monotonic()
        self._console.print(f"[red]kill -9[/] of [bold]{node.name}[/], the node that speaks to the operator")
        if await self._until(lambda: counts["binds"] > binds, killed):
            submits = counts["submits"]
            if await self._until(lambda: counts["submits"] > submits, killed):
                self._ledger.node_resumed = time.monotonic() - killed
        self._say_resumed("another node has taken the operator over", self._ledger.node_resumed)

    async def _kill_primary(self) -> None:
        postgres = self._cluster.postgres
        dead = await asyncio.to_thread(postgres.crash_primary)
        killed = time.monotonic()
        self._console.print(f"[red]immediate stop[/] of [bold]{dead.name}[/], the primary of the database")
        primary = await asyncio.to_thread(postgres.promote)
        self._console.print(f"{primary.name} is promoted")
        if await self._until(lambda: self._last_accepted_from > killed, killed):
            self._ledger.database_resumed = time.monotonic() - killed
        self._say_resumed("messages are accepted again", self._ledger.database_resumed)
        await asyncio.to_thread(postgres.rejoin, dead)
        self._console.print(f"{dead.name} is a standby now")

    def _say_resumed(self, what: str, seconds: float | None) -> None:
        if seconds is None:
            self._console.print(f"[red]NOT {what} within {RESUME_SECONDS:.0f} s[/]")
        else:
            self._console.print(f"[green]{what}[/] after {seconds:.1f} s")

    async def _accepted(self, count: int) -> None:
        if not await self._until(lambda: len(self._ledger.ids) >= count, time.monotonic()):
            raise ChappeError("messages are not accepted any more")

    async def _until(self, reached: Callable[[], bool], since: float) -> bool:
        while not reached():
            if time.monotonic() > since + RESUME_SECONDS:
                return False
            await asyncio.sleep(0.01)
        return True


def _print(console: Console, ledger: Ledger) -> None:
    table = Table(title="The ledger", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("count", justify="right")
    states = ledger.states
    rows: list[tuple[str, object]] = [
        ("accepted (answered 200)", len(ledger.ids)),
        ("delivered", states["delivered"]),
        *((state, count) for state, count in sorted(states.items()) if state != "delivered"),
        ("lost", len(ledger.lost)),
        ("submits that the operator took", ledger.submits.total()),
        ("sent again because it was in doubt, and flagged", ledger.flagged),
        ("of these really doubled", ledger.doubled),
        ("doubled in silence", ledger.in_silence),
        ("503 while the database was away, sent again by the client", ledger.refused),
        ("unanswered, sent again with the same key", ledger.unanswered),
        ("any other error", len(ledger.wrong)),
        ("operator taken over by another node after", _seconds(ledger.node_resumed)),
        ("accepting again after the primary's death", _seconds(ledger.database_resumed)),
    ]
    for what, count in rows:
        table.add_row(what, str(count))
    console.print(table)
    for problem in ledger.wrong[:10]:
        console.print(f"[red]{problem}[/]")
    console.print("[green]Every promise was kept.[/]" if ledger.kept else "[red]A promise was broken.[/]")


def _seconds(duration: float | None) -> str:
    return "never" if duration is None else f"{duration:.1f} s"
