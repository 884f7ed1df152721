"""Connections to PostgreSQL: which server, with which settings, and what their errors mean.

asyncpg tries the hosts of a URL in turn under one time limit, so a host that is off, and answers nothing at all, would
use it up each time. Here each host has its own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg  # type: ignore[import-untyped]  # it brings no types: Connection says what is used

from chappe.core.errors import StoreUnavailable

CONNECT_SECONDS = 2.0
"""For each host."""

SETTINGS = {
    "application_name": "chappe",
    "default_transaction_isolation": "read committed",
    # Every statement is some point reads by index, and its plan is made once. The planner, who does not see how many
    # rows the arrays have, must not read a whole table because it was small when the plan was made.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    # Less than a worker waits for its statements, so that the server speaks first.
    "lock_timeout": "4s",
    # A node that was stopped in the middle of a transaction holds its rows for less than its leases last, so that
    # whoever takes over does not wait for them besides.
    "idle_in_transaction_session_timeout": "5s",
}

OUTAGES = (
    OSError,  # TimeoutError too
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # the connection is closed
    asyncpg.InternalClientError,  # good-bye to a connection that asked nothing; all hosts that answer are standbys
    asyncpg.OperatorInterventionError,  # shutdown, crash, starting up
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,  # a primary that became a standby
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,  # no such database
)
"""What says that the database is away or cannot take anything now, not that a job is wrong; but see `is_outage`."""

ENTANGLED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Two transactions got in each other's way, and this one gave in: it may be run again at once."""


def is_outage(error: BaseException) -> bool:
    # asyncpg's complaint about a parameter is an InterfaceError too: a ValueError beside it
    return isinstance(error, OUTAGES) and not isinstance(error, ValueError)


class Connection(Protocol):
    """What is used of asyncpg's connection."""

    async def execute(self, query: str) -> str: ...

    async def fetch(self, query: str, *values: object) -> list[tuple[Any, ...]]: ...

    async def fetchval(self, query: str) -> object: ...

    async def close(self, *, timeout: float) -> None: ...  # noqa: ASYNC109 - asyncpg's

    async def add_listener(self, channel: str, callback: Callable[[object, int, str, str], None]) -> None: ...

    async def copy_records_to_table(
        self, table: str, *, records: Sequence[Sequence[object]], columns: Sequence[str]
    ) -> str: ...

    def add_log_listener(self, callback: Callable[[object, Notice], None]) -> None: ...

    def add_termination_listener(self, callback: Callable[[object], None]) -> None: ...

    def terminate(self) -> None: ...

    def is_closed(self) -> bool: ...


class Notice(Protocol):
    """A message of the server that is no error."""

    @property
    def severity_en(self) -> str: ...

    @property
    def sqlstate(self) -> str: ...


class Servers:
    """One database, on one of the hosts of a URL: the one that takes writes, unless the URL asks for another."""

    def __init__(self, url: str) -> None:
        self._urls = split_hosts(url)

    def __str__(self) -> str:
        """Without the password."""
        parts = [urlsplit(url) for url in self._urls]
        return f"postgresql://{','.join(part.netloc.rpartition('@')[2] for part in parts)}{parts[0].path}"

    async def connect(self, **settings: str) -> Connection:
        """Opens a connection, with these settings beside the usual ones; raises StoreUnavailable.

        The host that answered last is tried first the next time.
        """
        reasons = []
        for url in self._urls:
            try:
                connection: Connection = await asyncpg.connect(
                    url,
                    timeout=CONNECT_SECONDS,
                    server_settings=SETTINGS | settings,
                    max_cached_statement_lifetime=0,
                )
            except OUTAGES as error:
                reasons.append(str(error) or type(error).__name__)
            else:
                self._urls = [url, *(other for other in self._urls if other != url)]
                return connection
        raise StoreUnavailable(f"cannot connect to {self}: {'; '.join(reasons)}")


_URL = re.compile(r"(postgres(?:ql)?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?")


def split_hosts(url: str) -> list[str]:
    """A URL for each host, each asking for a server that takes writes unless the URL asks for another sort."""
    # Not urlsplit: it refuses a list of hosts with an IPv6 address in it.
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("a database's address is postgresql://USER:PASSWORD@HOST/DATABASE")
    scheme, netloc, path, query = found.groups(default="")
    asked = {"target_session_attrs": "read-write"} | dict(parse_qsl(query, keep_blank_values=True))
    who, at, hosts = netloc.rpartition("@")
    return [urlunsplit((scheme, f"{who}{at}{host}", path, urlencode(asked), "")) for host in hosts.split(",")]


def columns_of(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    """The rows of a step as the parameters of its statement."""
    return [list(column) for column in zip(*rows, strict=True)]


async def close(connection: Connection | None) -> None:
    """Says good-bye; a server that does not answer is left."""
    if connection is not None and not connection.is_closed():
        try:
            await connection.close(timeout=CONNECT_SECONDS)
        except OUTAGES:
            connection.terminate()
        await asyncio.sleep(0)  # the transport closes in the loop's next turn
