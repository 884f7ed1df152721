-- Opt-outs from one sender, links that end, and the kill switch.

-- A sender that is named has an opt-out of its own; empty: all of the account's. The table is made anew because its
-- unique constraint changes; ids stay, and those of removed entries are not used again.
CREATE TABLE entry_with_sender (
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
    sender TEXT NOT NULL DEFAULT '',
    UNIQUE (number, test, listing, account, sender)
) STRICT;

INSERT INTO entry_with_sender (id, number, test, listing, account, by_message, message, category, campaign, at)
SELECT id, number, test, listing, account, by_message, message, category, campaign, at
FROM entry
ORDER BY id;

DELETE FROM sqlite_sequence WHERE name = 'entry_with_sender';

INSERT INTO sqlite_sequence (name, seq)
SELECT 'entry_with_sender', seq
FROM sqlite_sequence
WHERE name = 'entry';

DROP TABLE entry;

ALTER TABLE entry_with_sender RENAME TO entry;

CREATE INDEX entry_account ON entry (account, test, listing, id);

CREATE INDEX entry_category ON entry (account, test, listing, category, id) WHERE category IS NOT NULL;

CREATE INDEX entry_campaign ON entry (account, test, listing, campaign, id) WHERE campaign IS NOT NULL;

-- No end: a link of before.
ALTER TABLE link ADD COLUMN expires_at INTEGER;

ALTER TABLE link ADD COLUMN last_click_at INTEGER;

-- In the order of the messages: appended.
CREATE INDEX link_message ON link (message);

-- What is not followed any more: a link (token), or those of a message, of a campaign (its id, or ACCOUNT/NAME), to a host.
CREATE TABLE link_ban (
    what TEXT NOT NULL,
    name TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (what, name)
) STRICT, WITHOUT ROWID;
