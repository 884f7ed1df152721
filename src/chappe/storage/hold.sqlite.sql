-- Holding: whether anything leaves at all. See hold.postgres.sql for the same on PostgreSQL.

-- name: set_hold
INSERT INTO flag (name, since)
VALUES ('hold', $1)
ON CONFLICT DO NOTHING;

-- name: end_hold
DELETE FROM flag
WHERE name = 'hold';

-- name: held_since
SELECT since
FROM flag
WHERE name = 'hold';
