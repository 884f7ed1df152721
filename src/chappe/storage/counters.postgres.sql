-- Counters.

-- name: insert_deltas
INSERT INTO counter_delta (account, test, family, category, campaign, day, what, n)
SELECT *
FROM unnest($1::bigint[], $2::boolean[], $3::smallint[], $4::text[], $5::text[], $6::integer[], $7::smallint[],
    $8::bigint[]);

-- name: take_deltas
WITH oldest AS MATERIALIZED (
    SELECT d.id
    FROM unnest($1::bigint[]) AS p(most)
    CROSS JOIN LATERAL (SELECT c.id FROM counter_delta c ORDER BY c.id LIMIT p.most FOR UPDATE SKIP LOCKED) d
)
DELETE FROM counter_delta d
USING oldest
WHERE d.id = oldest.id
RETURNING d.account, d.test, d.family, d.category, d.campaign, d.day, d.what, d.n;

-- name: add_counters
INSERT INTO counter AS c (account, test, family, category, campaign, day, what, n)
SELECT *
FROM unnest($1::bigint[], $2::boolean[], $3::smallint[], $4::text[], $5::text[], $6::integer[], $7::smallint[],
    $8::bigint[])
ON CONFLICT (account, test, day, family, category, campaign, what) DO UPDATE SET n = c.n + excluded.n;

-- name: add_totals
INSERT INTO counter_total AS c (account, test, scope, name, what, n)
SELECT *
FROM unnest($1::bigint[], $2::boolean[], $3::smallint[], $4::text[], $5::smallint[], $6::bigint[])
ON CONFLICT (account, test, scope, name, what) DO UPDATE SET n = c.n + excluded.n;

-- What is rolled up, and what is not yet.
-- name: read_totals
SELECT p.n, found.what, found.n
FROM unnest($1::bigint[], $2::boolean[], $3::smallint[], $4::text[]) WITH ORDINALITY AS p(account, test, scope, name, n)
CROSS JOIN LATERAL (
    SELECT both_.what, sum(both_.n)::bigint AS n
    FROM (
        SELECT t.what, t.n
        FROM counter_total t
        WHERE t.account = p.account AND t.test = p.test AND t.scope = p.scope AND t.name = p.name
        UNION ALL
        SELECT d.what, d.n
        FROM counter_delta d
        WHERE d.account = p.account AND d.test = p.test
            AND p.name = CASE p.scope WHEN 0 THEN '' WHEN 1 THEN d.category ELSE d.campaign END
    ) both_
    GROUP BY both_.what
) found;

-- The same of each category, by name.
-- name: list_categories
SELECT p.n, found.name, found.what, found.n
FROM unnest($1::bigint[], $2::boolean[]) WITH ORDINALITY AS p(account, test, n)
CROSS JOIN LATERAL (
    SELECT both_.name, both_.what, sum(both_.n)::bigint AS n
    FROM (
        SELECT t.name, t.what, t.n
        FROM counter_total t
        WHERE t.account = p.account AND t.test = p.test AND t.scope = 1
        UNION ALL
        SELECT d.category, d.what, d.n
        FROM counter_delta d
        WHERE d.account = p.account AND d.test = p.test
    ) both_
    GROUP BY both_.name, both_.what
) found
ORDER BY p.n, found.name, found.what;
