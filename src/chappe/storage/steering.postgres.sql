-- Connectors while servers run.

-- name: tell_connector
INSERT INTO steered AS s (connector, told, since)
SELECT *
FROM unnest($1::text[], $2::text[], $3::bigint[])
ON CONFLICT (connector) DO UPDATE SET told = excluded.told, since = excluded.since
WHERE s.told <> excluded.told;

-- name: list_steered
SELECT connector, told, since
FROM steered
ORDER BY connector;

-- name: show_connector
INSERT INTO shown (connector, node, at, figures)
SELECT *
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])
ON CONFLICT (connector) DO UPDATE SET node = excluded.node, at = excluded.at, figures = excluded.figures;

-- What this node showed before and does not have any more.
-- name: hide_connectors
DELETE FROM shown s
USING unnest($1::text[], $2::bigint[]) AS p(node, now)
WHERE s.node = p.node AND s.at <> p.now;

-- name: list_shown
SELECT connector, node, at, figures
FROM shown
ORDER BY connector;

-- Up to so many; account by account, because what is due later is not to be walked over.
-- name: count_waiting
SELECT p.n, d.waiting
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS p(route, now, most, n)
CROSS JOIN LATERAL (
    WITH RECURSIVE lane (class, account) AS (
        SELECT family.class, (SELECT min(q.account) FROM queue q WHERE q.route = p.route AND q.class = family.class)
        FROM (VALUES (0::smallint), (1::smallint)) AS family(class)
        UNION ALL
        SELECT l.class, (
            SELECT min(q.account)
            FROM queue q
            WHERE q.route = p.route AND q.class = l.class AND q.account > l.account
        )
        FROM lane l
        WHERE l.account IS NOT NULL
    )
    SELECT count(*) AS waiting
    FROM (
        SELECT 1
        FROM lane l
        CROSS JOIN LATERAL (
            SELECT 1
            FROM queue q
            WHERE q.route = p.route AND q.class = l.class AND q.account = l.account AND q.due_at <= p.now
            LIMIT p.most
        ) due
        LIMIT p.most
    ) found
) d;

-- name: last_shift
SELECT d.at
FROM unnest($1::text[]) AS p(route)
CROSS JOIN LATERAL (
    SELECT s.at
    FROM shift s
    WHERE s.route = p.route
    ORDER BY s.id DESC
    LIMIT 1
) d;

-- name: insert_shift
INSERT INTO shift (route, at, set_weights, weights, why)
SELECT *
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[]);

-- name: drop_shifts
DELETE FROM shift s
USING unnest($1::text[], $2::bigint[]) AS p(route, before)
WHERE s.route = p.route AND s.at < p.before;

-- name: list_shifts
SELECT p.n, d.at, d.set_weights, d.weights, d.why
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS p(route, most, n)
CROSS JOIN LATERAL (
    SELECT s.at, s.set_weights, s.weights, s.why
    FROM shift s
    WHERE s.route = p.route
    ORDER BY s.id DESC
    LIMIT p.most
) d;
