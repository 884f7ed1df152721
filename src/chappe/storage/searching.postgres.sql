-- Searching: ids only; what they stand for is read as one message is.

-- name: list_ids
SELECT p.n, found.id
FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS p(account, test, before, most, n)
CROSS JOIN LATERAL (
    SELECT m.id
    FROM message m
    WHERE m.account = p.account AND m.test = p.test AND m.id < p.before
    ORDER BY m.id DESC
    LIMIT p.most
) found;

-- The chain of the account's messages to a number, from the latest one back.
-- name: list_ids_to
SELECT p.n, found.id
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS p(number, account, before, most, n)
CROSS JOIN LATERAL (
    WITH RECURSIVE chain (id, previous, place) AS (
        (
            SELECT m.id, m.previous, 1
            FROM latest l
            JOIN message m ON m.id = l.message
            WHERE l.number = p.number AND l.account = p.account AND p.before IS NULL
            UNION ALL
            SELECT e.id, e.previous, 1
            FROM message m
            JOIN message e ON e.id = m.previous
            WHERE m.id = p.before AND m.number = p.number AND m.account = p.account
        )
        UNION ALL
        SELECT m.id, m.previous, c.place + 1
        FROM chain c
        JOIN message m ON m.id = c.previous
        WHERE c.place < p.most
    )
    SELECT c.id
    FROM chain c
    ORDER BY c.place
) found;

-- name: list_facts
SELECT p.n, f.seq, f.changed, f.kind, f.data
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(message, account, n)
JOIN message m ON m.id = p.message AND m.account = p.account
JOIN fact f ON f.message = m.id
ORDER BY p.n, f.seq;

-- name: stored_answer
SELECT p.n, i.digest, i.message, i.parts
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) WITH ORDINALITY AS p(account, key, since, n)
JOIN idempotency i ON i.account = p.account AND i.key = p.key AND i.created_at > p.since;
