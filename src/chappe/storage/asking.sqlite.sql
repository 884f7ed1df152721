-- Receipts that did not come. See asking.postgres.sql for the same on PostgreSQL.

-- name: list_unreceipted
WITH scanned AS MATERIALIZED (
    SELECT id, connector, carrier_id, answered_at, message, part, attempt
    FROM carrier
    WHERE id > coalesce((SELECT through FROM asked WHERE connector = $1 AND turn = $2), 0)
    ORDER BY id
    LIMIT $3
)
SELECT s.id, s.answered_at, s.carrier_id, m.number, m.sender,
    s.connector = $1 AND a.verdict IS NULL AND m.delivery IN (0, 1) AND coalesce(a.carrier_id, s.carrier_id) = s.carrier_id
FROM scanned s
LEFT JOIN attempt a ON a.message = s.message AND a.part = s.part AND a.number = s.attempt
LEFT JOIN message m ON m.id = s.message
ORDER BY s.id;

-- name: mark_asked
INSERT INTO asked (connector, turn, through)
VALUES ($1, $2, $3)
ON CONFLICT (connector, turn) DO UPDATE SET through = excluded.through;
