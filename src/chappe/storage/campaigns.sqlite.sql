-- Campaigns. See campaigns.postgres.sql for the same on PostgreSQL.

-- name: insert_campaign
INSERT INTO campaign (account, test, family, name, text, list, created_at, sender, category, date, type, flash,
    clean_bounces, clean_unsubscribers, keep_list, external_url)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
RETURNING id;

-- name: lock_campaign
SELECT id, account, test, family, name, text, list, created_at, sender, category, date, type, flash, clean_bounces,
    clean_unsubscribers, keep_list, external_url, state, route, simulated, validity_ms, link_base, credits, started_at, ended_at,
    cursor, expanded, recipients, stored, credits_stored, left_out, first_message, last_message, cancelled_to, cancelled
FROM campaign
WHERE id = $1 AND account = $2 AND deleted_at IS NULL;

-- name: find_campaign
SELECT id, account, test, family, name, text, list, created_at, sender, category, date, type, flash, clean_bounces,
    clean_unsubscribers, keep_list, external_url, state, route, simulated, validity_ms, link_base, credits, started_at, ended_at,
    cursor, expanded, recipients, stored, credits_stored, left_out, first_message, last_message, cancelled_to, cancelled
FROM campaign
WHERE id = $1 AND account = $2 AND test = $3 AND deleted_at IS NULL;

-- The newest first, below an id.
-- name: list_campaigns
SELECT id, account, test, family, name, text, list, created_at, sender, category, date, type, flash, clean_bounces,
    clean_unsubscribers, keep_list, external_url, state, route, simulated, validity_ms, link_base, credits, started_at, ended_at,
    cursor, expanded, recipients, stored, credits_stored, left_out, first_message, last_message, cancelled_to, cancelled
FROM campaign
WHERE account = $1 AND test = $2 AND deleted_at IS NULL AND id < $3
ORDER BY id DESC
LIMIT $4;

-- name: update_campaign_state
UPDATE campaign
SET state = $1, started_at = $2, ended_at = $3, cancelled_to = $4, wake_at = $5
WHERE id = $6 AND account = $7;

-- name: fix_campaign_sending
UPDATE campaign
SET route = $1, simulated = $2, validity_ms = $3, link_base = $4, credits = $5
WHERE id = $6 AND account = $7;

-- name: delete_campaign
UPDATE campaign
SET deleted_at = $1
WHERE id = $2 AND account = $3;

-- Those that somebody has to do something for, the longest due first.
-- name: due_campaigns
SELECT id, account
FROM campaign
WHERE wake_at <= $1
ORDER BY wake_at, id
LIMIT $2;

-- One node at a time: the holder keeps it, others wait until its lease is over.
-- name: lease_campaign
UPDATE campaign
SET held_until = $1, holder = $2
WHERE id = $3 AND account = $4 AND wake_at <= $5 AND (held_until <= $6 OR holder = $2)
RETURNING id;

-- name: advance_campaign
UPDATE campaign
SET cursor = $1, expanded = $2, recipients = $3, stored = $4, credits_stored = $5, left_out = $6, first_message = $7,
    last_message = $8
WHERE id = $9 AND account = $10;

-- name: advance_cancelling
UPDATE campaign
SET cancelled_to = $1, cancelled = $2, wake_at = $3
WHERE id = $4 AND account = $5;

-- What a claim must not let leave.
-- name: find_withheld
SELECT id, account, state
FROM campaign
WHERE id = $1 AND state IN (3, 5);

-- The account's messages between two ids, with what is asked of them.
-- name: walk_messages
SELECT id, campaign, delivery
FROM message
WHERE account = $1 AND test = $2 AND id > $3 AND id <= $4
ORDER BY id
LIMIT $5;

-- Takes parts of a paused campaign out of the way, among those that are due next, where nothing of their message has
-- left: what has begun to leave goes on.
-- name: shelve_due
UPDATE queue
SET route = $1
WHERE (message, part) IN (
    SELECT d.message, d.part
    FROM (
        SELECT message, part
        FROM queue
        WHERE route = $2 AND class = $3 AND account = $4 AND due_at <= $5
        ORDER BY due_at, message, part
        LIMIT $6
    ) d
    JOIN message m ON m.id = d.message
    WHERE m.campaign = $7 AND m.account = $4
        AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.message = m.id AND a.outcome <> 3)
)
RETURNING message;

-- name: shelve_part
INSERT INTO queue (message, part, route, class, account, due_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (message, part) DO UPDATE SET route = excluded.route;

-- Puts parts back where their messages belong.
-- name: unshelve
UPDATE queue
SET route = (SELECT m.route FROM message m WHERE m.id = queue.message)
WHERE (message, part) IN (SELECT message, part FROM queue WHERE route = $1 LIMIT $2)
RETURNING message;

-- Those of all campaigns.
-- name: unshelve_all
UPDATE queue
SET route = (SELECT m.route FROM message m WHERE m.id = queue.message)
WHERE (message, part) IN (SELECT message, part FROM queue WHERE route >= 'paused:' AND route < 'paused;' LIMIT $1)
RETURNING message;

-- name: any_shelved
SELECT 1
FROM queue
WHERE route = $1
LIMIT 1;

-- name: read_entries_of_campaign
SELECT id, number, at, category, campaign
FROM entry
WHERE account = $1 AND test = $2 AND listing = $3 AND id > $4 AND campaign = $5
ORDER BY id
LIMIT $6;

-- name: read_replies_of_campaign
SELECT id, account, number, recipient, text, keyword, at, message, complete
FROM reply
WHERE account = $1 AND test = $2 AND id > $3 AND campaign = $4 AND keyword <> 'STOP'
ORDER BY id
LIMIT $5;
