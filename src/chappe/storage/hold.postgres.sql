-- Holding: whether anything leaves at all.

-- name: set_hold
INSERT INTO flag (name, since)
SELECT 'hold', p.since
FROM unnest($1::bigint[]) AS p(since)
ON CONFLICT DO NOTHING;

-- name: end_hold
DELETE FROM flag
WHERE name = 'hold';

-- name: held_since
SELECT since
FROM flag
WHERE name = 'hold';
