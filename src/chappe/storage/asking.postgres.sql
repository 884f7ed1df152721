-- Receipts that did not come.

-- name: list_unreceipted
SELECT p.n, s.id, s.answered_at, s.carrier_id, m.number, m.sender,
    s.connector = p.connector AND a.verdict IS NULL AND m.delivery IN (0, 1)
        AND coalesce(a.carrier_id, s.carrier_id) = s.carrier_id
FROM unnest($1::text[], $2::smallint[], $3::bigint[]) WITH ORDINALITY AS p(connector, turn, most, n)
CROSS JOIN LATERAL (
    SELECT c.id, c.connector, c.carrier_id, c.answered_at, c.message, c.part, c.attempt
    FROM carrier c
    WHERE c.id > coalesce((SELECT k.through FROM asked k WHERE k.connector = p.connector AND k.turn = p.turn), 0)
    ORDER BY c.id
    LIMIT p.most
) s
LEFT JOIN attempt a ON a.message = s.message AND a.part = s.part AND a.number = s.attempt
LEFT JOIN message m ON m.id = s.message
ORDER BY p.n, s.id;

-- name: mark_asked
INSERT INTO asked (connector, turn, through)
SELECT *
FROM unnest($1::text[], $2::smallint[], $3::bigint[])
ON CONFLICT (connector, turn) DO UPDATE SET through = excluded.through;
