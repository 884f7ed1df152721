-- Lists of contacts, their fields, and imports.

-- Emptying a list gives it the next edition, and deleting it none: contacts of another edition are nobody's, and removed
-- bit by bit. `contacts` counts those of this edition, in the transactions that add and remove them.
CREATE TABLE contact_list (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    edition INTEGER NOT NULL DEFAULT 1,
    contacts INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX contact_list_account ON contact_list (account);

-- `key` is what makes two names the same.
CREATE TABLE list_field (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL,
    list INTEGER NOT NULL,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    type INTEGER NOT NULL,
    format TEXT,
    UNIQUE (list, key)
) STRICT;

CREATE INDEX list_field_account ON list_field (account, list);

-- `attributes` is JSON, field id → value; ids of fields that are no more are passed over.
CREATE TABLE contact (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL,
    list INTEGER NOT NULL,
    edition INTEGER NOT NULL,
    number TEXT NOT NULL,
    attributes TEXT NOT NULL,
    UNIQUE (list, edition, number)
) STRICT;

CREATE INDEX contact_walk ON contact (list, edition, id);

-- Editions whose contacts are to be removed.
CREATE TABLE discarded (
    list INTEGER NOT NULL,
    edition INTEGER NOT NULL,
    PRIMARY KEY (list, edition)
) STRICT, WITHOUT ROWID;

CREATE TABLE operation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL,
    list INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    began_at INTEGER NOT NULL,
    touched_at INTEGER NOT NULL,
    total INTEGER,
    done INTEGER NOT NULL DEFAULT 0,
    imported INTEGER NOT NULL DEFAULT 0,
    updated INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX operation_running ON operation (touched_at) WHERE state = 0;

-- Rows that an import did not take; never what stood in them.
CREATE TABLE refused_row (
    operation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    account INTEGER NOT NULL,
    line INTEGER NOT NULL,
    code INTEGER NOT NULL,
    reason TEXT NOT NULL,
    heading TEXT,
    PRIMARY KEY (operation, seq)
) STRICT, WITHOUT ROWID;
