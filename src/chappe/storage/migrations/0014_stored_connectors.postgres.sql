-- Operators added by command, as for SQLite.
CREATE TABLE stored_connector (
    name text COLLATE "C" PRIMARY KEY,
    settings text NOT NULL,
    revision bigint NOT NULL,
    changed_at bigint NOT NULL,
    removed_at bigint,
    ended_at bigint
);
