"""Many messages at once, or everything about one, for every engine.

Lists are read as ids, and those as single messages are, many at a time: PostgreSQL puts the look-ups of one turn into
one query, and SQLite runs a statement for many rows at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import get_args

import msgspec

from chappe.core.message import Accepted, AccountId, Fact, LoggedFact, Message, MessageId
from chappe.core.receipts import WEEK_MS
from chappe.storage.engine import NO_ID, Engine
from chappe.storage.steps import Row
from chappe.storage.work import message_of

AT_ONCE = 192
"""Look-ups after which others get their turn."""

FACTS: Mapping[str, type[Fact]] = {kind.__name__: kind for kind in get_args(Fact)}
"""By the name under which they are logged."""


def logged_fact_of(row: Row) -> LoggedFact:
    seq, changed, kind, data = row
    return LoggedFact(seq, bool(changed), msgspec.json.decode(data, type=FACTS[kind]))


class SearchCalls(Engine):
    """`Searching`."""

    async def find_messages(self, account: AccountId, messages: Sequence[MessageId]) -> list[Message | None]:
        found = {message.id: message for message in await self._find_all("find_message", account, messages)}
        return [found.get(id_) for id_ in messages]

    async def find_latest_of(self, account: AccountId, numbers: Sequence[str]) -> list[Message | None]:
        found = {message.number: message for message in await self._find_all("find_latest_message", account, numbers)}
        return [found.get(number) for number in numbers]

    async def list_messages(
        self, account: AccountId, *, test: bool, before: MessageId | None, limit: int
    ) -> list[Message]:
        ids = await self._look_up("list_ids", (account, test, NO_ID if before is None else before, limit))
        return await self._read_each(account, ids)

    async def list_messages_to(
        self, account: AccountId, number: str, *, before: MessageId | None, limit: int
    ) -> list[Message]:
        return await self._read_each(account, await self._look_up("list_ids_to", (number, account, before, limit)))

    async def list_facts(self, account: AccountId, message: MessageId) -> list[LoggedFact]:
        return [logged_fact_of(row) for row in await self._look_up("list_facts", (message, account))]

    async def find_answer(self, account: AccountId, key: str, now: int) -> tuple[bytes, Accepted] | None:
        row = await self._find("stored_answer", (account, key, now - WEEK_MS))
        if row is None:
            return None
        digest, message, parts = row
        return digest, Accepted(MessageId(message), parts, repeated=True)

    async def _read_each(self, account: AccountId, ids: Sequence[Row]) -> list[Message]:
        messages = await self.find_messages(account, [MessageId(id_) for (id_,) in ids])
        return [message for message in messages if message is not None]

    async def _find_all(self, statement: str, account: AccountId, keys: Sequence[str | int]) -> list[Message]:
        found: list[Message] = []
        for start in range(0, len(keys), AT_ONCE):
            wanted = [(key, account) for key in keys[start : start + AT_ONCE]]
            found += map(message_of, await self._look_up_all(statement, wanted))
            await asyncio.sleep(0)  # an engine may not have waited
        return found
