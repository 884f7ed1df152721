-- The statements of `campaigns`, for PostgreSQL, and those by which `work` keeps their parts back; over arrays, as in
-- postgres.sql.

-- name: insert_campaign
INSERT INTO campaign (account, test, family, name, text, list, created_at, sender, category, date, type, flash,
    clean_bounces, clean_unsubscribers, keep_list, external_url)
SELECT *
FROM unnest($1::bigint[], $2::boolean[], $3::smallint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
    $8::text[], $9::text[], $10::bigint[], $11::text[], $12::boolean[], $13::boolean[], $14::boolean[],
    $15::boolean[], $16::text[])
RETURNING id;

-- Whoever changes a campaign, or stores messages of it, has it to himself until his transaction ends.
-- name: lock_campaign
SELECT c.id, c.account, c.test, c.family, c.name, c.text, c.list, c.created_at, c.sender, c.category, c.date, c.type, c.flash,
    c.clean_bounces, c.clean_unsubscribers, c.keep_list, c.external_url, c.state, c.route, c.simulated, c.validity_ms, c.link_base,
    c.credits, c.started_at, c.ended_at, c.cursor, c.expanded, c.recipients, c.stored, c.credits_stored, c.left_out,
    c.first_message, c.last_message, c.cancelled_to, c.cancelled
FROM unnest($1::bigint[], $2::bigint[]) AS p(id, account)
JOIN campaign c ON c.id = p.id AND c.account = p.account AND c.deleted_at IS NULL
ORDER BY c.id
FOR UPDATE OF c;

-- name: find_campaign
SELECT p.n, c.id, c.account, c.test, c.family, c.name, c.text, c.list, c.created_at, c.sender, c.category, c.date, c.type, c.flash,
    c.clean_bounces, c.clean_unsubscribers, c.keep_list, c.external_url, c.state, c.route, c.simulated, c.validity_ms, c.link_base,
    c.credits, c.started_at, c.ended_at, c.cursor, c.expanded, c.recipients, c.stored, c.credits_stored, c.left_out,
    c.first_message, c.last_message, c.cancelled_to, c.cancelled
FROM unnest($1::bigint[], $2::bigint[], $3::boolean[]) WITH ORDINALITY AS p(id, account, test, n)
JOIN campaign c ON c.id = p.id AND c.account = p.account AND c.test = p.test AND c.deleted_at IS NULL;

-- The newest first, below an id.
-- name: list_campaigns
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::bigint[])
    WITH ORDINALITY AS p(account, test, before, most, n)
CROSS JOIN LATERAL (
    SELECT c.id, c.account, c.test, c.family, c.name, c.text, c.list, c.created_at, c.sender, c.category, c.date, c.type, c.flash,
        c.clean_bounces, c.clean_unsubscribers, c.keep_list, c.external_url, c.state, c.route, c.simulated, c.validity_ms, c.link_base,
        c.credits, c.started_at, c.ended_at, c.cursor, c.expanded, c.recipients, c.stored, c.credits_stored, c.left_out,
        c.first_message, c.last_message, c.cancelled_to, c.cancelled
    FROM campaign c
    WHERE c.account = p.account AND c.test = p.test AND c.deleted_at IS NULL AND c.id < p.before
    ORDER BY c.id DESC
    LIMIT p.most
) found;

-- name: update_campaign_state
UPDATE campaign c
SET state = p.state, started_at = p.started_at, ended_at = p.ended_at, cancelled_to = p.cancelled_to,
    wake_at = p.wake_at
FROM unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
    AS p(state, started_at, ended_at, cancelled_to, wake_at, id, account)
WHERE c.id = p.id AND c.account = p.account;

-- name: fix_campaign_sending
UPDATE campaign c
SET route = p.route, simulated = p.simulated, validity_ms = p.validity_ms, link_base = p.link_base,
    credits = p.credits
FROM unnest($1::text[], $2::boolean[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[])
    AS p(route, simulated, validity_ms, link_base, credits, id, account)
WHERE c.id = p.id AND c.account = p.account;

-- name: delete_campaign
UPDATE campaign c
SET deleted_at = p.deleted_at
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS p(deleted_at, id, account)
WHERE c.id = p.id AND c.account = p.account;

-- Those that somebody has to do something for, the longest due first.
-- name: due_campaigns
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(now, most, n)
CROSS JOIN LATERAL (
    SELECT c.id, c.account
    FROM campaign c
    WHERE c.wake_at <= p.now
    ORDER BY c.wake_at, c.id
    LIMIT p.most
) found;

-- One node at a time: the holder keeps it, others wait until its lease is over.
-- name: lease_campaign
UPDATE campaign c
SET held_until = p.held_until, holder = p.holder
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    AS p(held_until, holder, id, account, now, clock)
WHERE c.id = p.id AND c.account = p.account AND c.wake_at <= p.now
    AND (c.held_until <= p.clock OR c.holder = p.holder)
RETURNING c.id;

-- name: advance_campaign
UPDATE campaign c
SET cursor = p.reached, expanded = p.expanded, recipients = p.recipients, stored = p.stored,
    credits_stored = p.credits_stored, left_out = p.left_out, first_message = p.first_message,
    last_message = p.last_message
FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[],
    $8::bigint[], $9::bigint[], $10::bigint[])
    AS p(reached, expanded, recipients, stored, credits_stored, left_out, first_message, last_message, id, account)
WHERE c.id = p.id AND c.account = p.account;

-- name: advance_cancelling
UPDATE campaign c
SET cancelled_to = p.cancelled_to, cancelled = p.cancelled, wake_at = p.wake_at
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS p(cancelled_to, cancelled, wake_at, id, account)
WHERE c.id = p.id AND c.account = p.account;

-- What a claim must not let leave.
-- name: find_withheld
SELECT c.id, c.account, c.state
FROM unnest($1::bigint[]) AS p(id)
JOIN campaign c ON c.id = p.id AND c.state IN (3, 5);

-- The account's messages between two ids, with what is asked of them.
-- name: walk_messages
SELECT found.*
FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS p(account, test, after, until, most)
CROSS JOIN LATERAL (
    SELECT m.id, m.campaign, m.delivery
    FROM message m
    WHERE m.account = p.account AND m.test = p.test AND m.id > p.after AND m.id <= p.until
    ORDER BY m.id
    LIMIT p.most
) found;

-- Takes parts of a paused campaign out of the way, among those that are due next, where nothing of their message has
-- left: what has begun to leave goes on. What another claim has its hands on is left to it.
-- name: shelve_due
WITH due AS MATERIALIZED (
    SELECT d.message, d.part, p.shelf
    FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[])
        AS p(shelf, route, class, account, now, most, campaign)
    CROSS JOIN LATERAL (
        SELECT q.message, q.part
        FROM queue q
        WHERE q.route = p.route AND q.class = p.class AND q.account = p.account AND q.due_at <= p.now
        ORDER BY q.due_at, q.message, q.part
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
    JOIN message m ON m.id = d.message
    WHERE m.campaign = p.campaign AND m.account = p.account
        AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.message = m.id AND a.outcome <> 3)
)
UPDATE queue q
SET route = due.shelf
FROM due
WHERE q.message = due.message AND q.part = due.part
RETURNING q.message;

-- name: shelve_part
INSERT INTO queue (message, part, route, class, account, due_at)
SELECT *
FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::smallint[], $5::bigint[], $6::bigint[])
ON CONFLICT (message, part) DO UPDATE SET route = excluded.route;

-- Puts parts back where their messages belong.
-- name: unshelve
WITH shelved AS MATERIALIZED (
    SELECT d.message, d.part
    FROM unnest($1::text[], $2::bigint[]) AS p(shelf, most)
    CROSS JOIN LATERAL (
        SELECT q.message, q.part
        FROM queue q
        WHERE q.route = p.shelf
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
)
UPDATE queue q
SET route = m.route
FROM shelved
JOIN message m ON m.id = shelved.message
WHERE q.message = shelved.message AND q.part = shelved.part
RETURNING q.message;

-- Those of all campaigns.
-- name: unshelve_all
WITH shelved AS MATERIALIZED (
    SELECT d.message, d.part
    FROM unnest($1::bigint[]) AS p(most)
    CROSS JOIN LATERAL (
        SELECT q.message, q.part
        FROM queue q
        WHERE q.route >= 'paused:' AND q.route < 'paused;'
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
)
UPDATE queue q
SET route = m.route
FROM shelved
JOIN message m ON m.id = shelved.message
WHERE q.message = shelved.message AND q.part = shelved.part
RETURNING q.message;

-- name: any_shelved
SELECT 1
FROM unnest($1::text[]) AS p(shelf)
WHERE EXISTS (SELECT 1 FROM queue q WHERE q.route = p.shelf);

-- name: read_entries_of_campaign
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::boolean[], $3::smallint[], $4::bigint[], $5::text[], $6::bigint[])
    WITH ORDINALITY AS p(account, test, listing, after, campaign, most, n)
CROSS JOIN LATERAL (
    SELECT e.id, e.number, e.at, e.category, e.campaign
    FROM entry e
    WHERE e.account = p.account AND e.test = p.test AND e.listing = p.listing AND e.id > p.after
        AND e.campaign = p.campaign
    ORDER BY e.id
    LIMIT p.most
) found;

-- name: read_replies_of_campaign
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::text[], $5::bigint[])
    WITH ORDINALITY AS p(account, test, after, campaign, most, n)
CROSS JOIN LATERAL (
    SELECT r.id, r.account, r.number, r.recipient, r.text, r.keyword, r.at, r.message, r.complete
    FROM reply r
    WHERE r.account = p.account AND r.test = p.test AND r.id > p.after
        AND r.campaign = p.campaign AND r.keyword <> 'STOP'
    ORDER BY r.id
    LIMIT p.most
) found;
