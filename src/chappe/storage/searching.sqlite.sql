-- Searching: ids only; what they stand for is read as one message is. See searching.postgres.sql.

-- name: list_ids
SELECT id
FROM message
WHERE account = $1 AND test = $2 AND id < $3
ORDER BY id DESC
LIMIT $4;

-- The chain of the account's messages to a number, from the latest one back.
-- name: list_ids_to
WITH RECURSIVE chain (id, previous, place) AS (
    SELECT m.id, m.previous, 1
    FROM latest l
    JOIN message m ON m.id = l.message
    WHERE l.number = $1 AND l.account = $2 AND $3 IS NULL
    UNION ALL
    SELECT p.id, p.previous, 1
    FROM message m
    JOIN message p ON p.id = m.previous
    WHERE m.id = $3 AND m.number = $1 AND m.account = $2
    UNION ALL
    SELECT m.id, m.previous, c.place + 1
    FROM chain c
    JOIN message m ON m.id = c.previous
    WHERE c.place < $4
)
SELECT id
FROM chain
ORDER BY place;

-- name: list_facts
SELECT f.seq, f.changed, f.kind, f.data
FROM message m
JOIN fact f ON f.message = m.id
WHERE m.id = $1 AND m.account = $2
ORDER BY f.seq;

-- name: stored_answer
SELECT digest, message, parts
FROM idempotency
WHERE account = $1 AND key = $2 AND created_at > $3;
