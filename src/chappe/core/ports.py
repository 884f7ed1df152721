"""The store as the journey sees it, in domain words; each engine implements it and runs the contract suite.

Every call that changes something is durable when it returns. Calls may raise `StoreUnavailable` (disk full,
database locked or gone): then nothing of that call was stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from chappe.core.campaigns import Campaign, CampaignId, Draft, SendOrder, Taken, Wave, Wish
from chappe.core.contacts import Batch, Column
from chappe.core.counts import Counts, Scope
from chappe.core.credits import Booking, Credits, LedgerEntry
from chappe.core.customers import Serving
from chappe.core.deliveries import Lately
from chappe.core.figures import Figures
from chappe.core.lifecycle import Journey
from chappe.core.limits import Bucket, Drawn, Limits
from chappe.core.lists import (
    Contact,
    ContactId,
    ContactList,
    FieldId,
    ListField,
    ListId,
    Operation,
    OperationId,
    OperationState,
    Refusal,
)
from chappe.core.message import (
    Accepted,
    Account,
    AccountId,
    AttemptKey,
    Ban,
    Banned,
    Cancellation,
    Event,
    Gone,
    Holder,
    Inbound,
    InDoubtPolicy,
    Key,
    LinkClicks,
    LoggedFact,
    Message,
    MessageId,
    NotAccepted,
    Question,
    Reply,
    Report,
    SendMessage,
    Settings,
    Submission,
)
from chappe.core.orphans import LearntForm, Orphan, Search
from chappe.core.personalise import FieldType
from chappe.core.routing import Portion
from chappe.core.rules import Entry, Listing
from chappe.core.shifting import Shift
from chappe.core.steering import Shown, Steered, StoredConnector, Told
from chappe.core.webhooks import Notifying, Telling


class Keys(Protocol):
    """Accounts and their API keys."""

    async def open_account(self, name: str, now: int) -> Account:
        """Finds the account of this name, or creates it."""
        ...

    async def find_account(self, name: str) -> Account | None: ...

    async def save_settings(self, account: AccountId, settings: Settings) -> None: ...

    async def create_key(self, account: AccountId, digest: bytes, hint: str, *, test: bool, now: int) -> Key:
        """Stores a key by the SHA-256 of its 32 hex characters."""
        ...

    async def list_keys(self) -> list[Key]: ...

    async def revoke_key(self, key: int, now: int) -> bool:
        """False when there is no such live key. Seen by every reader at its next `find_key`."""
        ...

    async def find_key(self, digest: bytes) -> Key | None:
        """The live key with this digest; a revoked one is None."""
        ...


class Sending(Protocol):
    """From accept to settle."""

    async def accept(self, send: SendMessage) -> Accepted | NotAccepted:
        """Stores a message, queues its parts and makes it the number's latest.

        Inside the same transaction: an idempotency key seen within 7 days gives its first answer
        (`repeated`) or, with another digest, NotAccepted(1006); a number on a list gives NotAccepted 12, 13
        or 14 (`rules.barred`); what the account's limits or credits do not allow 90, 76 or 71 (`credits.Allowances`).
        Concurrent calls share one commit.
        """
        ...

    async def open_connector(self, connector: str, now: int) -> int:
        """Takes the connector from whoever holds it: returns the new epoch, after every attempt that an earlier epoch
        left PENDING has become a DoubtBegan fact (cause `restart`)."""
        ...

    async def claim(
        self, connector: str, epoch: int, portions: Sequence[Portion], limit: int, now: int
    ) -> list[Submission]:
        """Takes up to `limit` due parts off the queue, of what the connector may take of each route, notification of
        all routes before marketing, each one committed as an attempt (the intent). A part whose recipient opted out
        since is settled as Barred instead, one whose validity is over as TimedOut("expired"). Live marketing that meets
        closed hours (`hours.release`, by its account's settings) is queued again for the next open ones: the message is
        Held, and its validity begins anew with them. A stale epoch claims nothing."""
        ...

    async def release(self, keys: Sequence[AttemptKey], now: int) -> None:
        """Undoes claims whose bytes are known not to have left: attempt deleted, part queued again."""
        ...

    async def cancel(self, account: AccountId, message: MessageId, now: int) -> Cancellation:
        """Takes back a message of which nothing has left (`lifecycle.is_cancellable`)."""
        ...

    async def settle(self, reports: Sequence[Report], now: int) -> list[Event]:
        """Matches, folds and saves in one write transaction; one read and one update per message.

        A receipt is matched by (connector, carrier id) — the newest attempt within 7 days, as received
        first, then by `receipts.id_forms` if the number agrees —, else by its reference among the in-doubt
        attempts of that connector with the same number when exactly one fits, else parked for 7 days and
        matched in the transaction that learns the id or the doubt. Returns the public states reached.
        """
        ...

    async def sweep(self, now: int, limit: int) -> tuple[int, list[Event]]:
        """Applies `lifecycle.overdue` to up to `limit` messages whose wake_at has come and re-arms them;
        joins incomplete replies older than 10 minutes; drops parked receipts, carrier ids and idempotency
        answers older than 7 days; rolls counters up. Returns how many messages it looked at, and the states reached."""
        ...

    async def next_due(self, route: str) -> int | None:
        """When the earliest queued part of the route is due."""
        ...

    async def list_routes(self) -> list[str]:
        """All on which something is queued, those of paused campaigns too."""
        ...

    async def count_pending(self) -> Mapping[str, int]:
        """`queued` parts, `pending` attempts, `in_doubt` attempts, `parked` receipts: for /ready, the end of
        a drain, and the demo."""
        ...


class Leasing(Protocol):
    """Which node speaks to which operator. Times are the store's own: the nodes' clocks need not agree."""

    async def beat(self, holder: Holder, lease_ms: int, now: int) -> int:
        """Says that this node lives; returns how many have said so within `lease_ms`.

        What the holder of a connector left PENDING becomes doubts (cause `restart`) when the connector has been free
        for `lease_ms`, whether or not anybody takes it.
        """
        ...

    async def lease(self, connector: str, holder: Holder, lease_ms: int, now: int) -> int | None:
        """Takes the connector, or keeps it, for `lease_ms` from now: its epoch; None while another node holds it.

        Taking is `open_connector`: a new epoch, and doubts. A node that has started again takes at once what it held.
        """
        ...

    async def give_back(self, connector: str, holder: Holder) -> None:
        """Ends the lease, if this holder still has it."""
        ...


class Asking(Protocol):
    """Submits whose receipts have not come in time, in the order of their answers. Turns are numbered by whoever asks,
    and each goes through them once."""

    async def list_unreceipted(
        self, connector: str, turn: int, *, since: int, until: int, limit: int
    ) -> tuple[list[Question], int]:
        """Of the next `limit` submits through any connector that were answered until `until`, those of this connector
        that were answered after `since`, have no verdict and whose message is still undecided; and how far this looked,
        for `mark_asked`."""
        ...

    async def mark_asked(self, connector: str, turn: int, through: int) -> None:
        """The turn has come so far."""
        ...


class Holding(Protocol):
    """Whether anything leaves at all: a restored system waits until somebody has looked at it."""

    async def hold(self, on: bool, now: int) -> None:
        """On: no node claims anything more, and `next_due` knows of nothing. What was claimed before still leaves."""
        ...

    async def held_since(self) -> int | None: ...

    async def doubt_queued(self, route: str, limit: int, now: int) -> int:
        """Takes up to `limit` due parts off the route's queue, held or not, because they may have left after the backup
        that was restored: each becomes a DoubtBegan fact (cause `restore`), unless `claim` would not let it leave.
        Returns how many it took."""
        ...


class Steering(Protocol):
    """Connectors while servers run: what they are told, and what they show."""

    async def tell_connector(self, connector: str, told: Told, now: int) -> None:
        """What it is told already keeps its time."""
        ...

    async def list_steered(self) -> Sequence[Steered]:
        """Those that were ever told something, by name."""
        ...

    async def show(self, node: str, figures: Mapping[str, Figures], now: int) -> None:
        """What a node's connectors do at the moment, in the place of all that it showed before."""
        ...

    async def shift(self, shift: Shift, last: int | None) -> bool:
        """Stores a move of a route's weights, if the route's last one is still that of the time `last` (None: there was
        none): of nodes that decide at the same moment one does. Drops moves that are older than `SHIFTS_KEPT_MS`."""
        ...

    async def list_shifts(self, route: str, limit: int) -> list[Shift]:
        """The last ones, the newest first."""
        ...

    async def measure(self, now: int) -> Mapping[str, Lately]:
        """What came of the submits of each connector whose answers and receipts this store has settled lately."""
        ...

    async def list_shown(self) -> Sequence[Shown]:
        """By name; see `steering.fresh`."""
        ...

    async def count_waiting(self, route: str, now: int) -> int:
        """How many parts of the route are due, up to `steering.MOST_COUNTED`."""
        ...


class Connecting(Protocol):
    """Operators added by command, beside those of the settings file. Their settings hold passwords."""

    async def list_connectors(self) -> Sequence[StoredConnector]:
        """By name, with those that were removed."""
        ...

    async def put_connector(self, name: str, settings: Mapping[str, object], *, replaces: int, now: int) -> bool:
        """Stores one in the place of this revision; 0: of none, or of one that was removed. False if another is there.

        What a namesake was told that was removed (`Steering`) is forgotten.
        """
        ...

    async def remove_connector(self, name: str, now: int) -> bool:
        """Forgets its settings and keeps its name; whoever has it ends it. False if it is not there."""
        ...

    async def end_connector(self, name: str, now: int) -> None:
        """A removed one has ended: no node has it any more. One that was put again meanwhile stays as it is."""
        ...


class Engaging(Protocol):
    """What the recipient does."""

    async def receive(self, inbound: Sequence[Inbound], now: int) -> list[Reply]:
        """Stores incoming messages and parts; returns the replies that became whole.

        A whole one is recognised (`replies.recognise`), tied to the newest message handed over to that
        person through that connector (of the account that last wrote to that person), and advances it by
        Replied or Stopped; STOP also enters the account's opt-out list, live or test scope as the message, for its
        sender only if the account says so, and bars what waits for that person; START leaves the list.
        A reply that answers nothing is kept with account None.
        """
        ...

    async def open_link(self, token: str, *, human: bool, now: int) -> str | Gone | None:
        """Counts the click and returns the destination; the first human one advances the message. None: there is no
        such link. What is gone is not counted."""
        ...


class Linking(Protocol):
    """Tracked links as their account sees them, and the kill switch."""

    async def list_links(self, account: AccountId, message: MessageId) -> list[LinkClicks]: ...

    async def ban_links(self, what: Banned, name: str, now: int) -> None:
        """From now on they lead nowhere, on every node, those that are still to be made too."""
        ...

    async def allow_links(self, what: Banned, name: str) -> bool:
        """Takes the ban back; False when there is none."""
        ...

    async def list_bans(self) -> list[Ban]: ...


class Reading(Protocol):
    """Point reads, at most two rows deep however large the tables are. Every one names its account."""

    def read_together(self) -> None:
        """What is looked up before the loop's next turn may be seen as it is at one moment from now on.

        For whoever has just read a request from its connection: what had been committed when the request was sent, by
        whomever, is seen.
        """
        ...

    async def find_message(self, account: AccountId, message: MessageId) -> Message | None: ...

    async def find_latest(self, account: AccountId, number: str) -> Message | None:
        """The account's most recently accepted message to this number."""
        ...

    async def find_journey(self, account: AccountId, message: MessageId) -> Journey | None: ...

    async def find_reply(self, account: AccountId, message: MessageId) -> Reply | None:
        """The first reply to this message that is not STOP."""
        ...


class Blacklists(Protocol):
    """Opt-outs, bounces and replies, each account's own, in test traffic or in live traffic."""

    async def add_entry(self, account: AccountId, listing: Listing, number: str, *, test: bool, now: int) -> int:
        """Puts the number on the list as the account's own wish, and returns the entry's id; an entry that is there
        already keeps its id. Once it returns nothing new leaves for a number that was opted out."""
        ...

    async def import_opt_outs(
        self, account: AccountId, opt_outs: Sequence[tuple[str, str | None, int]], *, test: bool
    ) -> int:
        """Likewise, many at once: (number, the one sender it is about, since when). What is there already stays as it
        is; returns how many were not."""
        ...

    async def remove_entry(self, account: AccountId, listing: Listing, entry: int | str, *, test: bool) -> bool:
        """By the entry's id; or by its number, with those of its single senders. False when there is none."""
        ...

    async def list_entries(
        self, account: AccountId, listing: Listing, *, test: bool, category: str | None, after: int, limit: int
    ) -> list[Entry]:
        """The first ones behind the id `after`; with `category` those that its messages made."""
        ...

    async def list_replies(
        self, account: AccountId, *, test: bool, category: str | None, after: int, limit: int
    ) -> list[Reply]:
        """Likewise, without those that are STOP."""
        ...


class Campaigns(Protocol):
    """One text to a list. Every call names its account."""

    async def create_campaign(self, draft: Draft) -> CampaignId: ...

    async def find_campaign(self, account: AccountId, campaign: CampaignId, *, test: bool) -> Campaign | None: ...

    async def list_campaigns(self, account: AccountId, *, test: bool, before: int, limit: int) -> list[Campaign]:
        """The newest first, below the id `before`."""
        ...

    async def change_campaign(
        self, account: AccountId, campaign: CampaignId, wish: Wish, now: int, *, order: SendOrder | None = None
    ) -> tuple[Campaign | None, bool]:
        """The campaign as it is now, None when there is none, and whether the wish was granted (`TRANSITIONS`).

        Once a pause or a cancellation returns, no claim lets a message leave of which nothing has left.
        """
        ...

    async def delete_campaign(self, account: AccountId, campaign: CampaignId, now: int) -> bool | None:
        """False when it cannot be deleted as it is, None when there is none."""
        ...

    async def due_campaigns(self, now: int, limit: int) -> list[tuple[CampaignId, AccountId]]:
        """Those that a node has something to do for."""
        ...

    async def take_campaign(
        self, account: AccountId, campaign: CampaignId, holder: str, lease_ms: int, now: int
    ) -> Taken | None:
        """Leases it to one node; None while another has it, or when there is nothing to do any more."""
        ...

    async def expand(self, wave: Wave) -> Campaign | None:
        """Stores the messages of a wave as `accept` does, and in the same transaction how far the campaign has come.

        None, and nothing is stored, when the campaign is not being sent any more or has come further already.
        """
        ...

    async def unshelve(self, account: AccountId, campaign: CampaignId, limit: int) -> int:
        """Puts up to `limit` parts back on the queue that were taken out of the way while the campaign was paused."""
        ...

    async def finish_campaign(self, account: AccountId, campaign: CampaignId, now: int) -> bool:
        """Its last message has left or ended."""
        ...

    async def cancel_messages(self, account: AccountId, campaign: CampaignId, limit: int, now: int) -> int:
        """Takes back those of the next `limit` messages of a cancelled campaign of which nothing has left; returns at
        how many it looked."""
        ...

    async def find_barred(self, sends: Sequence[SendMessage]) -> list[int | None]:
        """Why `accept` would refuse each of them now because of the lists (12, 13, 14), in their order."""
        ...

    async def list_campaign_entries(
        self, account: AccountId, listing: Listing, campaign: CampaignId, *, test: bool, after: int, limit: int
    ) -> list[Entry]:
        """Opt-outs or bounces that its messages made, behind the id `after`."""
        ...

    async def list_campaign_replies(
        self, account: AccountId, campaign: CampaignId, *, test: bool, after: int, limit: int
    ) -> list[Reply]:
        """What was answered to its messages, without STOPs."""
        ...


class Searching(Protocol):
    """Many messages at once, or everything about one. Every call names its account."""

    async def find_messages(self, account: AccountId, messages: Sequence[MessageId]) -> list[Message | None]:
        """In the order asked."""
        ...

    async def find_latest_of(self, account: AccountId, numbers: Sequence[str]) -> list[Message | None]:
        """The most recently accepted message to each number, in the order asked."""
        ...

    async def list_messages(
        self, account: AccountId, *, test: bool, before: MessageId | None, limit: int
    ) -> list[Message]:
        """The newest first, below the id `before`."""
        ...

    async def list_messages_to(
        self, account: AccountId, number: str, *, before: MessageId | None, limit: int
    ) -> list[Message]:
        """Those to one number, test and live traffic; likewise."""
        ...

    async def list_facts(self, account: AccountId, message: MessageId) -> list[LoggedFact]:
        """All that was ever learnt, in its order, what changed nothing too."""
        ...

    async def find_answer(self, account: AccountId, key: str, now: int) -> tuple[bytes, Accepted] | None:
        """What was answered to a send with this idempotency key, and the digest of its body."""
        ...


class Allowing(Protocol):
    """What accounts may still send: credits, and limits. Every call names its account, or its key.

    A balance is always the sum of the account's ledger, and of what its messages gave back since the last sweep.
    """

    async def read_credits(self, account: AccountId) -> Credits | None:
        """None when it has none, and sends as much as it likes."""
        ...

    async def change_credits(self, account: AccountId, what: Booking, amount: int, note: str, now: int) -> int:
        """Books an amount, which may be negative, and returns the balance; the account has credits from now on."""
        ...

    async def stop_credits(self, account: AccountId) -> None:
        """It sends as much as it likes again. Its balance stays, and still gets back what its messages held."""
        ...

    async def set_alert(self, account: AccountId, below: int | None) -> None:
        """A line in the log tells when its balance falls below this."""
        ...

    async def list_ledger(self, account: AccountId, *, before: int | None, limit: int) -> list[LedgerEntry]:
        """The newest first, below the id `before`."""
        ...

    async def save_limits(self, account: AccountId, limits: Limits) -> None:
        """Seen by every reader at its next `find_key`."""
        ...

    async def draw_tokens(self, key: int, bucket: Bucket, wanted: int, now: int) -> Drawn:
        """Takes up to `wanted` tokens out of the key's bucket, which all nodes share; by the store's own clock."""
        ...


class Counting(Protocol):
    """Counters that equal the rows they count, in test traffic and in live traffic, at a cost that does not grow."""

    async def read_counts(
        self, account: AccountId, *, test: bool, scope: Scope = Scope.ACCOUNT, name: str = ""
    ) -> Counts:
        """Each of `Count`: of the account, or of one of its categories or campaigns; zeros where there is nothing."""
        ...

    async def list_counts(self, account: AccountId, *, test: bool) -> Mapping[str, Counts]:
        """Those of each category that there was, by its name; the empty one is of what has none."""
        ...


class Contacts(Protocol):
    """Lists, their fields and contacts, and imports. NotAccepted 60 says that the account has no such list."""

    async def create_list(self, account: AccountId, name: str, now: int) -> ListId: ...

    async def list_lists(self, account: AccountId, *, after: int, limit: int) -> list[ContactList]:
        """The first ones behind the id `after`."""
        ...

    async def find_list(self, account: AccountId, list_: ListId) -> ContactList | None: ...

    async def delete_list(self, account: AccountId, list_: ListId) -> bool:
        """With all it has; False when there is none. Gone at once for every reader, however large it was: the contacts
        are removed bit by bit by `sweep`."""
        ...

    async def empty_list(self, account: AccountId, list_: ListId) -> bool:
        """Likewise; its fields stay."""
        ...

    async def add_field(
        self, account: AccountId, list_: ListId, name: str, type_: FieldType, format_: str | None
    ) -> FieldId | NotAccepted:
        """NotAccepted 1001 when the list has a field of this name (`name_key`), 17 when it has MAX_FIELDS."""
        ...

    async def list_fields(self, account: AccountId, list_: ListId, last: ListId | None = None) -> list[ListField]:
        """Of one list, in the order they were made; or of all lists up to the id `last`, list by list."""
        ...

    async def remove_field(self, account: AccountId, list_: ListId, field: FieldId) -> bool:
        """With the values that contacts have for it."""
        ...

    async def add_contact(
        self, account: AccountId, list_: ListId, number: str, values: Mapping[FieldId, str]
    ) -> ContactId | NotAccepted:
        """NotAccepted 15 when the number is on the list."""
        ...

    async def find_contact(self, account: AccountId, list_: ListId, number: str) -> Contact | None: ...

    async def read_contacts(self, account: AccountId, list_: ListId, *, after: int, limit: int) -> list[Contact]:
        """The first ones behind the id `after`, in the order of ids, which is that in which they were added."""
        ...

    async def count_contacts(self, account: AccountId, list_: ListId) -> int:
        """Exact, and a point read; 0 where there is no list."""
        ...

    async def remove_contact(self, account: AccountId, list_: ListId, contact: ContactId | str) -> bool:
        """By the contact's id, or by its number. False when there is none."""
        ...

    async def begin_import(
        self, account: AccountId, list_: ListId, columns: Sequence[Column], total: int | None, now: int
    ) -> tuple[Operation, list[FieldId]] | NotAccepted:
        """A running operation, and the field of each column: made where the list has none of this name.

        NotAccepted 17 when the list would have more than MAX_FIELDS.
        """
        ...

    async def import_contacts(
        self, account: AccountId, operation: OperationId, fields: Sequence[FieldId], batch: Batch, done: int, now: int
    ) -> Operation | None:
        """Stores a batch whole or not at all, `done` octets or rows further; its values are in the order of `fields`.

        A number that is there gets the values that are not empty and keeps its others. Of refused rows the first
        REFUSED_KEPT are kept. None when the operation runs no more, or the list is gone.
        """
        ...

    async def end_import(
        self, account: AccountId, operation: OperationId, state: OperationState, now: int
    ) -> Operation | None:
        """As it ended, now or before; None when there is no such operation. One that has not got further for
        OPERATION_LOST_MS is ended by `sweep`, as INTERRUPTED."""
        ...

    async def find_operation(self, account: AccountId, operation: OperationId) -> Operation | None:
        """Kept for OPERATIONS_KEPT_MS."""
        ...

    async def list_refused(
        self, account: AccountId, operation: OperationId, *, after: int, limit: int
    ) -> list[Refusal]: ...


class Orphans(Protocol):
    """Receipts that matched nothing: they stay parked for 7 days, and whatever learns of them takes them from here."""

    async def list_orphans(self, search: Search, now: int) -> list[Orphan]:
        """The oldest first: each with the attempt that it can be matched with now, or why there is none.

        Believed are the id as it is, the id in the search's form (or the one that was learnt) unless the number
        differs, and if the search says so the one submit to the number that waits for a receipt.
        """
        ...

    async def repair_orphans(self, search: Search, now: int) -> tuple[list[Orphan], list[Event]]:
        """The same, and settles those that have a match as if they had just come, with their own times; what matched
        is known by that id from now on. With it the public states reached."""
        ...

    async def list_forms(self) -> list[LearntForm]:
        """How receipts of each connector wrote ids otherwise than its answers, the usual way first."""
        ...


class Store(
    Keys,
    Sending,
    Leasing,
    Asking,
    Holding,
    Steering,
    Connecting,
    Engaging,
    Linking,
    Reading,
    Blacklists,
    Searching,
    Allowing,
    Counting,
    Contacts,
    Campaigns,
    Orphans,
    Serving,
    Notifying,
    Telling,
    Protocol,
):
    """Everything. `doubt_lasts_ms` is how long each in-doubt policy waits (lifecycle.DOUBT_LASTS_MS)."""

    doubt_lasts_ms: Mapping[InDoubtPolicy, int | None]

    async def listen(self, callback: Callable[[str], None]) -> None:
        """Calls back with a route when another node has queued something on it; calls may be lost, a poll finds it."""
        ...

    async def close(self) -> None: ...
