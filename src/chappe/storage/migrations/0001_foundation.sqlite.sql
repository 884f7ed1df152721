-- The foundation. The large tables (message, attempt, fact) are reached only by a message's id; indexes in random
-- order (number, carrier id) grow with size and are kept few, narrow and on tables of their own.

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    blocked INTEGER NOT NULL DEFAULT 0,
    settings TEXT NOT NULL DEFAULT '{}',
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_key (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account,
    digest BLOB NOT NULL UNIQUE,
    test INTEGER NOT NULL,
    hint TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

-- Message ids: taken in blocks by the accepting transaction, never used twice even after retention.
CREATE TABLE sequence (
    name TEXT PRIMARY KEY,
    next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO sequence VALUES ('message', 1);

CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    number TEXT NOT NULL,
    family INTEGER NOT NULL,
    category TEXT,
    campaign TEXT,
    sender TEXT,
    text TEXT NOT NULL,
    parts INTEGER NOT NULL,
    test INTEGER NOT NULL,
    policy INTEGER NOT NULL,
    route TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    validity_ms INTEGER NOT NULL,
    previous INTEGER,
    delivery INTEGER NOT NULL DEFAULT 0,
    sent_at INTEGER,
    delivered_at INTEGER,
    bounced_at INTEGER,
    error_at INTEGER,
    opened_at INTEGER,
    reply_at INTEGER,
    unsubscribed_at INTEGER,
    cause TEXT,
    in_doubt INTEGER NOT NULL DEFAULT 0,
    resent INTEGER NOT NULL DEFAULT 0,
    facts INTEGER NOT NULL DEFAULT 0,
    events INTEGER NOT NULL DEFAULT 1,
    wake_at INTEGER
) STRICT;

-- Each account's own, in the order of their ids, so that a list of them is a walk along it.
CREATE INDEX message_account ON message (account, test, id);

-- Only undecided messages are in it, in the order of their deadlines.
CREATE INDEX message_wake ON message (wake_at) WHERE wake_at IS NOT NULL;

CREATE TABLE attempt (
    message INTEGER NOT NULL,
    part INTEGER NOT NULL,
    number INTEGER NOT NULL,
    connector TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    claimed_at INTEGER NOT NULL,
    reference INTEGER NOT NULL,
    flagged INTEGER NOT NULL DEFAULT 0,
    outcome INTEGER NOT NULL DEFAULT 0,
    treatment INTEGER,
    status INTEGER,
    carrier_id TEXT,
    answered_at INTEGER,
    verdict INTEGER,
    verdict_at INTEGER,
    PRIMARY KEY (message, part, number)
) STRICT, WITHOUT ROWID;

-- Intents without an answer (outcome 0 = PENDING): what a restart has to doubt.
CREATE INDEX attempt_pending ON attempt (connector) WHERE outcome = 0;

-- Doubts (outcome 2 = IN_DOUBT) by user_message_reference: what a receipt with an unknown id may settle.
CREATE INDEX attempt_in_doubt ON attempt (connector, reference) WHERE outcome = 2 AND verdict IS NULL;

-- Everything ever learnt about a message, ignored facts too; appended, never replayed.
CREATE TABLE fact (
    message INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    changed INTEGER NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (message, seq)
) STRICT, WITHOUT ROWID;

-- Number first: an incoming message looks up every account that wrote to its sender.
CREATE TABLE latest (
    number TEXT NOT NULL,
    account INTEGER NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (number, account)
) STRICT, WITHOUT ROWID;

-- Parts waiting to leave, at most once each; found by route, so that a failover rewrites nothing; class is the family.
CREATE TABLE queue (
    message INTEGER NOT NULL,
    part INTEGER NOT NULL,
    route TEXT NOT NULL,
    class INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    PRIMARY KEY (message, part)
) STRICT, WITHOUT ROWID;

CREATE INDEX queue_due ON queue (route, class, due_at);

-- Operators use ids again: the newest within 7 days is meant. In the order of arrival, so that the oldest go first.
CREATE TABLE carrier (
    id INTEGER PRIMARY KEY,
    connector TEXT NOT NULL,
    carrier_id TEXT NOT NULL,
    answered_at INTEGER NOT NULL,
    message INTEGER NOT NULL,
    part INTEGER NOT NULL,
    attempt INTEGER NOT NULL
) STRICT;

CREATE INDEX carrier_id ON carrier (connector, carrier_id);

-- Receipts that came before what they answer, or that answer nothing we know.
CREATE TABLE parked (
    id INTEGER PRIMARY KEY,
    connector TEXT NOT NULL,
    carrier_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    verdict INTEGER,
    detail TEXT NOT NULL,
    reference INTEGER,
    number TEXT,
    raw BLOB NOT NULL
) STRICT;

CREATE INDEX parked_carrier ON parked (connector, carrier_id);

CREATE INDEX parked_reference ON parked (connector, reference) WHERE reference IS NOT NULL;

CREATE TABLE idempotency (
    account INTEGER NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    message INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_age ON idempotency (created_at);

-- Opt-outs (listing 0) and bounces (listing 1), test traffic apart; number first, for code 14 asks about all accounts.
-- Category and campaign are those of the message that made the entry. An id is never used twice: it stands for one entry.
CREATE TABLE entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number TEXT NOT NULL,
    test INTEGER NOT NULL,
    listing INTEGER NOT NULL,
    account INTEGER NOT NULL,
    by_message INTEGER NOT NULL,
    message INTEGER,
    category TEXT,
    campaign TEXT,
    at INTEGER NOT NULL,
    UNIQUE (number, test, listing, account)
) STRICT;

CREATE INDEX entry_account ON entry (account, test, listing, id);

CREATE INDEX entry_category ON entry (account, test, listing, category, id) WHERE category IS NOT NULL;

CREATE TABLE link (
    token TEXT PRIMARY KEY,
    message INTEGER NOT NULL,
    url TEXT NOT NULL,
    clicks INTEGER NOT NULL DEFAULT 0,
    robot_clicks INTEGER NOT NULL DEFAULT 0,
    first_click_at INTEGER
) STRICT, WITHOUT ROWID;

-- Whole ones; test, category and campaign are those of the message that is answered.
CREATE TABLE reply (
    id INTEGER PRIMARY KEY,
    account INTEGER,
    number TEXT NOT NULL,
    recipient TEXT NOT NULL,
    text TEXT NOT NULL,
    keyword TEXT NOT NULL,
    at INTEGER NOT NULL,
    message INTEGER,
    complete INTEGER NOT NULL,
    connector TEXT NOT NULL,
    test INTEGER NOT NULL,
    category TEXT,
    campaign TEXT
) STRICT;

CREATE INDEX reply_account ON reply (account, test, id) WHERE account IS NOT NULL;

CREATE INDEX reply_category ON reply (account, test, category, id) WHERE category IS NOT NULL;

CREATE INDEX reply_message ON reply (message) WHERE message IS NOT NULL;

-- Parts of long replies; those of a joined one stay a while, because the operator may send one again.
CREATE TABLE reply_part (
    connector TEXT NOT NULL,
    number TEXT NOT NULL,
    recipient TEXT NOT NULL,
    reference INTEGER NOT NULL,
    total INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    octets BLOB NOT NULL,
    data_coding INTEGER NOT NULL,
    at INTEGER NOT NULL,
    joined_at INTEGER,
    PRIMARY KEY (connector, number, recipient, reference, total, sequence)
) STRICT, WITHOUT ROWID;

-- The epoch fences claims: each start takes the connector anew.
CREATE TABLE connector (
    name TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    node TEXT NOT NULL DEFAULT '',
    start TEXT NOT NULL DEFAULT '',
    held_until INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- What is so for the whole system, since when: `hold` (nothing is claimed).
CREATE TABLE flag (
    name TEXT PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who lives: nodes share the connectors among those seen of late.
CREATE TABLE node (
    name TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
