-- Operators added by command, beside those of the settings file. `settings` is JSON as in a table of that file, with the
-- password: it must be readable to bind. A removed one keeps its name only: routes may still name it, and an installation
-- that had an operator does not go back to the simulator by itself. `ended_at` is when no node had it any more.
CREATE TABLE stored_connector (
    name TEXT PRIMARY KEY,
    settings TEXT NOT NULL,
    revision INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    removed_at INTEGER,
    ended_at INTEGER
) STRICT, WITHOUT ROWID;
