-- Receipts that matched nothing, and how operators write their ids.

-- name: count_form
INSERT INTO id_form AS f (connector, form, receipts, last_at)
SELECT *
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
ON CONFLICT (connector, form) DO UPDATE
SET receipts = f.receipts + excluded.receipts, last_at = greatest(f.last_at, excluded.last_at);

-- The form that most of a connector's receipts were in.
-- name: find_form
SELECT p.connector, found.form
FROM unnest($1::text[]) AS p(connector)
CROSS JOIN LATERAL (
    SELECT f.form
    FROM id_form f
    WHERE f.connector = p.connector
    ORDER BY f.receipts DESC, f.form
    LIMIT 1
) found;

-- name: read_forms
SELECT connector, form, receipts, last_at
FROM id_form
ORDER BY connector, receipts DESC, form;

-- name: find_orphans
SELECT d.id, d.connector, d.carrier_id, d.at, d.verdict, d.detail, d.reference, d.number, d.raw
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS p(connector, since, before, after, most)
CROSS JOIN LATERAL (
    SELECT k.id, k.connector, k.carrier_id, k.at, k.verdict, k.detail, k.reference, k.number, k.raw
    FROM parked k
    WHERE (p.connector = '' OR k.connector = p.connector) AND k.at > p.since AND k.at <= p.before AND k.id > p.after
    ORDER BY k.id
    LIMIT p.most
) d;

-- The same id, given by another connector.
-- name: find_carrier_elsewhere
SELECT p.carrier_id, p.connector, found.name
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS p(carrier_id, connector, since)
CROSS JOIN LATERAL (
    SELECT k.name
    FROM connector k
    JOIN carrier c ON c.connector = k.name AND c.carrier_id = p.carrier_id
    WHERE k.name <> p.connector AND c.answered_at > p.since
    ORDER BY c.id DESC
    LIMIT 1
) found;

-- What was handed over to a number through a connector, as far back as somebody may still wait for a receipt of it.
-- name: find_handed_over
SELECT p.number, p.connector, found.message, found.part, found.attempt, found.claimed_at, found.waits
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS p(number, connector, since)
CROSS JOIN LATERAL (
    WITH RECURSIVE chain (id, previous, steps) AS (
        SELECT m.id, m.previous, 1
        FROM latest l
        JOIN message m ON m.id = l.message
        WHERE l.number = p.number
        UNION ALL
        SELECT m.id, m.previous, c.steps + 1
        FROM chain c
        JOIN message m ON m.id = c.previous
        WHERE c.steps < 100
    )
    SELECT a.message, a.part, a.number AS attempt, a.claimed_at, a.verdict IS NULL AS waits
    FROM chain c
    JOIN attempt a ON a.message = c.id
    WHERE a.connector = p.connector AND a.outcome IN (1, 2, 4) AND a.claimed_at > p.since
) found;
