-- Customers. See customers.postgres.sql for the same on PostgreSQL. What became of their
-- messages is told by `insert_event` (webhooks.sqlite.sql).

-- Another account's stays as it is.
-- name: upsert_customer
INSERT INTO customer (account, system_id, test, family, salt, digest, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (system_id) DO UPDATE
SET test = excluded.test, family = excluded.family, salt = excluded.salt, digest = excluded.digest,
    created_at = excluded.created_at
WHERE account = excluded.account
RETURNING id;

-- name: find_customer
SELECT c.id, c.system_id, c.test, c.family, c.salt, c.digest, c.created_at, a.id, a.name, a.blocked, a.settings, a.limits
FROM customer c
JOIN account a ON a.id = c.account
WHERE c.system_id = $1;

-- name: list_customers
SELECT (SELECT count(*) FROM customer_telling t WHERE t.customer = c.id), c.id, c.system_id, c.test, c.family, c.salt,
    c.digest, c.created_at, a.id, a.name, a.blocked, a.settings, a.limits
FROM customer c
JOIN account a ON a.id = c.account
ORDER BY a.name, c.system_id;

-- name: remove_customer
DELETE FROM customer
WHERE account = $1 AND system_id = $2
RETURNING id;

-- name: forget_tellings
DELETE FROM customer_telling
WHERE customer = $1;

-- Submits -----------------------------------------------------------------------------------------------

-- name: insert_submit
INSERT INTO customer_submit (id, customer, message, asked, source_ton, source_npi, source, destination_ton,
    destination_npi, destination, reference, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: find_submit
SELECT s.id, s.message, s.cause, s.at
FROM customer_submit s
JOIN customer c ON c.id = s.customer
WHERE s.id = $1 AND c.account = $2;

-- name: find_part
SELECT submit, octets
FROM customer_part
WHERE customer = $1 AND source = $2 AND destination = $3 AND reference = $4 AND total = $5 AND sequence = $6;

-- name: insert_part
INSERT INTO customer_part (customer, source, destination, reference, total, sequence, submit, octets, data_coding, single,
    locking, wish, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: find_parts
SELECT submit, octets, data_coding, single, locking, wish
FROM customer_part
WHERE customer = $1 AND source = $2 AND destination = $3 AND reference = $4 AND total = $5
ORDER BY sequence;

-- Whoever has taken them has joined them.
-- name: take_part
DELETE FROM customer_part
WHERE submit = $1 AND customer = $2
RETURNING submit;

-- name: join_submit
UPDATE customer_submit
SET message = $1
WHERE id = $2;

-- name: end_submit
UPDATE customer_submit
SET cause = $1
WHERE id = $2;

-- Whole ones, which nobody has joined, and those that will not be.
-- name: overdue_parts
SELECT customer, source, destination, reference, total
FROM customer_part
GROUP BY customer, source, destination, reference, total
HAVING min(at) <= $1 OR count(*) = total AND max(at) <= $2
ORDER BY min(at)
LIMIT $3;

-- name: read_customer
SELECT c.id, c.system_id, c.test, c.family, c.salt, c.digest, c.created_at, a.id, a.name, a.blocked, a.settings, a.limits
FROM customer c
JOIN account a ON a.id = c.account
WHERE c.id = $1;

-- Tellings ----------------------------------------------------------------------------------------------

-- Of a submit that will not be a message, if it asked for that.
-- name: tell_failure
INSERT INTO customer_telling (customer, submit, state, at, ready_at)
SELECT customer, id, $1, $2, $2
FROM customer_submit
WHERE id = $3 AND asked IN (1, 2);

-- A reply is for the customer whose message it answers, else for each of its account.
-- name: tell_reply
INSERT INTO customer_telling (customer, reply, at, ready_at)
SELECT c.id, $1, $2, $2
FROM customer c
WHERE c.account = $3 AND (
    c.id = (SELECT s.customer FROM customer_submit s WHERE s.message = $4 ORDER BY s.id LIMIT 1)
    OR c.test = $5 AND NOT EXISTS (SELECT 1 FROM customer_submit s WHERE s.message = $4)
)
ORDER BY c.id;

-- name: any_telling_due
SELECT 1
FROM customer_telling
WHERE customer = $1 AND ready_at <= $2
LIMIT 1;

-- name: due_tellings
SELECT ready_at, id
FROM customer_telling
WHERE customer = $1 AND ready_at <= $2
ORDER BY ready_at, id
LIMIT $3;

-- name: lease_telling
UPDATE customer_telling
SET ready_at = $1
WHERE id = $2;

-- name: read_tellings
SELECT t.id, t.tries, t.at, t.state, s.id, s.source_ton, s.source_npi, s.source, s.destination_ton, s.destination_npi,
    s.destination, s.reference, s.at, coalesce(s.cause, m.cause), m.text, r.number, r.recipient, r.text
FROM customer_telling t
LEFT JOIN customer_submit s ON s.id = t.submit
LEFT JOIN message m ON m.id = s.message
LEFT JOIN reply r ON r.id = t.reply
WHERE t.id = $1;

-- name: end_telling
DELETE FROM customer_telling
WHERE id = $1;

-- name: postpone_telling
UPDATE customer_telling
SET ready_at = $1, tries = $2
WHERE id = $3;

-- name: free_tellings
UPDATE customer_telling
SET ready_at = $1
WHERE ready_at > $1;

-- name: drop_tellings
DELETE FROM customer_telling
WHERE id IN (SELECT id FROM customer_telling ORDER BY id LIMIT $1) AND at <= $2;

-- name: drop_submits
DELETE FROM customer_submit
WHERE id IN (SELECT id FROM customer_submit ORDER BY id LIMIT $1) AND at <= $2;
