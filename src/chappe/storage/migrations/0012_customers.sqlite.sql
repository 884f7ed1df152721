-- Customers: applications that bind over SMPP, what they submitted, and what they are still to be told.

-- Ids are never used again: what is kept of a removed customer's submits may still be there.
CREATE TABLE customer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account,
    system_id TEXT NOT NULL UNIQUE,
    test INTEGER NOT NULL,
    family INTEGER NOT NULL,
    salt BLOB NOT NULL,
    digest BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX customer_account ON customer (account);

-- What a submit was answered with, and the message it is, or is a part of. Without one it waits for its other parts, or
-- `cause` says how it ended.
CREATE TABLE customer_submit (
    id INTEGER PRIMARY KEY,
    customer INTEGER NOT NULL,
    message INTEGER,
    asked INTEGER NOT NULL,
    source_ton INTEGER NOT NULL,
    source_npi INTEGER NOT NULL,
    source TEXT NOT NULL,
    destination_ton INTEGER NOT NULL,
    destination_npi INTEGER NOT NULL,
    destination TEXT NOT NULL,
    reference INTEGER,
    at INTEGER NOT NULL,
    cause TEXT
) STRICT;

-- In the order of the messages: appended.
CREATE INDEX customer_submit_message ON customer_submit (message);

-- Parts of long messages that are not whole yet: a handful.
CREATE TABLE customer_part (
    submit INTEGER PRIMARY KEY,
    customer INTEGER NOT NULL,
    source TEXT NOT NULL,
    destination TEXT NOT NULL,
    reference INTEGER NOT NULL,
    total INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    octets BLOB NOT NULL,
    data_coding INTEGER NOT NULL,
    single INTEGER NOT NULL,
    locking INTEGER NOT NULL,
    wish TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (customer, source, destination, reference, total, sequence)
) STRICT;

CREATE INDEX customer_part_at ON customer_part (at);

-- A receipt or a reply until the customer has acknowledged it.
CREATE TABLE customer_telling (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    customer INTEGER NOT NULL,
    submit INTEGER,
    state INTEGER,
    reply INTEGER,
    at INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX customer_telling_ready ON customer_telling (customer, ready_at);

-- The ends of messages (delivered, bounced, error) for those who asked, as in `insert_event` on PostgreSQL.
CREATE TRIGGER event_for_customers AFTER INSERT ON event
WHEN new.state IN (2, 3, 4)
BEGIN
    INSERT INTO customer_telling (customer, submit, state, at, ready_at)
    SELECT s.customer, s.id, new.state, new.at, new.at
    FROM customer_submit s
    WHERE s.message = new.message AND (s.asked = 1 OR s.asked = iif(new.state = 2, 3, 2))
    ORDER BY s.id;
END;
