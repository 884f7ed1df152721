-- The statements of `webhooks`, for SQLite, and the one by which `work` stores events.

-- An event has a delivery for each living endpoint that wants it; the ends of messages (delivered, bounced, error) are
-- told to the customers who asked. The newest events are the last $1: with one writer their ids have no gaps.
-- name: insert_event
INSERT INTO event (account, message, sequence, state, at)
VALUES ($1, $2, $3, $4, $5);
INSERT INTO delivery (endpoint, event, made_at, due_at)
SELECT e.id, v.id, v.at, v.at
FROM event v
JOIN endpoint e ON e.account = v.account AND e.disabled_at IS NULL AND e.states & (1 << v.state) <> 0
WHERE v.id > (SELECT max(id) FROM event) - $1;
INSERT INTO customer_telling (customer, submit, state, at, ready_at)
SELECT s.customer, s.id, v.state, v.at, v.at
FROM event v
JOIN customer_submit s ON s.message = v.message
WHERE v.id > (SELECT max(id) FROM event) - $1 AND v.state IN (2, 3, 4)
    AND (s.asked = 1 OR s.asked = iif(v.state = 2, 3, 2))
ORDER BY s.id;

-- Claims and outcomes ---------------------------------------------------------------------------------

-- Endpoints with something due, the longest due first. Looks at one delivery of each that has any waiting, however many.
-- name: due_endpoints
WITH RECURSIVE waiting (endpoint) AS (
    SELECT min(endpoint)
    FROM delivery
    WHERE fate = 0
    UNION ALL
    SELECT (SELECT min(d.endpoint) FROM delivery d WHERE d.fate = 0 AND d.endpoint > w.endpoint)
    FROM waiting w
    WHERE w.endpoint IS NOT NULL
), first AS (
    SELECT w.endpoint, (SELECT min(d.ready_at) FROM delivery d WHERE d.fate = 0 AND d.endpoint = w.endpoint) AS ready_at
    FROM waiting w
)
SELECT f.endpoint, e.url, e.secrets, e.failing_since
FROM first f
JOIN endpoint e ON e.id = f.endpoint AND e.disabled_at IS NULL
WHERE f.ready_at <= $1
ORDER BY f.ready_at, f.endpoint;

-- name: due_deliveries
SELECT ready_at, id
FROM delivery
WHERE fate = 0 AND endpoint = $1 AND ready_at <= $2
ORDER BY ready_at, id
LIMIT $3;

-- name: lease_delivery
UPDATE delivery
SET claimed_until = v.column1
FROM (VALUES ($1, $2)) AS v
WHERE id = v.column2;

-- What is posted; the reply is the first that is not STOP, as in the status.
-- name: delivery_contents
SELECT d.id, d.endpoint, d.tries, v.message, v.sequence, v.state, v.at, m.number, m.category, m.test, (
        SELECT r.text
        FROM reply r
        WHERE v.state = $1 AND r.message = v.message AND r.account = v.account AND r.keyword <> 'STOP'
        ORDER BY r.id
        LIMIT 1
    )
FROM json_each($2) claimed
CROSS JOIN delivery d ON d.id = claimed.value
JOIN event v ON v.id = d.event
JOIN message m ON m.id = v.message;

-- name: deliver
DELETE FROM delivery
WHERE id IN (VALUES ($1));

-- Only while it waits with as many tries as were known: another claim may have got further.
-- name: fail_delivery
UPDATE delivery
SET fate = $1, due_at = coalesce($2, due_at), claimed_until = 0, tries = $3, word = $4, took_ms = $5, ended_at = $6
WHERE id = $7 AND fate = 0 AND tries = $8;

-- name: release_delivery
UPDATE delivery
SET claimed_until = 0
WHERE id = $1 AND fate = 0 AND tries = $2;

-- name: exhaust_delivery
UPDATE delivery
SET fate = 2, claimed_until = 0, word = $1, ended_at = $2
WHERE id = $3 AND fate = 0;

-- name: endpoint_fails
UPDATE endpoint
SET failing_since = coalesce(failing_since, $1), word = $2
WHERE id = $3;

-- name: endpoint_takes
UPDATE endpoint
SET failing_since = NULL
WHERE id = $1 AND failing_since IS NOT NULL;

-- name: disable_endpoint
UPDATE endpoint
SET disabled_at = $1
WHERE id = $2 AND disabled_at IS NULL;

-- name: exhaust_waiting
UPDATE delivery
SET fate = 2, claimed_until = 0, ended_at = $1
WHERE id IN (
    SELECT id
    FROM delivery
    WHERE fate = 0 AND endpoint = $2 AND made_at < $3 AND claimed_until <= $4
    ORDER BY ready_at
    LIMIT $5
)
RETURNING id;

-- Endpoints ---------------------------------------------------------------------------------------------

-- name: insert_endpoint
INSERT INTO endpoint (account, url, secrets, states, created_at)
VALUES ($1, $2, $3, $4, $5)
RETURNING id, account, url, secrets, states, created_at, disabled_at, failing_since, word;

-- name: list_endpoints
SELECT id, account, url, secrets, states, created_at, disabled_at, failing_since, word
FROM endpoint
WHERE account = $1
ORDER BY id;

-- name: find_endpoint
SELECT id, account, url, secrets, states, created_at, disabled_at, failing_since, word
FROM endpoint
WHERE account = $1 AND id = $2;

-- The same inside a transaction, held to its end.
-- name: take_endpoint
SELECT id, account, url, secrets, states, created_at, disabled_at, failing_since, word
FROM endpoint
WHERE account = $1 AND id = $2;

-- name: remove_endpoint
DELETE FROM endpoint
WHERE account = $1 AND id = $2
RETURNING id;

-- name: enable_endpoint
UPDATE endpoint
SET disabled_at = NULL, failing_since = NULL
WHERE account = $1 AND id = $2
RETURNING id;

-- name: set_secrets
UPDATE endpoint
SET secrets = $1
WHERE id = $2;

-- name: replay
UPDATE delivery
SET fate = 0, due_at = $1, claimed_until = 0, tries = 0, ended_at = NULL
WHERE id IN (
    SELECT id
    FROM delivery
    WHERE fate = 2 AND endpoint = $2 AND made_at >= $3
    ORDER BY made_at
    LIMIT $4
)
RETURNING id;

-- The feed ----------------------------------------------------------------------------------------------

-- With one writer the ids are in the order of the commits: the transaction is always 0.
-- name: list_events
SELECT 0, v.id, v.message, v.sequence, v.state, v.at, m.number, m.category, m.test, (
        SELECT r.text
        FROM reply r
        WHERE v.state = $1 AND r.message = v.message AND r.account = v.account AND r.keyword <> 'STOP'
        ORDER BY r.id
        LIMIT 1
    )
FROM event v
JOIN message m ON m.id = v.message
WHERE v.account = $2 AND $3 >= 0 AND v.id > $4
ORDER BY v.id
LIMIT $5;

-- name: find_feed_end
SELECT 0, max(id)
FROM event
WHERE account = $1;

-- What the passing of time does -------------------------------------------------------------------------

-- name: unwanted_endpoints
WITH RECURSIVE waiting (endpoint) AS (
    SELECT min(endpoint)
    FROM delivery
    WHERE fate = 0
    UNION ALL
    SELECT (SELECT min(d.endpoint) FROM delivery d WHERE d.fate = 0 AND d.endpoint > w.endpoint)
    FROM waiting w
    WHERE w.endpoint IS NOT NULL
)
SELECT w.endpoint
FROM waiting w
LEFT JOIN endpoint e ON e.id = w.endpoint
WHERE w.endpoint IS NOT NULL AND (e.id IS NULL OR e.disabled_at IS NOT NULL);

-- The newest stays: its id is not to be used again.
-- name: drop_events
DELETE FROM event
WHERE id IN (SELECT id FROM event ORDER BY id LIMIT $1) AND at <= $2 AND id < (SELECT max(id) FROM event);

-- name: drop_deliveries
DELETE FROM delivery
WHERE id IN (SELECT id FROM delivery ORDER BY id LIMIT $1) AND made_at <= $2 AND id < (SELECT max(id) FROM delivery);
