-- Connectors while servers run.

-- What they are told: run, pause or drain.
CREATE TABLE steered (
    connector TEXT PRIMARY KEY,
    told TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What they say of themselves, written anew every other second by the node that has them; `figures` is JSON.
CREATE TABLE shown (
    connector TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    at INTEGER NOT NULL,
    figures TEXT NOT NULL
) STRICT, WITHOUT ROWID;
