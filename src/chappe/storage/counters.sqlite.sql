-- Counters. See counters.postgres.sql for the same on PostgreSQL.

-- name: insert_deltas
INSERT INTO counter_delta (account, test, family, category, campaign, day, what, n)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: take_deltas
DELETE FROM counter_delta
WHERE id IN (SELECT id FROM counter_delta ORDER BY id LIMIT $1)
RETURNING account, test, family, category, campaign, day, what, n;

-- name: add_counters
INSERT INTO counter (account, test, family, category, campaign, day, what, n)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO UPDATE SET n = n + excluded.n;

-- name: add_totals
INSERT INTO counter_total (account, test, scope, name, what, n)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO UPDATE SET n = n + excluded.n;

-- What is rolled up, and what is not yet.
-- name: read_totals
SELECT what, sum(n)
FROM (
    SELECT what, n
    FROM counter_total
    WHERE account = $1 AND test = $2 AND scope = $3 AND name = $4
    UNION ALL
    SELECT what, n
    FROM counter_delta
    WHERE account = $1 AND test = $2 AND $4 = CASE $3 WHEN 0 THEN '' WHEN 1 THEN category ELSE campaign END
)
GROUP BY what;

-- The same of each category, by name.
-- name: list_categories
SELECT name, what, sum(n)
FROM (
    SELECT name, what, n
    FROM counter_total
    WHERE account = $1 AND test = $2 AND scope = 1
    UNION ALL
    SELECT category, what, n
    FROM counter_delta
    WHERE account = $1 AND test = $2
)
GROUP BY name, what
ORDER BY name, what;
