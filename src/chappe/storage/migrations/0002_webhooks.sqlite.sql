-- Webhooks: what happened, who wants to be told of it, and what is still to be told.

-- Every public state that a message reached, written by the transaction that reached it. With one writer the ids are
-- in the order of the commits: the feed's cursor. The newest row is never dropped, so that no id is used again.
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    message INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    state INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX event_account ON event (account);

-- Where an account wants its events posted. `states` is a set of bits; `secrets` are the live ones, newest first, with a
-- space between them. Ids are never used again: deliveries of a removed endpoint may still be there.
CREATE TABLE endpoint (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account,
    url TEXT NOT NULL,
    secrets TEXT NOT NULL,
    states INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    disabled_at INTEGER,
    failing_since INTEGER,
    word TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX endpoint_account ON endpoint (account);

-- One event to one endpoint. Fate 0 waits, 1 was taken, 2 is exhausted.
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    endpoint INTEGER NOT NULL,
    event INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    claimed_until INTEGER NOT NULL DEFAULT 0,
    ready_at INTEGER NOT NULL GENERATED ALWAYS AS (max(due_at, claimed_until)) STORED,
    tries INTEGER NOT NULL DEFAULT 0,
    fate INTEGER NOT NULL DEFAULT 0,
    word TEXT NOT NULL DEFAULT '',
    took_ms INTEGER,
    ended_at INTEGER
) STRICT;

-- Only what waits is in it, by endpoint: one with a million events hides nobody else's.
CREATE INDEX delivery_waiting ON delivery (endpoint, ready_at) WHERE fate = 0;

CREATE INDEX delivery_exhausted ON delivery (endpoint, made_at) WHERE fate = 2;

-- An event has a delivery for each living endpoint that wants it, as in `insert_event` on PostgreSQL.
CREATE TRIGGER event_for_endpoints AFTER INSERT ON event
BEGIN
    INSERT INTO delivery (endpoint, event, made_at, due_at)
    SELECT e.id, new.id, new.at, new.at
    FROM endpoint e
    WHERE e.account = new.account AND e.disabled_at IS NULL AND e.states & (1 << new.state) <> 0;
END;
