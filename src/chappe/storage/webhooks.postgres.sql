-- The statements of `webhooks`, for PostgreSQL, and the one by which `work` stores events; over arrays, as in
-- postgres.sql.

-- An event has a delivery for each living endpoint that wants it; the ends of messages (delivered, bounced, error) are
-- told to the customers who asked.
-- name: insert_event
WITH made AS (
    INSERT INTO event (account, message, sequence, state, at)
    SELECT *
    FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::bigint[])
    RETURNING id, account, message, state, at
), told AS (
    INSERT INTO customer_telling (customer, submit, state, at, ready_at)
    SELECT s.customer, s.id, m.state, m.at, m.at
    FROM made m
    JOIN customer_submit s ON s.message = m.message
    WHERE m.state IN (2, 3, 4) AND (s.asked = 1 OR s.asked = CASE WHEN m.state = 2 THEN 3 ELSE 2 END)
    ORDER BY s.id
)
INSERT INTO delivery (endpoint, event, made_at, due_at)
SELECT e.id, m.id, m.at, m.at
FROM made m
JOIN endpoint e ON e.account = m.account AND e.disabled_at IS NULL AND e.states & (1 << m.state) <> 0;

-- Claims and outcomes ---------------------------------------------------------------------------------

-- Endpoints with something due, the longest due first. Looks at one delivery of each that has any waiting, however many.
-- name: due_endpoints
WITH RECURSIVE waiting (endpoint) AS (
    SELECT min(d.endpoint)
    FROM delivery d
    WHERE d.fate = 0
    UNION ALL
    SELECT (SELECT min(d.endpoint) FROM delivery d WHERE d.fate = 0 AND d.endpoint > w.endpoint)
    FROM waiting w
    WHERE w.endpoint IS NOT NULL
), first AS MATERIALIZED (
    SELECT w.endpoint, (
        SELECT min(d.ready_at)
        FROM delivery d
        WHERE d.fate = 0 AND d.endpoint = w.endpoint
    ) AS ready_at
    FROM waiting w
)
SELECT p.n, f.endpoint, e.url, e.secrets, e.failing_since
FROM unnest($1::bigint[]) WITH ORDINALITY AS p(now, n)
JOIN first f ON f.ready_at <= p.now
JOIN endpoint e ON e.id = f.endpoint AND e.disabled_at IS NULL
ORDER BY p.n, f.ready_at, f.endpoint;

-- What another node claims at the same moment is passed over.
-- name: due_deliveries
SELECT d.ready_at, d.id
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS p(endpoint, now, most)
CROSS JOIN LATERAL (
    SELECT d.ready_at, d.id
    FROM delivery d
    WHERE d.fate = 0 AND d.endpoint = p.endpoint AND d.ready_at <= p.now
    ORDER BY d.ready_at, d.id
    LIMIT p.most
    FOR UPDATE SKIP LOCKED
) d;

-- name: lease_delivery
UPDATE delivery d
SET claimed_until = p.claimed_until
FROM unnest($1::bigint[], $2::bigint[]) AS p(claimed_until, id)
WHERE d.id = p.id;

-- What is posted; the reply is the first that is not STOP, as in the status.
-- name: delivery_contents
SELECT d.id, d.endpoint, d.tries, v.message, v.sequence, v.state, v.at, m.number, m.category, m.test, (
        SELECT r.text
        FROM reply r
        WHERE v.state = p.reply AND r.message = v.message AND r.account = v.account AND r.keyword <> 'STOP'
        ORDER BY r.id
        LIMIT 1
    )
FROM unnest($1::smallint[], $2::text[]) AS p(reply, ids)
CROSS JOIN LATERAL json_array_elements_text(p.ids::json) AS claimed(id)
JOIN delivery d ON d.id = claimed.id::bigint
JOIN event v ON v.id = d.event
JOIN message m ON m.id = v.message;

-- name: deliver
DELETE FROM delivery d
USING unnest($1::bigint[]) AS p(id)
WHERE d.id = p.id;

-- Only while it waits with as many tries as were known: another claim may have got further.
-- name: fail_delivery
UPDATE delivery d
SET fate = p.fate, due_at = coalesce(p.due_at, d.due_at), claimed_until = 0, tries = p.tries, word = p.word,
    took_ms = p.took_ms, ended_at = p.ended_at
FROM unnest($1::smallint[], $2::bigint[], $3::integer[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
    $8::integer[]) AS p(fate, due_at, tries, word, took_ms, ended_at, id, tries_before)
WHERE d.id = p.id AND d.fate = 0 AND d.tries = p.tries_before;

-- name: release_delivery
UPDATE delivery d
SET claimed_until = 0
FROM unnest($1::bigint[], $2::integer[]) AS p(id, tries_before)
WHERE d.id = p.id AND d.fate = 0 AND d.tries = p.tries_before;

-- name: exhaust_delivery
UPDATE delivery d
SET fate = 2, claimed_until = 0, word = p.word, ended_at = p.ended_at
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS p(word, ended_at, id)
WHERE d.id = p.id AND d.fate = 0;

-- name: endpoint_fails
UPDATE endpoint e
SET failing_since = coalesce(e.failing_since, p.now), word = p.word
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS p(now, word, id)
WHERE e.id = p.id;

-- name: endpoint_takes
UPDATE endpoint e
SET failing_since = NULL
FROM unnest($1::bigint[]) AS p(id)
WHERE e.id = p.id AND e.failing_since IS NOT NULL;

-- name: disable_endpoint
UPDATE endpoint e
SET disabled_at = p.now
FROM unnest($1::bigint[], $2::bigint[]) AS p(now, id)
WHERE e.id = p.id AND e.disabled_at IS NULL;

-- What another node is settling just now is left to it.
-- name: exhaust_waiting
WITH old AS MATERIALIZED (
    SELECT d.id, p.ended_at
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
        AS p(ended_at, endpoint, made_before, now, most)
    CROSS JOIN LATERAL (
        SELECT d.id
        FROM delivery d
        WHERE d.fate = 0 AND d.endpoint = p.endpoint AND d.made_at < p.made_before AND d.claimed_until <= p.now
        ORDER BY d.ready_at
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
)
UPDATE delivery d
SET fate = 2, claimed_until = 0, ended_at = old.ended_at
FROM old
WHERE d.id = old.id
RETURNING d.id;

-- Endpoints ---------------------------------------------------------------------------------------------

-- name: insert_endpoint
INSERT INTO endpoint (account, url, secrets, states, created_at)
SELECT *
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::smallint[], $5::bigint[])
RETURNING id, account, url, secrets, states, created_at, disabled_at, failing_since, word;

-- name: list_endpoints
SELECT p.n, e.id, e.account, e.url, e.secrets, e.states, e.created_at, e.disabled_at, e.failing_since, e.word
FROM unnest($1::bigint[]) WITH ORDINALITY AS p(account, n)
JOIN endpoint e ON e.account = p.account
ORDER BY p.n, e.id;

-- name: find_endpoint
SELECT p.n, e.id, e.account, e.url, e.secrets, e.states, e.created_at, e.disabled_at, e.failing_since, e.word
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(account, id, n)
JOIN endpoint e ON e.account = p.account AND e.id = p.id;

-- The same inside a transaction, held to its end.
-- name: take_endpoint
SELECT e.id, e.account, e.url, e.secrets, e.states, e.created_at, e.disabled_at, e.failing_since, e.word
FROM unnest($1::bigint[], $2::bigint[]) AS p(account, id)
JOIN endpoint e ON e.account = p.account AND e.id = p.id
FOR UPDATE OF e;

-- name: remove_endpoint
DELETE FROM endpoint e
USING unnest($1::bigint[], $2::bigint[]) AS p(account, id)
WHERE e.account = p.account AND e.id = p.id
RETURNING e.id;

-- name: enable_endpoint
UPDATE endpoint e
SET disabled_at = NULL, failing_since = NULL
FROM unnest($1::bigint[], $2::bigint[]) AS p(account, id)
WHERE e.account = p.account AND e.id = p.id
RETURNING e.id;

-- name: set_secrets
UPDATE endpoint e
SET secrets = p.secrets
FROM unnest($1::text[], $2::bigint[]) AS p(secrets, id)
WHERE e.id = p.id;

-- name: replay
WITH again AS MATERIALIZED (
    SELECT d.id, p.now
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS p(now, endpoint, since, most)
    CROSS JOIN LATERAL (
        SELECT d.id
        FROM delivery d
        WHERE d.fate = 2 AND d.endpoint = p.endpoint AND d.made_at >= p.since
        ORDER BY d.made_at
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
)
UPDATE delivery d
SET fate = 0, due_at = again.now, claimed_until = 0, tries = 0, ended_at = NULL
FROM again
WHERE d.id = again.id
RETURNING d.id;

-- The feed ----------------------------------------------------------------------------------------------

-- By (transaction, id), up to the oldest transaction still under way: what commits later comes after. A transaction
-- that stays open, of any database of that server, holds the feed back; it never makes it skip.
-- name: list_events
SELECT p.n, found.*
FROM unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) WITH ORDINALITY
    AS p(reply, account, xact, event, most, n)
CROSS JOIN LATERAL (
    SELECT v.xact, v.id, v.message, v.sequence, v.state, v.at, m.number, m.category, m.test, (
            SELECT r.text
            FROM reply r
            WHERE v.state = p.reply AND r.message = v.message AND r.account = v.account AND r.keyword <> 'STOP'
            ORDER BY r.id
            LIMIT 1
        )
    FROM event v
    JOIN message m ON m.id = v.message
    WHERE v.account = p.account AND (v.xact, v.id) > (p.xact, p.event)
        AND v.xact < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    ORDER BY v.xact, v.id
    LIMIT p.most
) found;

-- name: find_feed_end
SELECT p.n, found.*
FROM unnest($1::bigint[]) WITH ORDINALITY AS p(account, n)
CROSS JOIN LATERAL (
    SELECT v.xact, v.id
    FROM event v
    WHERE v.account = p.account AND v.xact < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    ORDER BY v.xact DESC, v.id DESC
    LIMIT 1
) found;

-- What the passing of time does -------------------------------------------------------------------------

-- name: unwanted_endpoints
WITH RECURSIVE waiting (endpoint) AS (
    SELECT min(d.endpoint)
    FROM delivery d
    WHERE d.fate = 0
    UNION ALL
    SELECT (SELECT min(d.endpoint) FROM delivery d WHERE d.fate = 0 AND d.endpoint > w.endpoint)
    FROM waiting w
    WHERE w.endpoint IS NOT NULL
)
SELECT w.endpoint
FROM waiting w
LEFT JOIN endpoint e ON e.id = w.endpoint
WHERE w.endpoint IS NOT NULL AND (e.id IS NULL OR e.disabled_at IS NOT NULL);

-- name: drop_events
WITH oldest AS MATERIALIZED (
    SELECT d.id
    FROM unnest($1::bigint[], $2::bigint[]) AS p(most, before)
    CROSS JOIN LATERAL (SELECT v.id, v.at FROM event v ORDER BY v.id LIMIT p.most) d
    WHERE d.at <= p.before
)
DELETE FROM event v
USING oldest
WHERE v.id = oldest.id;

-- name: drop_deliveries
WITH oldest AS MATERIALIZED (
    SELECT d.id
    FROM unnest($1::bigint[], $2::bigint[]) AS p(most, before)
    CROSS JOIN LATERAL (SELECT d.id, d.made_at FROM delivery d ORDER BY d.id LIMIT p.most) d
    WHERE d.made_at <= p.before
)
DELETE FROM delivery d
USING oldest
WHERE d.id = oldest.id;
