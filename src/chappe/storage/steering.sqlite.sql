-- Connectors while servers run. See steering.postgres.sql for the same on PostgreSQL.

-- name: tell_connector
INSERT INTO steered (connector, told, since)
VALUES ($1, $2, $3)
ON CONFLICT (connector) DO UPDATE SET told = excluded.told, since = excluded.since
WHERE told <> excluded.told;

-- name: list_steered
SELECT connector, told, since
FROM steered
ORDER BY connector;

-- name: show_connector
INSERT INTO shown (connector, node, at, figures)
VALUES ($1, $2, $3, $4)
ON CONFLICT (connector) DO UPDATE SET node = excluded.node, at = excluded.at, figures = excluded.figures;

-- What this node showed before and does not have any more.
-- name: hide_connectors
DELETE FROM shown
WHERE node = $1 AND at <> $2;

-- name: list_shown
SELECT connector, node, at, figures
FROM shown
ORDER BY connector;

-- Up to so many.
-- name: count_waiting
SELECT count(*)
FROM (
    SELECT 1
    FROM queue
    WHERE route = $1 AND class IN (0, 1) AND due_at <= $2
    LIMIT $3
);
