"""What the store's promises are told with: an account, two connectors, and ordinary values for everything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from chappe.core.lifecycle import Journey, public_state
from chappe.core.message import (
    Accepted,
    AccountId,
    Answered,
    AttemptReport,
    DoubtBegan,
    Event,
    Family,
    Inbound,
    InDoubtPolicy,
    Message,
    MessageId,
    NotAccepted,
    ReceiptReport,
    Refused,
    Reply,
    SendMessage,
    State,
    Submission,
    Treatment,
    Verdict,
)
from chappe.core.ports import Store
from chappe.core.routing import Portion

OpenStore: TypeAlias = Callable[[], Awaitable[Store]]
NewDatabase: TypeAlias = Callable[[], OpenStore]

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
VALIDITY = 48 * HOUR

NOW = 1_800_000_000_000
NUMBER = "+33612345678"
OTHER_NUMBER = "+33687654321"
MAGIC_NUMBER = "+33600000004"
SHORT_CODE = "36111"

CONNECTORS = {"live": "operator", "simulator": "simulator"}
"""The connector that each route uses here."""


def a_send(account: AccountId, **changes: Any) -> SendMessage:
    """A notification of one part, accepted now and due at once; `test=True` takes the simulator's route."""
    at = changes.get("accepted_at", NOW)
    ordinary = SendMessage(
        account=account,
        number=NUMBER,
        family=Family.NOTIFICATION,
        text="Bonjour",
        parts=1,
        route="simulator" if changes.get("test") else "live",
        test=False,
        policy=InDoubtPolicy.WAIT_THEN_RETRY,
        accepted_at=at,
        due_at=at,
        validity_ms=VALIDITY,
    )
    return replace(ordinary, **changes)


def a_receipt(carrier_id: str = "A1", verdict: Verdict | None = Verdict.DELIVERED, **changes: Any) -> ReceiptReport:
    """A receipt of the live operator that names its recipient and has no reference."""
    detail = "ENROUTE" if verdict is None else verdict.name
    ordinary = ReceiptReport("operator", carrier_id, NOW + 5 * SECOND, verdict, detail, None, NUMBER, b"id:")
    return replace(ordinary, **changes)


def an_inbound(text: str = "Merci", **changes: Any) -> Inbound:
    """A person writes to the short code, in one piece unless told otherwise."""
    ordinary = Inbound("operator", NUMBER, SHORT_CODE, NOW + MINUTE, text.encode("ascii"), 0)
    return replace(ordinary, **changes)


def answered(submission: Submission, carrier_id: str = "A1", at: int = NOW + SECOND) -> AttemptReport:
    message, part, attempt = submission.key
    return AttemptReport(message, Answered(part, attempt, at, carrier_id))


def refused(
    submission: Submission,
    treatment: Treatment,
    at: int = NOW + SECOND,
    *,
    status: int = 0x0B,
    uncertain: bool = False,
) -> AttemptReport:
    message, part, attempt = submission.key
    return AttemptReport(message, Refused(part, attempt, at, status, treatment, uncertain))


def doubted(submission: Submission, at: int = NOW + SECOND) -> AttemptReport:
    message, part, attempt = submission.key
    return AttemptReport(message, DoubtBegan(part, attempt, at, "link lost"))


def in_parts(reference: int, *texts: str, **changes: Any) -> list[Inbound]:
    """One long message of a person, cut as the network cuts it."""
    return [
        an_inbound(text, reference=reference, total=len(texts), sequence=sequence, **changes)
        for sequence, text in enumerate(texts, 1)
    ]


@dataclass(slots=True)
class Scene:
    """A store with one account and, for each route, one open connector; its verbs are the story's steps."""

    open_store: OpenStore
    store: Store
    account: AccountId
    epochs: dict[str, int]

    @classmethod
    async def begin(cls, open_store: OpenStore) -> Scene:
        store = await open_store()
        account = await store.open_account("acme", NOW - DAY)
        scene = cls(open_store, store, account.id, {})
        await scene.open_connectors(NOW - HOUR)
        return scene

    async def open_connectors(self, now: int) -> None:
        for connector in CONNECTORS.values():
            self.epochs[connector] = await self.store.open_connector(connector, now)

    async def restart(self) -> None:
        """Stops and starts the store; the connectors are not open again yet."""
        await self.store.close()
        self.store = await self.open_store()

    async def another_account(self, name: str = "rival") -> AccountId:
        return (await self.store.open_account(name, NOW - DAY)).id

    async def try_to_send(self, **changes: Any) -> Accepted | NotAccepted:
        return await self.store.accept(a_send(changes.pop("account", self.account), **changes))

    async def accept(self, **changes: Any) -> MessageId:
        outcome = await self.try_to_send(**changes)
        assert isinstance(outcome, Accepted)
        return outcome.id

    async def claim(self, limit: int = 100, *, route: str = "live", now: int = NOW) -> list[Submission]:
        connector = CONNECTORS[route]
        return await self.store.claim(connector, self.epochs[connector], [Portion(route)], limit, now)

    async def claim_one(self, *, route: str = "live", now: int = NOW) -> Submission:
        [submission] = await self.claim(route=route, now=now)
        return submission

    async def submit(self, *, now: int = NOW, **changes: Any) -> Submission:
        """Accepts a message of one part and claims it."""
        message = await self.accept(**changes)
        submission = await self.claim_one(route="simulator" if changes.get("test") else "live", now=now)
        assert submission.attempt.message == message
        return submission

    async def hand_over(self, carrier_id: str = "A1", *, now: int = NOW, **changes: Any) -> MessageId:
        """Accepts a message of one part, claims it, and the operator takes charge of it a second later."""
        submission = await self.submit(now=now, **changes)
        await self.store.settle([answered(submission, carrier_id, now + SECOND)], now + SECOND)
        return submission.attempt.message

    async def bounce(self, carrier_id: str = "B1", **changes: Any) -> MessageId:
        """Hands a message over, and its receipt says that the number is not assigned."""
        message = await self.hand_over(carrier_id, **changes)
        connector = CONNECTORS["simulator" if changes.get("test") else "live"]
        receipt = a_receipt(carrier_id, Verdict.NOT_ASSIGNED, connector=connector)
        await self.store.settle([receipt], NOW + 5 * SECOND)
        return message

    async def stop(self, number: str = NUMBER, *, connector: str = "operator", now: int = NOW + MINUTE) -> Reply:
        """The person answers STOP."""
        inbound = an_inbound("STOP", number=number, connector=connector, at=now)
        [reply] = await self.store.receive([inbound], now)
        return reply

    async def read(self, message: MessageId) -> Message:
        found = await self.store.find_message(self.account, message)
        assert found is not None
        return found

    async def journey(self, message: MessageId) -> Journey:
        found = await self.store.find_journey(self.account, message)
        assert found is not None
        return found

    async def state(self, message: MessageId) -> State:
        return public_state(await self.read(message))

    def events(self, message: MessageId, *reached: tuple[State, int]) -> list[Event]:
        """The events of this message that tell the given states and times."""
        return [Event(message, self.account, state, at) for state, at in reached]


def keys_of(submissions: Sequence[Submission]) -> list[tuple[MessageId, int, int]]:
    return [submission.key for submission in submissions]
