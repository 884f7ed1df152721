-- Credits and limits: what an account may still send.

-- What it was limited to by whoever runs the server, as JSON.
ALTER TABLE account ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';

-- The credits that it holds: taken when it was accepted, 0 once they were given back.
ALTER TABLE message ADD COLUMN charged INTEGER NOT NULL DEFAULT 0;

-- A row for each account that has credits or limits. The balance is that after the newest row of the ledger; `open_entry`
-- is that row while the sends of this hour and campaign may still be added to it. `used` counts parts of the day (UTC).
CREATE TABLE allowance (
    account INTEGER PRIMARY KEY,
    has_credits INTEGER NOT NULL DEFAULT 0,
    balance INTEGER NOT NULL DEFAULT 0,
    alert_below INTEGER,
    open_entry INTEGER,
    open_hour INTEGER NOT NULL DEFAULT 0,
    open_campaign TEXT NOT NULL DEFAULT '',
    day INTEGER NOT NULL DEFAULT 0,
    used INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The account's statement: each row's balance is that of the row before it and its own amount. Sends are booked together,
-- those of an hour in one row; `message` is the first of them.
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL,
    at INTEGER NOT NULL,
    what INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    message INTEGER,
    campaign TEXT NOT NULL,
    note TEXT NOT NULL,
    balance INTEGER NOT NULL
) STRICT;

CREATE INDEX ledger_account ON ledger (account, id);

-- Credits of messages that never left, given back but not booked yet: so that what a receipt or a sweep brings about
-- waits for nobody's balance.
CREATE TABLE refund (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    message INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX refund_account ON refund (account);

-- What was written of late to each number, for accounts that may not write to it often.
CREATE TABLE written (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    number TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT;

CREATE INDEX written_number ON written (account, number, until);

CREATE INDEX written_until ON written (until);

-- Buckets of the keys whose requests are counted by several nodes: when each will be full again, in nanoseconds.
CREATE TABLE bucket (
    key INTEGER PRIMARY KEY,
    full_at INTEGER NOT NULL
) STRICT;
