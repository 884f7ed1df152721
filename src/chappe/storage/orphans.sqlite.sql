-- Receipts that matched nothing, and how operators write their ids.

-- name: count_form
INSERT INTO id_form (connector, form, receipts, last_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (connector, form) DO UPDATE
SET receipts = receipts + excluded.receipts, last_at = max(last_at, excluded.last_at);

-- The form that most of a connector's receipts were in.
-- name: find_form
SELECT connector, form
FROM id_form
WHERE connector = $1
ORDER BY receipts DESC, form
LIMIT 1;

-- name: read_forms
SELECT connector, form, receipts, last_at
FROM id_form
ORDER BY connector, receipts DESC, form;

-- name: find_orphans
SELECT id, connector, carrier_id, at, verdict, detail, reference, number, raw
FROM parked
WHERE ($1 = '' OR connector = $1) AND at > $2 AND at <= $3 AND id > $4
ORDER BY id
LIMIT $5;

-- The same id, given by another connector.
-- name: find_carrier_elsewhere
SELECT $1, $2, k.name
FROM connector k
JOIN carrier c ON c.connector = k.name AND c.carrier_id = $1
WHERE k.name <> $2 AND c.answered_at > $3
ORDER BY c.id DESC
LIMIT 1;

-- What was handed over to a number through a connector, as far back as somebody may still wait for a receipt of it.
-- name: find_handed_over
WITH RECURSIVE chain (id, previous, steps) AS (
    SELECT m.id, m.previous, 1
    FROM latest l
    JOIN message m ON m.id = l.message
    WHERE l.number = $1
    UNION ALL
    SELECT m.id, m.previous, c.steps + 1
    FROM chain c
    JOIN message m ON m.id = c.previous
    WHERE c.steps < 100
)
SELECT $1, $2, a.message, a.part, a.number, a.claimed_at, a.verdict IS NULL
FROM chain c
JOIN attempt a ON a.message = c.id
WHERE a.connector = $2 AND a.outcome IN (1, 2, 4) AND a.claimed_at > $3;
