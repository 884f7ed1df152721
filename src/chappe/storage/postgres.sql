-- The statements of `work`, for PostgreSQL. Each takes all rows of a step at once: every parameter is an array, a column
-- of those rows. Statements that only read give the row's place (n) first, so that each asker is told apart. Columns are
-- named one by one: the next release may add some while this one is running.
--
-- To try one in a shell: PREPARE s AS …; EXECUTE s(ARRAY[…], ARRAY[…]).

-- The lives of messages -------------------------------------------------------------------------------

-- Locks the messages in the order of their ids: two transactions that need the same ones wait, and do not entangle.
-- name: journey_messages
SELECT m.id, m.account, m.number, m.family, m.category, m.campaign, m.sender, m.text, m.parts, m.test, m.policy,
    m.route, m.accepted_at, m.due_at, m.validity_ms, m.previous, m.delivery, m.sent_at, m.delivered_at, m.bounced_at,
    m.error_at, m.opened_at, m.reply_at, m.unsubscribed_at, m.cause, m.in_doubt, m.resent, m.facts, m.events,
    m.wake_at, m.held_by, m.charged, m.cut
FROM unnest($1::bigint[]) AS p(id)
JOIN message m ON m.id = p.id
ORDER BY m.id
FOR UPDATE OF m;

-- name: journey_attempts
SELECT a.message, a.part, a.number, a.connector, a.epoch, a.claimed_at, a.reference, a.flagged, a.outcome,
    a.treatment, a.status, a.carrier_id, a.answered_at, a.verdict, a.verdict_at
FROM unnest($1::bigint[]) AS p(message)
JOIN attempt a ON a.message = p.message
ORDER BY a.message, a.part, a.number;

-- Everything that a fact may change, but for wake_at: setting it would rewrite its index.
-- name: update_message
UPDATE message m
SET delivery = p.delivery, sent_at = p.sent_at, delivered_at = p.delivered_at, bounced_at = p.bounced_at,
    error_at = p.error_at, opened_at = p.opened_at, reply_at = p.reply_at, unsubscribed_at = p.unsubscribed_at,
    cause = p.cause, in_doubt = p.in_doubt, resent = p.resent, facts = p.facts, events = p.events
FROM unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
    $8::bigint[], $9::text[], $10::smallint[], $11::integer[], $12::integer[], $13::smallint[], $14::bigint[])
    AS p(delivery, sent_at, delivered_at, bounced_at, error_at, opened_at, reply_at, unsubscribed_at, cause, in_doubt,
        resent, facts, events, id)
WHERE m.id = p.id;

-- name: update_message_and_wake
UPDATE message m
SET wake_at = p.wake_at, delivery = p.delivery, sent_at = p.sent_at, delivered_at = p.delivered_at,
    bounced_at = p.bounced_at, error_at = p.error_at, opened_at = p.opened_at, reply_at = p.reply_at,
    unsubscribed_at = p.unsubscribed_at, cause = p.cause, in_doubt = p.in_doubt, resent = p.resent, facts = p.facts,
    events = p.events
FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
    $8::bigint[], $9::bigint[], $10::text[], $11::smallint[], $12::integer[], $13::integer[], $14::smallint[],
    $15::bigint[])
    AS p(wake_at, delivery, sent_at, delivered_at, bounced_at, error_at, opened_at, reply_at, unsubscribed_at, cause,
        in_doubt, resent, facts, events, id)
WHERE m.id = p.id;

-- name: update_due
UPDATE message m
SET due_at = p.due_at, held_by = p.held_by
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS p(due_at, held_by, id)
WHERE m.id = p.id;

-- name: update_attempt
UPDATE attempt a
SET outcome = p.outcome, treatment = p.treatment, status = p.status, carrier_id = p.carrier_id,
    answered_at = p.answered_at, verdict = p.verdict, verdict_at = p.verdict_at
FROM unnest($1::smallint[], $2::smallint[], $3::bigint[], $4::text[], $5::bigint[], $6::smallint[], $7::bigint[],
    $8::bigint[], $9::smallint[], $10::integer[])
    AS p(outcome, treatment, status, carrier_id, answered_at, verdict, verdict_at, message, part, number)
WHERE a.message = p.message AND a.part = p.part AND a.number = p.number;

-- name: insert_fact
INSERT INTO fact (message, seq, at, kind, changed, data)
SELECT *
FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::text[], $5::boolean[], $6::text[]);

-- Accepting -------------------------------------------------------------------------------------------

-- In blocks: (the first, how many).
-- name: take_ids
SELECT nextval('message_id'), 1
FROM unnest($1::bigint[]) AS p(count), generate_series(1, p.count);

-- Holds the keys, unknown ones too: of two nodes with one key the second waits here for the first one's answer.
-- name: find_answer
INSERT INTO idempotency (account, key, digest, message, parts, created_at)
SELECT p.account, p.key, '', 0, 0, 0
FROM unnest($1::bigint[], $2::text[]) AS p(account, key)
ON CONFLICT (account, key) DO UPDATE SET key = excluded.key
RETURNING account, key, digest, message, parts, created_at;

-- name: upsert_answer
INSERT INTO idempotency (account, key, digest, message, parts, created_at)
SELECT *
FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bigint[], $5::smallint[], $6::bigint[])
ON CONFLICT (account, key) DO UPDATE
SET digest = excluded.digest, message = excluded.message, parts = excluded.parts, created_at = excluded.created_at;

-- name: list_entries
SELECT e.number, e.test, e.account, e.listing, e.by_message, e.sender
FROM unnest($1::text[], $2::boolean[]) AS p(number, test)
JOIN entry e ON e.number = p.number AND e.test = p.test;

-- name: insert_entry
INSERT INTO entry (number, test, listing, account, by_message, message, category, campaign, at, sender)
SELECT *
FROM unnest($1::text[], $2::boolean[], $3::smallint[], $4::bigint[], $5::boolean[], $6::bigint[], $7::text[],
    $8::text[], $9::bigint[], $10::text[])
ON CONFLICT DO NOTHING;

-- Holds the numbers, those nobody wrote to yet too: the chain of messages to a number is made by one at a time.
-- name: find_latest
INSERT INTO latest AS l (number, account, message)
SELECT p.number, p.account, 0
FROM unnest($1::text[], $2::bigint[]) AS p(number, account)
ON CONFLICT (number, account) DO UPDATE SET message = l.message
RETURNING number, account, nullif(message, 0);

-- name: upsert_latest
UPDATE latest l
SET message = p.message
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS p(number, account, message)
WHERE l.number = p.number AND l.account = p.account;

-- name: insert_message
INSERT INTO message (id, account, number, family, category, campaign, sender, text, parts, test, policy, route,
    accepted_at, due_at, validity_ms, previous, wake_at, held_by, charged, cut)
SELECT *
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::smallint[], $10::boolean[], $11::smallint[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[],
    $16::bigint[], $17::bigint[], $18::text[], $19::smallint[], $20::smallint[]);

-- name: insert_link
INSERT INTO link (token, message, url, expires_at)
SELECT *
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]);

-- The queue -------------------------------------------------------------------------------------------

-- name: queue_part
INSERT INTO queue (message, part, route, class, account, due_at)
SELECT *
FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::smallint[], $5::bigint[], $6::bigint[])
ON CONFLICT (message, part) DO UPDATE SET account = excluded.account, due_at = excluded.due_at;

-- A part that a claim has its hands on is left to it: it will wait for the message that we hold, read it anew, and let
-- go of the part. Waiting for it here would entangle the two.
-- name: unqueue_part
WITH gone AS MATERIALIZED (
    SELECT q.message, q.part
    FROM unnest($1::bigint[], $2::smallint[]) AS p(message, part)
    JOIN queue q ON q.message = p.message AND q.part = p.part
    FOR UPDATE OF q SKIP LOCKED
)
DELETE FROM queue q
USING gone
WHERE q.message = gone.message AND q.part = gone.part;

-- name: unqueue_message
WITH gone AS MATERIALIZED (
    SELECT q.message, q.part
    FROM unnest($1::bigint[]) AS p(message)
    JOIN queue q ON q.message = p.message
    FOR UPDATE OF q SKIP LOCKED
)
DELETE FROM queue q
USING gone
WHERE q.message = gone.message AND q.part = gone.part;

-- The accounts that have something due on a route: first those behind the one given, up to so many. Each is found from
-- the one before it, not among all that waits. Before them 0, if parts have become due that are in no account's lane yet.
-- name: find_waiting
SELECT p.route, p.class, found.account
FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS p(route, class, last, now, most)
CROSS JOIN LATERAL (
    WITH RECURSIVE behind (account) AS (
        SELECT min(q.account) FROM queue q WHERE q.route = p.route AND q.class = p.class AND q.account > p.last
        UNION ALL
        SELECT (
            SELECT min(q.account)
            FROM queue q
            WHERE q.route = p.route AND q.class = p.class AND q.account > b.account
        )
        FROM behind b
        WHERE b.account IS NOT NULL
    ), round (account) AS (
        SELECT min(q.account)
        FROM queue q
        WHERE q.route = p.route AND q.class = p.class AND q.account > 0 AND q.account <= p.last
        UNION ALL
        SELECT (
            SELECT min(q.account)
            FROM queue q
            WHERE q.route = p.route AND q.class = p.class AND q.account > r.account AND q.account <= p.last
        )
        FROM round r
        WHERE r.account IS NOT NULL
    )
    SELECT f.account
    FROM (
        SELECT 0::bigint AS account
        WHERE (
            SELECT min(q.due_at) FROM queue q WHERE q.route = p.route AND q.class = p.class AND q.account = 0
        ) <= p.now
        UNION ALL
        SELECT account FROM behind
        UNION ALL
        SELECT account FROM round
    ) f
    WHERE f.account IS NOT NULL
    LIMIT p.most
) found;

-- Up to so many parts whose time has come join the lanes of their accounts. One without a message is dropped by its claim.
-- name: join_lanes
WITH due AS MATERIALIZED (
    SELECT d.message, d.part
    FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::bigint[]) AS p(route, class, now, most)
    CROSS JOIN LATERAL (
        SELECT q.message, q.part
        FROM queue q
        WHERE q.route = p.route AND q.class = p.class AND q.account = 0 AND q.due_at <= p.now
        ORDER BY q.due_at, q.message, q.part
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
)
UPDATE queue q
SET account = coalesce((SELECT m.account FROM message m WHERE m.id = due.message), 1)
FROM due
WHERE q.message = due.message AND q.part = due.part;

-- Takes the parts of accounts that are due off the queue, those that wait longest: of the messages of some slots, and of
-- all what has been due for a while. They are returned in any order. What another claim takes at the same moment is passed over.
-- name: take_due
WITH due AS MATERIALIZED (
    SELECT d.message, d.part
    FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bigint[]) AS p(route, class, account, now, others_due, first, last, most)
    CROSS JOIN LATERAL (
        SELECT q.message, q.part
        FROM queue q
        WHERE q.route = p.route AND q.class = p.class AND q.account = p.account AND q.due_at <= p.now
            AND (q.due_at <= p.others_due OR q.message * 37 % 100 BETWEEN p.first AND p.last)
        ORDER BY q.due_at, q.message, q.part
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
)
DELETE FROM queue q
USING due
WHERE q.message = due.message AND q.part = due.part
RETURNING q.due_at, q.message, q.part, q.route, q.account;

-- None while the system is on hold.
-- name: find_epoch
SELECT c.epoch
FROM unnest($1::text[]) AS p(name)
JOIN connector c ON c.name = p.name
WHERE NOT EXISTS (SELECT 1 FROM flag f WHERE f.name = 'hold');

-- name: next_epoch
INSERT INTO connector AS c (name, epoch)
SELECT p.name, 1
FROM unnest($1::text[]) AS p(name)
ON CONFLICT (name) DO UPDATE SET epoch = c.epoch + 1, held_until = 0
RETURNING epoch;

-- The store's own time: the nodes' clocks need not agree.
-- name: clock
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint
FROM unnest($1::bigint[]);

-- name: renew_lease
UPDATE connector c
SET held_until = p.held_until
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS p(held_until, name, node, start)
WHERE c.name = p.name AND c.node = p.node AND c.start = p.start AND c.held_until > 0
RETURNING c.epoch;

-- name: find_lease
SELECT c.node, c.held_until
FROM unnest($1::text[]) AS p(name)
JOIN connector c ON c.name = p.name;

-- name: set_lease
UPDATE connector c
SET node = p.node, start = p.start, held_until = p.held_until
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS p(node, start, held_until, name)
WHERE c.name = p.name;

-- name: end_lease
UPDATE connector c
SET held_until = 0
FROM unnest($1::text[], $2::text[], $3::text[]) AS p(name, node, start)
WHERE c.name = p.name AND c.node = p.node AND c.start = p.start;

-- name: upsert_node
INSERT INTO node (name, seen_at)
SELECT *
FROM unnest($1::text[], $2::bigint[])
ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at;

-- name: count_nodes
SELECT (SELECT count(*) FROM node WHERE seen_at > p.since)
FROM unnest($1::bigint[]) AS p(since);

-- Connectors that nobody holds any more, with submits that wait for an answer.
-- name: abandoned_connectors
SELECT c.name
FROM unnest($1::bigint[]) AS p(before)
JOIN connector c ON c.held_until < p.before
WHERE EXISTS (SELECT 1 FROM attempt a WHERE a.connector = c.name AND a.outcome = 0)
ORDER BY c.name;

-- name: pending_attempts
SELECT a.message, a.part, a.number
FROM unnest($1::text[]) AS p(connector)
JOIN attempt a ON a.connector = p.connector AND a.outcome = 0
ORDER BY a.message, a.part, a.number;

-- name: insert_attempt
INSERT INTO attempt (message, part, number, connector, epoch, claimed_at, reference, flagged)
SELECT *
FROM unnest($1::bigint[], $2::smallint[], $3::integer[], $4::text[], $5::bigint[], $6::bigint[], $7::integer[],
    $8::boolean[]);

-- name: delete_attempt
DELETE FROM attempt a
USING unnest($1::bigint[], $2::smallint[], $3::integer[]) AS p(message, part, number)
WHERE a.message = p.message AND a.part = p.part AND a.number = p.number;

-- name: account_settings
SELECT a.id, a.settings
FROM unnest($1::bigint[]) AS p(id)
JOIN account a ON a.id = p.id;

-- Receipts --------------------------------------------------------------------------------------------

-- name: insert_carrier
INSERT INTO carrier (connector, carrier_id, answered_at, message, part, attempt)
SELECT *
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::smallint[], $6::integer[]);

-- name: find_carrier
SELECT p.connector, p.carrier_id, found.message, found.part, found.attempt
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS p(connector, carrier_id, since)
CROSS JOIN LATERAL (
    SELECT c.message, c.part, c.attempt
    FROM carrier c
    WHERE c.connector = p.connector AND c.carrier_id = p.carrier_id AND c.answered_at > p.since
    ORDER BY c.id DESC
    LIMIT 1
) found;

-- name: find_carrier_of_number
SELECT p.connector, p.carrier_id, p.number, found.message, found.part, found.attempt
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS p(connector, carrier_id, number, since)
CROSS JOIN LATERAL (
    SELECT c.message, c.part, c.attempt
    FROM carrier c
    JOIN message m ON m.id = c.message
    WHERE c.connector = p.connector AND c.carrier_id = p.carrier_id AND m.number = p.number
        AND c.answered_at > p.since
    ORDER BY c.id DESC
    LIMIT 1
) found;

-- name: find_doubts
SELECT p.connector, p.reference, p.number, a.message, a.part, a.number
FROM unnest($1::text[], $2::integer[], $3::text[]) AS p(connector, reference, number)
JOIN attempt a ON a.connector = p.connector AND a.reference = p.reference AND a.outcome = 2 AND a.verdict IS NULL
JOIN message m ON m.id = a.message AND m.number = p.number;

-- name: insert_parked
INSERT INTO parked (connector, carrier_id, at, verdict, detail, reference, number, raw)
SELECT *
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::smallint[], $5::text[], $6::integer[], $7::text[], $8::bytea[]);

-- A row if there is any: whether one says that the person has written STOP (verdict 4).
-- name: any_parked
SELECT EXISTS (SELECT 1 FROM parked WHERE verdict = 4)
FROM parked
LIMIT 1;

-- name: find_parked
SELECT k.id, k.connector, k.carrier_id, k.at, k.verdict, k.detail, k.reference, k.number, k.raw
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS p(connector, carrier_id, since)
JOIN parked k ON k.connector = p.connector AND k.carrier_id = p.carrier_id AND k.at > p.since;

-- name: find_parked_by_reference
SELECT k.id, k.connector, k.carrier_id, k.at, k.verdict, k.detail, k.reference, k.number, k.raw
FROM unnest($1::text[], $2::integer[], $3::text[], $4::bigint[]) AS p(connector, reference, number, since)
JOIN parked k ON k.connector = p.connector AND k.reference = p.reference AND k.number = p.number AND k.at > p.since;

-- name: delete_parked
DELETE FROM parked k
USING unnest($1::bigint[]) AS p(id)
WHERE k.id = p.id;

-- What the passing of time does -----------------------------------------------------------------------

-- What another node's sweep looks at, or a fact is changing just now, is left for the next time.
-- name: overdue_messages
WITH overdue AS MATERIALIZED (
    SELECT d.id, d.wake_at
    FROM unnest($1::bigint[], $2::bigint[]) AS p(now, most)
    CROSS JOIN LATERAL (
        SELECT m.id, m.wake_at
        FROM message m
        WHERE m.wake_at <= p.now
        ORDER BY m.wake_at
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
)
SELECT id
FROM overdue
ORDER BY wake_at, id;

-- Only those that nobody is adding a part to; the name that is locked is the one that `receive` locks.
-- name: overdue_replies
WITH overdue AS MATERIALIZED (
    SELECT d.*
    FROM unnest($1::bigint[], $2::bigint[]) AS p(before, most)
    CROSS JOIN LATERAL (
        SELECT r.connector, r.number, r.recipient, r.reference, r.total
        FROM reply_part r
        WHERE r.joined_at IS NULL AND r.at <= p.before
        ORDER BY r.at
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
), apart AS MATERIALIZED (
    SELECT DISTINCT connector, number, recipient, reference, total
    FROM overdue
)
SELECT connector, number, recipient, reference, total
FROM apart
WHERE pg_try_advisory_xact_lock(
    hashtextextended('reply ' || concat_ws('|', connector, number, recipient, reference, total), 0)
);

-- name: drop_carriers
WITH oldest AS MATERIALIZED (
    SELECT d.id
    FROM unnest($1::bigint[], $2::bigint[]) AS p(most, before)
    CROSS JOIN LATERAL (SELECT c.id, c.answered_at FROM carrier c ORDER BY c.id LIMIT p.most) d
    WHERE d.answered_at <= p.before
)
DELETE FROM carrier c
USING oldest
WHERE c.id = oldest.id;

-- name: drop_parked
WITH oldest AS MATERIALIZED (
    SELECT d.id
    FROM unnest($1::bigint[], $2::bigint[]) AS p(most, before)
    CROSS JOIN LATERAL (SELECT k.id, k.at FROM parked k ORDER BY k.id LIMIT p.most) d
    WHERE d.at <= p.before
)
DELETE FROM parked k
USING oldest
WHERE k.id = oldest.id;

-- A key that a send holds just now is not old, whatever its row says.
-- name: drop_answers
WITH oldest AS MATERIALIZED (
    SELECT d.account, d.key
    FROM unnest($1::bigint[], $2::bigint[]) AS p(before, most)
    CROSS JOIN LATERAL (
        SELECT i.account, i.key
        FROM idempotency i
        WHERE i.created_at <= p.before
        ORDER BY i.created_at
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
)
DELETE FROM idempotency i
USING oldest
WHERE i.account = oldest.account AND i.key = oldest.key;

-- name: drop_reply_parts
WITH oldest AS MATERIALIZED (
    SELECT d.*
    FROM unnest($1::bigint[], $2::bigint[]) AS p(before, most)
    CROSS JOIN LATERAL (
        SELECT r.connector, r.number, r.recipient, r.reference, r.total, r.sequence
        FROM reply_part r
        WHERE r.joined_at <= p.before
        ORDER BY r.joined_at
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
)
DELETE FROM reply_part r
USING oldest o
WHERE r.connector = o.connector AND r.number = o.number AND r.recipient = o.recipient AND r.reference = o.reference
    AND r.total = o.total AND r.sequence = o.sequence;

-- What recipients do ----------------------------------------------------------------------------------

-- name: insert_reply_part
INSERT INTO reply_part (connector, number, recipient, reference, total, sequence, octets, data_coding, at)
SELECT *
FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::smallint[], $6::smallint[], $7::bytea[],
    $8::smallint[], $9::bigint[])
ON CONFLICT DO NOTHING;

-- name: count_reply_parts
SELECT count(r.at), count(r.joined_at)
FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::smallint[])
    AS p(connector, number, recipient, reference, total)
JOIN reply_part r ON r.connector = p.connector AND r.number = p.number AND r.recipient = p.recipient
    AND r.reference = p.reference AND r.total = p.total;

-- name: reply_parts
SELECT r.sequence, r.octets, r.data_coding, r.at
FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::smallint[])
    AS p(connector, number, recipient, reference, total)
JOIN reply_part r ON r.connector = p.connector AND r.number = p.number AND r.recipient = p.recipient
    AND r.reference = p.reference AND r.total = p.total
ORDER BY r.sequence;

-- name: find_reply_part
SELECT r.octets, r.joined_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::smallint[], $6::smallint[])
    AS p(connector, number, recipient, reference, total, sequence)
JOIN reply_part r ON r.connector = p.connector AND r.number = p.number AND r.recipient = p.recipient
    AND r.reference = p.reference AND r.total = p.total AND r.sequence = p.sequence;

-- name: forget_reply_parts
DELETE FROM reply_part r
USING unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::smallint[])
    AS p(connector, number, recipient, reference, total)
WHERE r.connector = p.connector AND r.number = p.number AND r.recipient = p.recipient
    AND r.reference = p.reference AND r.total = p.total;

-- name: mark_reply_parts
UPDATE reply_part r
SET joined_at = p.joined_at
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::smallint[])
    AS p(joined_at, connector, number, recipient, reference, total)
WHERE r.connector = p.connector AND r.number = p.number AND r.recipient = p.recipient
    AND r.reference = p.reference AND r.total = p.total;

-- The message handed over last to that person through that connector: first of those whose sender is the address that
-- was answered, then of all. Looks back over each account's messages to the number until 20 were handed over; what is
-- only scheduled hides nothing. EXISTS would be planned as a hash of every attempt of the connector.
-- name: find_answered
SELECT found.id, found.account
FROM unnest($1::text[], $2::text[], $3::text[]) AS p(number, connector, recipient)
CROSS JOIN LATERAL (
    WITH RECURSIVE chain (id, previous, steps, handed_over) AS (
        SELECT m.id, m.previous, 1, 0
        FROM latest l
        JOIN message m ON m.id = l.message
        WHERE l.number = p.number
        UNION ALL
        SELECT m.id, m.previous, c.steps + 1,
            c.handed_over + coalesce((
                SELECT 1
                FROM attempt a
                WHERE a.message = c.id AND a.connector = p.connector
                LIMIT 1
            ), 0)
        FROM chain c
        JOIN message m ON m.id = c.previous
        WHERE c.handed_over < 20 AND c.steps < 1000
    )
    SELECT m.id, m.account
    FROM chain c
    JOIN message m ON m.id = c.id
    JOIN attempt a ON a.message = m.id
    WHERE a.connector = p.connector AND (a.outcome IN (0, 1, 2, 4) OR a.verdict IS NOT NULL)
    GROUP BY m.id, m.account, m.sender
    ORDER BY coalesce(m.sender = p.recipient, false) DESC, max(a.claimed_at) DESC, m.id DESC
    LIMIT 1
) found;

-- name: insert_reply
INSERT INTO reply (account, number, recipient, text, keyword, at, message, complete, connector, test, category, campaign)
SELECT *
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::boolean[],
    $9::text[], $10::boolean[], $11::text[], $12::text[])
RETURNING id;

-- The account's messages to a number of which something waits, from the latest one 1,000 messages back.
-- name: find_queued
SELECT found.id
FROM unnest($1::text[], $2::bigint[]) AS p(number, account)
CROSS JOIN LATERAL (
    WITH RECURSIVE chain (id, previous, steps) AS (
        SELECT m.id, m.previous, 1
        FROM latest l
        JOIN message m ON m.id = l.message
        WHERE l.number = p.number AND l.account = p.account
        UNION ALL
        SELECT m.id, m.previous, c.steps + 1
        FROM chain c
        JOIN message m ON m.id = c.previous
        WHERE c.steps < 1000
    )
    SELECT c.id
    FROM chain c
    WHERE (SELECT 1 FROM queue q WHERE q.message = c.id LIMIT 1) IS NOT NULL
) found;

-- Accounts and keys -----------------------------------------------------------------------------------

-- name: open_account
INSERT INTO account (name, created_at)
SELECT *
FROM unnest($1::text[], $2::bigint[])
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING id, name, blocked, settings, limits;

-- name: find_account
SELECT p.n, a.id, a.name, a.blocked, a.settings, a.limits
FROM unnest($1::text[]) WITH ORDINALITY AS p(name, n)
JOIN account a ON a.name = p.name;

-- name: save_settings
UPDATE account a
SET settings = p.settings
FROM unnest($1::text[], $2::bigint[]) AS p(settings, id)
WHERE a.id = p.id;

-- name: insert_key
INSERT INTO api_key (account, digest, test, hint, created_at)
SELECT *
FROM unnest($1::bigint[], $2::bytea[], $3::boolean[], $4::text[], $5::bigint[])
RETURNING id;

-- name: revoke_key
UPDATE api_key k
SET revoked_at = p.revoked_at
FROM unnest($1::bigint[], $2::bigint[]) AS p(revoked_at, id)
WHERE k.id = p.id AND k.revoked_at IS NULL
RETURNING k.id;

-- name: list_keys
SELECT k.id, k.test, k.hint, k.created_at, k.revoked_at, a.id, a.name, a.blocked, a.settings, a.limits
FROM api_key k
JOIN account a ON a.id = k.account
ORDER BY k.id;

-- name: find_key
SELECT p.n, k.id, k.test, k.hint, k.created_at, k.revoked_at, a.id, a.name, a.blocked, a.settings, a.limits
FROM unnest($1::bytea[]) WITH ORDINALITY AS p(digest, n)
JOIN api_key k ON k.digest = p.digest AND k.revoked_at IS NULL
JOIN account a ON a.id = k.account;

-- name: find_account_by_id
SELECT a.id, a.name, a.blocked, a.settings, a.limits
FROM unnest($1::bigint[]) AS p(id)
JOIN account a ON a.id = p.id;

-- Reading: at most two rows deep, each naming its account ---------------------------------------------

-- name: find_message
SELECT p.n, m.id, m.account, m.number, m.family, m.category, m.campaign, m.sender, m.text, m.parts, m.test, m.policy,
    m.route, m.accepted_at, m.due_at, m.validity_ms, m.previous, m.delivery, m.sent_at, m.delivered_at, m.bounced_at,
    m.error_at, m.opened_at, m.reply_at, m.unsubscribed_at, m.cause, m.in_doubt, m.resent, m.facts, m.events,
    m.wake_at, m.held_by, m.charged, m.cut
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(id, account, n)
JOIN message m ON m.id = p.id AND m.account = p.account;

-- The message beside each of its attempts.
-- name: find_journey
SELECT p.n, m.id, m.account, m.number, m.family, m.category, m.campaign, m.sender, m.text, m.parts, m.test, m.policy,
    m.route, m.accepted_at, m.due_at, m.validity_ms, m.previous, m.delivery, m.sent_at, m.delivered_at, m.bounced_at,
    m.error_at, m.opened_at, m.reply_at, m.unsubscribed_at, m.cause, m.in_doubt, m.resent, m.facts, m.events,
    m.wake_at, m.held_by, m.charged, m.cut,
    a.message, a.part, a.number, a.connector, a.epoch, a.claimed_at, a.reference, a.flagged, a.outcome, a.treatment,
    a.status, a.carrier_id, a.answered_at, a.verdict, a.verdict_at
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(id, account, n)
JOIN message m ON m.id = p.id AND m.account = p.account
LEFT JOIN attempt a ON a.message = m.id
ORDER BY p.n, a.part, a.number;

-- name: find_latest_message
SELECT p.n, m.id, m.account, m.number, m.family, m.category, m.campaign, m.sender, m.text, m.parts, m.test, m.policy,
    m.route, m.accepted_at, m.due_at, m.validity_ms, m.previous, m.delivery, m.sent_at, m.delivered_at, m.bounced_at,
    m.error_at, m.opened_at, m.reply_at, m.unsubscribed_at, m.cause, m.in_doubt, m.resent, m.facts, m.events,
    m.wake_at, m.held_by, m.charged, m.cut
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS p(number, account, n)
JOIN latest l ON l.number = p.number AND l.account = p.account
JOIN message m ON m.id = l.message;

-- The first reply to a message that is not STOP.
-- name: find_reply
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(message, account, n)
CROSS JOIN LATERAL (
    SELECT r.id, r.account, r.number, r.recipient, r.text, r.keyword, r.at, r.message, r.complete
    FROM reply r
    WHERE r.message = p.message AND r.account = p.account AND r.keyword <> 'STOP'
    ORDER BY r.id
    LIMIT 1
) found;

-- name: next_due
SELECT p.n, found.due_at
FROM unnest($1::text[]) WITH ORDINALITY AS p(route, n)
CROSS JOIN LATERAL (
    WITH RECURSIVE lane (class, account) AS (
        SELECT family.class, (SELECT min(q.account) FROM queue q WHERE q.route = p.route AND q.class = family.class)
        FROM (VALUES (0::smallint), (1::smallint)) AS family(class)
        UNION ALL
        SELECT l.class, (
            SELECT min(q.account)
            FROM queue q
            WHERE q.route = p.route AND q.class = l.class AND q.account > l.account
        )
        FROM lane l
        WHERE l.account IS NOT NULL
    )
    SELECT min((
        SELECT min(q.due_at) FROM queue q WHERE q.route = p.route AND q.class = l.class AND q.account = l.account
    )) AS due_at
    FROM lane l
) found
WHERE NOT EXISTS (SELECT 1 FROM flag f WHERE f.name = 'hold');

-- Each found from the one before it, not among all that waits.
-- name: list_routes
WITH RECURSIVE found (route) AS (
    SELECT min(q.route) FROM queue q
    UNION ALL
    SELECT (SELECT min(q.route) FROM queue q WHERE q.route > f.route) FROM found f WHERE f.route IS NOT NULL
)
SELECT f.route
FROM found f
WHERE f.route IS NOT NULL;

-- name: count_queued
SELECT count(*)
FROM queue;

-- name: count_pending
SELECT count(*)
FROM attempt
WHERE outcome = 0;

-- name: count_in_doubt
SELECT count(*)
FROM attempt
WHERE outcome = 2 AND verdict IS NULL;

-- name: count_parked
SELECT count(*)
FROM parked;
