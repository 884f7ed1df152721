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

-- Up to so many; account by account, because what is due later is not to be walked over.
-- name: count_waiting
WITH RECURSIVE lane (class, account) AS (
    SELECT family.class, (SELECT min(account) FROM queue WHERE route = $1 AND class = family.class)
    FROM (SELECT 0 AS class UNION ALL SELECT 1) family
    UNION ALL
    SELECT l.class, (
        SELECT min(q.account) FROM queue q WHERE q.route = $1 AND q.class = l.class AND q.account > l.account
    )
    FROM lane l
    WHERE l.account IS NOT NULL
)
SELECT count(*)
FROM (
    SELECT 1
    FROM lane l
    CROSS JOIN queue q
    WHERE q.route = $1 AND q.class = l.class AND q.account = l.account AND q.due_at <= $2
    LIMIT $3
);

-- name: last_shift
SELECT at
FROM shift
WHERE route = $1
ORDER BY id DESC
LIMIT 1;

-- name: insert_shift
INSERT INTO shift (route, at, set_weights, weights, why)
VALUES ($1, $2, $3, $4, $5);

-- name: drop_shifts
DELETE FROM shift
WHERE route = $1 AND at < $2;

-- name: list_shifts
SELECT at, set_weights, weights, why
FROM shift
WHERE route = $1
ORDER BY id DESC
LIMIT $2;
