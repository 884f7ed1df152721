-- The statements of `work`, for SQLite. Parameters are numbered in the order of their first use.

-- The lives of messages -------------------------------------------------------------------------------

-- name: journey_messages
SELECT id, account, number, family, category, campaign, sender, text, parts, test, policy, route, accepted_at, due_at,
    validity_ms, previous, delivery, sent_at, delivered_at, bounced_at, error_at, opened_at, reply_at,
    unsubscribed_at, cause, in_doubt, resent, facts, events, wake_at, held_by, charged, cut
FROM message
WHERE id IN (VALUES ($1));

-- name: journey_attempts
SELECT message, part, number, connector, epoch, claimed_at, reference, flagged, outcome, treatment, status, carrier_id,
    answered_at, verdict, verdict_at
FROM attempt
WHERE message IN (VALUES ($1))
ORDER BY message, part, number;

-- Everything that a fact may change, but for wake_at: setting it would rewrite its index.
-- name: update_message
UPDATE message
SET delivery = v.column1, sent_at = v.column2, delivered_at = v.column3, bounced_at = v.column4, error_at = v.column5,
    opened_at = v.column6, reply_at = v.column7, unsubscribed_at = v.column8, cause = v.column9,
    in_doubt = v.column10, resent = v.column11, facts = v.column12, events = v.column13
FROM (VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)) AS v
WHERE id = v.column14;

-- name: update_message_and_wake
UPDATE message
SET wake_at = v.column1, delivery = v.column2, sent_at = v.column3, delivered_at = v.column4, bounced_at = v.column5,
    error_at = v.column6, opened_at = v.column7, reply_at = v.column8, unsubscribed_at = v.column9, cause = v.column10,
    in_doubt = v.column11, resent = v.column12, facts = v.column13, events = v.column14
FROM (VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)) AS v
WHERE id = v.column15;

-- name: update_due
UPDATE message
SET due_at = $1, held_by = $2
WHERE id = $3;

-- name: update_attempt
UPDATE attempt
SET outcome = v.column1, treatment = v.column2, status = v.column3, carrier_id = v.column4, answered_at = v.column5,
    verdict = v.column6, verdict_at = v.column7
FROM (VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)) AS v
WHERE message = v.column8 AND part = v.column9 AND number = v.column10;

-- name: insert_fact
INSERT INTO fact (message, seq, at, kind, changed, data)
VALUES ($1, $2, $3, $4, $5, $6);

-- Accepting -------------------------------------------------------------------------------------------

-- In blocks: (the first, how many).
-- name: take_ids
UPDATE sequence
SET next = next + $1
WHERE name = 'message'
RETURNING next - $1, $1;

-- name: find_answer
SELECT account, key, digest, message, parts, created_at
FROM idempotency
WHERE (account, key) IN (VALUES ($1, $2));

-- name: upsert_answer
INSERT INTO idempotency (account, key, digest, message, parts, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (account, key) DO UPDATE
SET digest = excluded.digest, message = excluded.message, parts = excluded.parts, created_at = excluded.created_at;

-- name: list_entries
SELECT number, test, account, listing, by_message, sender
FROM entry
WHERE (number, test) IN (VALUES ($1, $2));

-- name: insert_entry
INSERT INTO entry (number, test, listing, account, by_message, message, category, campaign, at, sender)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT DO NOTHING;

-- name: find_latest
SELECT number, account, message
FROM latest
WHERE (number, account) IN (VALUES ($1, $2));

-- name: upsert_latest
INSERT INTO latest (number, account, message)
VALUES ($1, $2, $3)
ON CONFLICT (number, account) DO UPDATE SET message = excluded.message;

-- name: insert_message
INSERT INTO message (id, account, number, family, category, campaign, sender, text, parts, test, policy, route,
    accepted_at, due_at, validity_ms, previous, wake_at, held_by, charged, cut)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20);

-- name: insert_link
INSERT INTO link (token, message, url, expires_at)
VALUES ($1, $2, $3, $4);

-- The queue -------------------------------------------------------------------------------------------

-- name: queue_part
INSERT INTO queue (message, part, route, class, account, due_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (message, part) DO UPDATE SET account = excluded.account, due_at = excluded.due_at;

-- name: unqueue_part
DELETE FROM queue
WHERE message = $1 AND part = $2;

-- name: unqueue_message
DELETE FROM queue
WHERE message = $1;

-- The accounts that have something due on a route: first those behind the one given, up to so many. Each is found from
-- the one before it, not among all that waits. Before them 0, if parts have become due that are in no account's lane yet.
-- name: find_waiting
WITH RECURSIVE behind (account) AS (
    SELECT min(account) FROM queue WHERE route = $1 AND class = $2 AND account > $3
    UNION ALL
    SELECT (SELECT min(q.account) FROM queue q WHERE q.route = $1 AND q.class = $2 AND q.account > b.account)
    FROM behind b
    WHERE b.account IS NOT NULL
), round (account) AS (
    SELECT min(account) FROM queue WHERE route = $1 AND class = $2 AND account > 0 AND account <= $3
    UNION ALL
    SELECT (
        SELECT min(q.account)
        FROM queue q
        WHERE q.route = $1 AND q.class = $2 AND q.account > r.account AND q.account <= $3
    )
    FROM round r
    WHERE r.account IS NOT NULL
)
SELECT $1, $2, f.account
FROM (
    SELECT 0 AS account
    WHERE (SELECT min(due_at) FROM queue WHERE route = $1 AND class = $2 AND account = 0) <= $4
    UNION ALL
    SELECT account FROM behind
    UNION ALL
    SELECT account FROM round
) f
WHERE f.account IS NOT NULL
LIMIT $5;

-- Up to so many parts whose time has come join the lanes of their accounts. One without a message is dropped by its claim.
-- name: join_lanes
UPDATE queue
SET account = coalesce((SELECT m.account FROM message m WHERE m.id = queue.message), 1)
WHERE (message, part) IN (
    SELECT message, part
    FROM queue
    WHERE route = $1 AND class = $2 AND account = 0 AND due_at <= $3
    ORDER BY due_at, message, part
    LIMIT $4
);

-- Takes the parts of one account that are due off the queue, those that wait longest: of the messages of some slots, and
-- of all what has been due for a while. They are returned in any order.
-- name: take_due
DELETE FROM queue
WHERE (message, part) IN (
    SELECT message, part
    FROM queue
    WHERE route = $1 AND class = $2 AND account = $3 AND due_at <= $4
        AND (due_at <= $5 OR message * 37 % 100 BETWEEN $6 AND $7)
    ORDER BY due_at, message, part
    LIMIT $8
)
RETURNING due_at, message, part, route, account;

-- None while the system is on hold.
-- name: find_epoch
SELECT epoch
FROM connector
WHERE name = $1 AND NOT EXISTS (SELECT 1 FROM flag WHERE name = 'hold');

-- name: next_epoch
INSERT INTO connector (name, epoch)
VALUES ($1, 1)
ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1, held_until = 0
RETURNING epoch;

-- The store's own time, for leases; here it is the asker's.
-- name: clock
SELECT $1;

-- name: renew_lease
UPDATE connector
SET held_until = $1
WHERE name = $2 AND node = $3 AND start = $4 AND held_until > 0
RETURNING epoch;

-- name: find_lease
SELECT node, held_until
FROM connector
WHERE name = $1;

-- name: set_lease
UPDATE connector
SET node = $1, start = $2, held_until = $3
WHERE name = $4;

-- name: end_lease
UPDATE connector
SET held_until = 0
WHERE name = $1 AND node = $2 AND start = $3;

-- name: upsert_node
INSERT INTO node (name, seen_at)
VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at;

-- name: count_nodes
SELECT count(*)
FROM node
WHERE seen_at > $1;

-- Connectors that nobody holds any more, with submits that wait for an answer.
-- name: abandoned_connectors
SELECT c.name
FROM connector c
WHERE c.held_until < $1 AND EXISTS (SELECT 1 FROM attempt a WHERE a.connector = c.name AND a.outcome = 0)
ORDER BY c.name;

-- name: pending_attempts
SELECT message, part, number
FROM attempt
WHERE connector = $1 AND outcome = 0
ORDER BY message, part, number;

-- name: insert_attempt
INSERT INTO attempt (message, part, number, connector, epoch, claimed_at, reference, flagged)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: delete_attempt
DELETE FROM attempt
WHERE message = $1 AND part = $2 AND number = $3;

-- name: account_settings
SELECT id, settings
FROM account
WHERE id = $1;

-- Receipts --------------------------------------------------------------------------------------------

-- name: insert_carrier
INSERT INTO carrier (connector, carrier_id, answered_at, message, part, attempt)
VALUES ($1, $2, $3, $4, $5, $6);

-- name: find_carrier
SELECT c.connector, c.carrier_id, c.message, c.part, c.attempt
FROM (VALUES ($1, $2, $3)) AS v
CROSS JOIN carrier c ON c.id = (
    SELECT id
    FROM carrier
    WHERE connector = v.column1 AND carrier_id = v.column2 AND answered_at > v.column3
    ORDER BY id DESC
    LIMIT 1
);

-- name: find_carrier_of_number
SELECT c.connector, c.carrier_id, m.number, c.message, c.part, c.attempt
FROM carrier c
JOIN message m ON m.id = c.message
WHERE c.connector = $1 AND c.carrier_id = $2 AND m.number = $3 AND c.answered_at > $4
ORDER BY c.id DESC
LIMIT 1;

-- name: find_doubts
SELECT a.connector, a.reference, m.number, a.message, a.part, a.number
FROM attempt a
JOIN message m ON m.id = a.message
WHERE a.connector = $1 AND a.reference = $2 AND a.outcome = 2 AND a.verdict IS NULL AND m.number = $3;

-- name: insert_parked
INSERT INTO parked (connector, carrier_id, at, verdict, detail, reference, number, raw)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- A row if there is any: whether one says that the person has written STOP (verdict 4).
-- name: any_parked
SELECT EXISTS (SELECT 1 FROM parked WHERE verdict = 4)
FROM parked
LIMIT 1;

-- name: find_parked
SELECT id, connector, carrier_id, at, verdict, detail, reference, number, raw
FROM parked
WHERE connector = $1 AND carrier_id = $2 AND at > $3;

-- name: find_parked_by_reference
SELECT id, connector, carrier_id, at, verdict, detail, reference, number, raw
FROM parked
WHERE connector = $1 AND reference = $2 AND number = $3 AND at > $4;

-- name: delete_parked
DELETE FROM parked
WHERE id = $1;

-- What the passing of time does -----------------------------------------------------------------------

-- name: overdue_messages
SELECT id
FROM message
WHERE wake_at <= $1
ORDER BY wake_at
LIMIT $2;

-- name: overdue_replies
SELECT connector, number, recipient, reference, total
FROM reply_part
WHERE joined_at IS NULL
GROUP BY connector, number, recipient, reference, total
HAVING min(at) <= $1
LIMIT $2;

-- name: drop_carriers
DELETE FROM carrier
WHERE id IN (SELECT id FROM carrier ORDER BY id LIMIT $1) AND answered_at <= $2;

-- name: drop_parked
DELETE FROM parked
WHERE id IN (SELECT id FROM parked ORDER BY id LIMIT $1) AND at <= $2;

-- name: drop_answers
DELETE FROM idempotency
WHERE (account, key) IN (SELECT account, key FROM idempotency WHERE created_at <= $1 ORDER BY created_at LIMIT $2);

-- name: drop_reply_parts
DELETE FROM reply_part
WHERE (connector, number, recipient, reference, total, sequence) IN (
    SELECT connector, number, recipient, reference, total, sequence
    FROM reply_part
    WHERE joined_at <= $1
    LIMIT $2
);

-- What recipients do ----------------------------------------------------------------------------------

-- name: insert_reply_part
INSERT INTO reply_part (connector, number, recipient, reference, total, sequence, octets, data_coding, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT DO NOTHING;

-- name: count_reply_parts
SELECT count(*), count(joined_at)
FROM reply_part
WHERE connector = $1 AND number = $2 AND recipient = $3 AND reference = $4 AND total = $5;

-- name: reply_parts
SELECT sequence, octets, data_coding, at
FROM reply_part
WHERE connector = $1 AND number = $2 AND recipient = $3 AND reference = $4 AND total = $5
ORDER BY sequence;

-- name: find_reply_part
SELECT octets, joined_at
FROM reply_part
WHERE connector = $1 AND number = $2 AND recipient = $3 AND reference = $4 AND total = $5 AND sequence = $6;

-- name: forget_reply_parts
DELETE FROM reply_part
WHERE connector = $1 AND number = $2 AND recipient = $3 AND reference = $4 AND total = $5;

-- name: mark_reply_parts
UPDATE reply_part
SET joined_at = $1
WHERE connector = $2 AND number = $3 AND recipient = $4 AND reference = $5 AND total = $6;

-- The message handed over last to that person through that connector: first of those whose sender is the address that
-- was answered, then of all. Looks back over each account's messages to the number until 20 were handed over; what is
-- only scheduled hides nothing.
-- name: find_answered
WITH RECURSIVE chain (id, previous, steps, handed_over) AS (
    SELECT m.id, m.previous, 1, 0
    FROM latest l
    JOIN message m ON m.id = l.message
    WHERE l.number = $1
    UNION ALL
    SELECT m.id, m.previous, c.steps + 1,
        c.handed_over + CASE WHEN EXISTS (
            SELECT 1
            FROM attempt a
            WHERE a.message = c.id AND a.connector = $2
        ) THEN 1 ELSE 0 END
    FROM chain c
    JOIN message m ON m.id = c.previous
    WHERE c.handed_over < 20 AND c.steps < 1000
)
SELECT m.id, m.account
FROM chain c
JOIN message m ON m.id = c.id
JOIN attempt a ON a.message = m.id
WHERE a.connector = $2 AND (a.outcome IN (0, 1, 2, 4) OR a.verdict IS NOT NULL)
GROUP BY m.id, m.account, m.sender
ORDER BY coalesce(m.sender = $3, 0) DESC, max(a.claimed_at) DESC, m.id DESC
LIMIT 1;

-- name: insert_reply
INSERT INTO reply (account, number, recipient, text, keyword, at, message, complete, connector, test, category, campaign)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
RETURNING id;

-- The account's messages to a number of which something waits, from the latest one 1,000 messages back.
-- name: find_queued
WITH RECURSIVE chain (id, previous, steps) AS (
    SELECT m.id, m.previous, 1
    FROM latest l
    JOIN message m ON m.id = l.message
    WHERE l.number = $1 AND l.account = $2
    UNION ALL
    SELECT m.id, m.previous, c.steps + 1
    FROM chain c
    JOIN message m ON m.id = c.previous
    WHERE c.steps < 1000
)
SELECT c.id
FROM chain c
WHERE EXISTS (SELECT 1 FROM queue q WHERE q.message = c.id);

-- Accounts and keys -----------------------------------------------------------------------------------

-- name: open_account
INSERT INTO account (name, created_at)
VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING id, name, blocked, settings, limits;

-- name: find_account
SELECT id, name, blocked, settings, limits
FROM account
WHERE name = $1;

-- name: save_settings
UPDATE account
SET settings = $1
WHERE id = $2;

-- name: insert_key
INSERT INTO api_key (account, digest, test, hint, created_at)
VALUES ($1, $2, $3, $4, $5)
RETURNING id;

-- name: revoke_key
UPDATE api_key
SET revoked_at = $1
WHERE id = $2 AND revoked_at IS NULL
RETURNING id;

-- name: list_keys
SELECT k.id, k.test, k.hint, k.created_at, k.revoked_at, a.id, a.name, a.blocked, a.settings, a.limits
FROM api_key k
JOIN account a ON a.id = k.account
ORDER BY k.id;

-- name: find_key
SELECT k.id, k.test, k.hint, k.created_at, k.revoked_at, a.id, a.name, a.blocked, a.settings, a.limits
FROM api_key k
JOIN account a ON a.id = k.account
WHERE k.digest = $1 AND k.revoked_at IS NULL;

-- name: find_account_by_id
SELECT id, name, blocked, settings, limits
FROM account
WHERE id = $1;

-- Reading: at most two rows deep, each naming its account ---------------------------------------------

-- name: find_message
SELECT id, account, number, family, category, campaign, sender, text, parts, test, policy, route, accepted_at, due_at,
    validity_ms, previous, delivery, sent_at, delivered_at, bounced_at, error_at, opened_at, reply_at,
    unsubscribed_at, cause, in_doubt, resent, facts, events, wake_at, held_by, charged, cut
FROM (VALUES ($1, $2)) AS p
CROSS JOIN message ON id = p.column1 AND account = p.column2;

-- The message beside each of its attempts.
-- name: find_journey
SELECT m.id, m.account, m.number, m.family, m.category, m.campaign, m.sender, m.text, m.parts, m.test, m.policy,
    m.route, m.accepted_at, m.due_at, m.validity_ms, m.previous, m.delivery, m.sent_at, m.delivered_at,
    m.bounced_at, m.error_at, m.opened_at, m.reply_at, m.unsubscribed_at, m.cause, m.in_doubt, m.resent,
    m.facts, m.events, m.wake_at, m.held_by, m.charged, m.cut, a.message, a.part, a.number, a.connector, a.epoch,
    a.claimed_at, a.reference, a.flagged, a.outcome, a.treatment, a.status, a.carrier_id, a.answered_at,
    a.verdict, a.verdict_at
FROM message m
LEFT JOIN attempt a ON a.message = m.id
WHERE m.id = $1 AND m.account = $2
ORDER BY a.part, a.number;

-- name: find_latest_message
SELECT m.id, m.account, m.number, m.family, m.category, m.campaign, m.sender, m.text, m.parts, m.test, m.policy,
    m.route, m.accepted_at, m.due_at, m.validity_ms, m.previous, m.delivery, m.sent_at, m.delivered_at,
    m.bounced_at, m.error_at, m.opened_at, m.reply_at, m.unsubscribed_at, m.cause, m.in_doubt, m.resent,
    m.facts, m.events, m.wake_at, m.held_by, m.charged, m.cut
FROM (VALUES ($1, $2)) AS p
CROSS JOIN latest l ON l.number = p.column1 AND l.account = p.column2
JOIN message m ON m.id = l.message;

-- The first reply to a message that is not STOP.
-- name: find_reply
SELECT id, account, number, recipient, text, keyword, at, message, complete
FROM reply
WHERE message = $1 AND account = $2 AND keyword <> 'STOP'
ORDER BY id
LIMIT 1;

-- name: next_due
WITH RECURSIVE lane (class, account) AS (
    SELECT family.class, (SELECT min(account) FROM queue WHERE route = $1 AND class = family.class)
    FROM (SELECT 0 AS class UNION ALL SELECT 1) family
    UNION ALL
    SELECT l.class, (
        SELECT min(q.account) FROM queue q WHERE q.route = $1 AND q.class = l.class AND q.account > l.account
    )
    FROM lane l
    WHERE l.account IS NOT NULL
)
SELECT min((
    SELECT min(q.due_at) FROM queue q WHERE q.route = $1 AND q.class = l.class AND q.account = l.account
))
FROM lane l
WHERE NOT EXISTS (SELECT 1 FROM flag WHERE name = 'hold');

-- Each found from the one before it, not among all that waits.
-- name: list_routes
WITH RECURSIVE found (route) AS (
    SELECT min(route) FROM queue
    UNION ALL
    SELECT (SELECT min(q.route) FROM queue q WHERE q.route > found.route) FROM found WHERE found.route IS NOT NULL
)
SELECT route
FROM found
WHERE route IS NOT NULL;

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
