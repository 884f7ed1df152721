-- The statements of `customers`, for PostgreSQL; over arrays, as in postgres.sql. What became of messages is told by
-- `insert_event`.

-- Another account's stays as it is.
-- name: upsert_customer
INSERT INTO customer AS c (account, system_id, test, family, salt, digest, created_at)
SELECT *
FROM unnest($1::bigint[], $2::text[], $3::boolean[], $4::smallint[], $5::bytea[], $6::bytea[], $7::bigint[])
ON CONFLICT (system_id) DO UPDATE
SET test = excluded.test, family = excluded.family, salt = excluded.salt, digest = excluded.digest,
    created_at = excluded.created_at
WHERE c.account = excluded.account
RETURNING c.id;

-- name: find_customer
SELECT p.n, c.id, c.system_id, c.test, c.family, c.salt, c.digest, c.created_at, a.id, a.name, a.blocked, a.settings,
    a.limits
FROM unnest($1::text[]) WITH ORDINALITY AS p(system_id, n)
JOIN customer c ON c.system_id = p.system_id
JOIN account a ON a.id = c.account;

-- name: list_customers
SELECT (SELECT count(*) FROM customer_telling t WHERE t.customer = c.id), c.id, c.system_id, c.test, c.family, c.salt,
    c.digest, c.created_at, a.id, a.name, a.blocked, a.settings, a.limits
FROM customer c
JOIN account a ON a.id = c.account
ORDER BY a.name, c.system_id;

-- name: remove_customer
DELETE FROM customer c
USING unnest($1::bigint[], $2::text[]) AS p(account, system_id)
WHERE c.account = p.account AND c.system_id = p.system_id
RETURNING c.id;

-- name: forget_tellings
DELETE FROM customer_telling t
USING unnest($1::bigint[]) AS p(customer)
WHERE t.customer = p.customer;

-- Submits -----------------------------------------------------------------------------------------------

-- name: insert_submit
INSERT INTO customer_submit (id, customer, message, asked, source_ton, source_npi, source, destination_ton,
    destination_npi, destination, reference, at)
SELECT *
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::smallint[], $6::smallint[], $7::text[],
    $8::smallint[], $9::smallint[], $10::text[], $11::integer[], $12::bigint[]);

-- name: find_submit
SELECT p.n, s.id, s.message, s.cause, s.at
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(id, account, n)
JOIN customer_submit s ON s.id = p.id
JOIN customer c ON c.id = s.customer AND c.account = p.account;

-- name: find_part
SELECT c.submit, c.octets
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::integer[], $5::smallint[], $6::smallint[])
    AS p(customer, source, destination, reference, total, sequence)
JOIN customer_part c ON c.customer = p.customer AND c.source = p.source AND c.destination = p.destination
    AND c.reference = p.reference AND c.total = p.total AND c.sequence = p.sequence;

-- name: insert_part
INSERT INTO customer_part (customer, source, destination, reference, total, sequence, submit, octets, data_coding, single,
    locking, wish, at)
SELECT *
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::integer[], $5::smallint[], $6::smallint[], $7::bigint[],
    $8::bytea[], $9::smallint[], $10::smallint[], $11::smallint[], $12::text[], $13::bigint[]);

-- name: find_parts
SELECT c.submit, c.octets, c.data_coding, c.single, c.locking, c.wish
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::integer[], $5::smallint[])
    AS p(customer, source, destination, reference, total)
JOIN customer_part c ON c.customer = p.customer AND c.source = p.source AND c.destination = p.destination
    AND c.reference = p.reference AND c.total = p.total
ORDER BY c.sequence;

-- Whoever has taken them has joined them.
-- name: take_part
DELETE FROM customer_part c
USING unnest($1::bigint[], $2::bigint[]) AS p(submit, customer)
WHERE c.submit = p.submit AND c.customer = p.customer
RETURNING c.submit;

-- name: join_submit
UPDATE customer_submit s
SET message = p.message
FROM unnest($1::bigint[], $2::bigint[]) AS p(message, id)
WHERE s.id = p.id;

-- name: end_submit
UPDATE customer_submit s
SET cause = p.cause
FROM unnest($1::text[], $2::bigint[]) AS p(cause, id)
WHERE s.id = p.id;

-- Whole ones, which nobody has joined, and those that will not be.
-- name: overdue_parts
SELECT found.*
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS p(begun_before, whole_before, most)
CROSS JOIN LATERAL (
    SELECT c.customer, c.source, c.destination, c.reference, c.total
    FROM customer_part c
    GROUP BY c.customer, c.source, c.destination, c.reference, c.total
    HAVING min(c.at) <= p.begun_before OR count(*) = c.total AND max(c.at) <= p.whole_before
    ORDER BY min(c.at)
    LIMIT p.most
) found;

-- name: read_customer
SELECT c.id, c.system_id, c.test, c.family, c.salt, c.digest, c.created_at, a.id, a.name, a.blocked, a.settings, a.limits
FROM unnest($1::bigint[]) AS p(id)
JOIN customer c ON c.id = p.id
JOIN account a ON a.id = c.account;

-- Tellings ----------------------------------------------------------------------------------------------

-- Of a submit that will not be a message, if it asked for that.
-- name: tell_failure
INSERT INTO customer_telling (customer, submit, state, at, ready_at)
SELECT s.customer, s.id, p.state, p.at, p.at
FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS p(state, at, id)
JOIN customer_submit s ON s.id = p.id AND s.asked IN (1, 2);

-- A reply is for the customer whose message it answers, else for each of its account.
-- name: tell_reply
INSERT INTO customer_telling (customer, reply, at, ready_at)
SELECT c.id, p.reply, p.at, p.at
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::boolean[])
    AS p(reply, at, account, message, test)
JOIN customer c ON c.account = p.account AND (
    c.id = (SELECT s.customer FROM customer_submit s WHERE s.message = p.message ORDER BY s.id LIMIT 1)
    OR c.test = p.test AND NOT EXISTS (SELECT 1 FROM customer_submit s WHERE s.message = p.message)
)
ORDER BY c.id;

-- name: any_telling_due
SELECT p.n, 1
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(customer, now, n)
WHERE EXISTS (SELECT 1 FROM customer_telling t WHERE t.customer = p.customer AND t.ready_at <= p.now);

-- What another node claims at the same moment is passed over.
-- name: due_tellings
SELECT d.ready_at, d.id
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS p(customer, now, most)
CROSS JOIN LATERAL (
    SELECT t.ready_at, t.id
    FROM customer_telling t
    WHERE t.customer = p.customer AND t.ready_at <= p.now
    ORDER BY t.ready_at, t.id
    LIMIT p.most
    FOR UPDATE SKIP LOCKED
) d;

-- name: lease_telling
UPDATE customer_telling t
SET ready_at = p.ready_at
FROM unnest($1::bigint[], $2::bigint[]) AS p(ready_at, id)
WHERE t.id = p.id;

-- name: read_tellings
SELECT t.id, t.tries, t.at, t.state, s.id, s.source_ton, s.source_npi, s.source, s.destination_ton, s.destination_npi,
    s.destination, s.reference, s.at, coalesce(s.cause, m.cause), m.text, r.number, r.recipient, r.text
FROM unnest($1::bigint[]) AS p(id)
JOIN customer_telling t ON t.id = p.id
LEFT JOIN customer_submit s ON s.id = t.submit
LEFT JOIN message m ON m.id = s.message
LEFT JOIN reply r ON r.id = t.reply;

-- name: end_telling
DELETE FROM customer_telling t
USING unnest($1::bigint[]) AS p(id)
WHERE t.id = p.id;

-- name: postpone_telling
UPDATE customer_telling t
SET ready_at = p.ready_at, tries = p.tries
FROM unnest($1::bigint[], $2::integer[], $3::bigint[]) AS p(ready_at, tries, id)
WHERE t.id = p.id;

-- name: free_tellings
UPDATE customer_telling t
SET ready_at = p.now
FROM unnest($1::bigint[]) AS p(now)
WHERE t.ready_at > p.now;

-- name: drop_tellings
WITH oldest AS MATERIALIZED (
    SELECT d.id
    FROM unnest($1::bigint[], $2::bigint[]) AS p(most, before)
    CROSS JOIN LATERAL (
        SELECT t.id
        FROM (SELECT t.id, t.at FROM customer_telling t ORDER BY t.id LIMIT p.most) t
        WHERE t.at <= p.before
    ) d
)
DELETE FROM customer_telling t
USING oldest
WHERE t.id = oldest.id;

-- name: drop_submits
WITH oldest AS MATERIALIZED (
    SELECT d.id
    FROM unnest($1::bigint[], $2::bigint[]) AS p(most, before)
    CROSS JOIN LATERAL (
        SELECT s.id
        FROM (SELECT s.id, s.at FROM customer_submit s ORDER BY s.id LIMIT p.most) s
        WHERE s.at <= p.before
    ) d
)
DELETE FROM customer_submit s
USING oldest
WHERE s.id = oldest.id;
