-- Operators added by command.

-- In the place of the revision before this one; 0 is that of one that is not there, or was removed.
-- name: put_connector
INSERT INTO stored_connector AS c (name, settings, revision, changed_at)
SELECT *
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
ON CONFLICT (name) DO UPDATE
SET settings = excluded.settings, revision = c.revision + 1, changed_at = excluded.changed_at, removed_at = NULL,
    ended_at = NULL
WHERE excluded.revision - 1 = CASE WHEN c.removed_at IS NULL THEN c.revision ELSE 0 END
RETURNING c.revision;

-- name: remove_connector
UPDATE stored_connector c
SET settings = '{}', removed_at = p.now
FROM unnest($1::bigint[], $2::text[]) AS p(now, name)
WHERE c.name = p.name AND c.removed_at IS NULL
RETURNING c.name;

-- name: end_connector
UPDATE stored_connector c
SET ended_at = p.now
FROM unnest($1::bigint[], $2::text[]) AS p(now, name)
WHERE c.name = p.name AND c.removed_at IS NOT NULL AND c.ended_at IS NULL
RETURNING c.name;

-- name: untell_connector
DELETE FROM steered s
USING unnest($1::text[]) AS p(name)
WHERE s.connector = p.name;

-- name: list_connectors
SELECT name, settings, revision, changed_at, removed_at IS NOT NULL, ended_at IS NOT NULL
FROM stored_connector
ORDER BY name;
