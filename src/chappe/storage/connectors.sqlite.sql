-- Operators added by command. See connectors.postgres.sql for the same on PostgreSQL.

-- In the place of the revision before this one; 0 is that of one that is not there, or was removed.
-- name: put_connector
INSERT INTO stored_connector AS c (name, settings, revision, changed_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE
SET settings = excluded.settings, revision = c.revision + 1, changed_at = excluded.changed_at, removed_at = NULL,
    ended_at = NULL
WHERE excluded.revision - 1 = CASE WHEN c.removed_at IS NULL THEN c.revision ELSE 0 END
RETURNING revision;

-- name: remove_connector
UPDATE stored_connector
SET settings = '{}', removed_at = $1
WHERE name = $2 AND removed_at IS NULL
RETURNING name;

-- name: end_connector
UPDATE stored_connector
SET ended_at = $1
WHERE name = $2 AND removed_at IS NOT NULL AND ended_at IS NULL
RETURNING name;

-- name: untell_connector
DELETE FROM steered
WHERE connector = $1;

-- name: list_connectors
SELECT name, settings, revision, changed_at, removed_at IS NOT NULL, ended_at IS NOT NULL
FROM stored_connector
ORDER BY name;
