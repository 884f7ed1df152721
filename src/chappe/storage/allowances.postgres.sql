-- Credits and limits.

-- Holds the rows to the end of the transaction, in the order of the accounts: those with credits, and where it is asked
-- for those without. Of one table alone, so that what is returned is what the last holder left.
-- name: hold_allowances
SELECT a.account, a.has_credits, a.balance, a.alert_below, a.open_entry, a.open_hour, a.open_campaign, a.day, a.used
FROM unnest($1::bigint[], $2::boolean[]) AS p(account, limited)
JOIN allowance a ON a.account = p.account
WHERE a.has_credits OR p.limited
ORDER BY a.account
FOR UPDATE OF a;

-- name: open_allowance
INSERT INTO allowance (account)
SELECT *
FROM unnest($1::bigint[])
ON CONFLICT DO NOTHING;

-- name: update_allowance
UPDATE allowance a
SET balance = p.balance, open_entry = p.open_entry, open_hour = p.open_hour, open_campaign = p.open_campaign,
    day = p.day, used = p.used
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[], $6::bigint[], $7::bigint[])
    AS p(balance, open_entry, open_hour, open_campaign, day, used, account)
WHERE a.account = p.account;

-- name: switch_credits
UPDATE allowance a
SET has_credits = p.has_credits
FROM unnest($1::boolean[], $2::bigint[]) AS p(has_credits, account)
WHERE a.account = p.account;

-- name: set_alert
UPDATE allowance a
SET alert_below = p.below
FROM unnest($1::bigint[], $2::bigint[]) AS p(below, account)
WHERE a.account = p.account;

-- name: save_limits
UPDATE account a
SET limits = p.limits
FROM unnest($1::text[], $2::bigint[]) AS p(limits, id)
WHERE a.id = p.id;

-- name: read_credits
SELECT p.n, a.balance + (SELECT coalesce(sum(r.amount), 0)::bigint FROM refund r WHERE r.account = a.account),
    a.alert_below
FROM unnest($1::bigint[]) WITH ORDINALITY AS p(account, n)
JOIN allowance a ON a.account = p.account AND a.has_credits;

-- name: insert_ledger
INSERT INTO ledger (account, at, what, amount, messages, message, campaign, note, balance)
SELECT *
FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[],
    $8::text[], $9::bigint[])
RETURNING id;

-- name: extend_ledger
UPDATE ledger l
SET amount = l.amount + p.amount, messages = l.messages + p.messages, balance = p.balance
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS p(amount, messages, balance, id, account)
WHERE l.id = p.id AND l.account = p.account;

-- name: list_ledger
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS p(account, before, most, n)
CROSS JOIN LATERAL (
    SELECT l.id, l.at, l.what, l.amount, l.messages, l.message, l.campaign, l.note, l.balance
    FROM ledger l
    WHERE l.account = p.account AND l.id < p.before
    ORDER BY l.id DESC
    LIMIT p.most
) found;

-- name: insert_refund
INSERT INTO refund (account, message, amount, at)
SELECT *
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]);

-- name: uncharge_message
UPDATE message m
SET charged = 0
FROM unnest($1::bigint[]) AS p(id)
WHERE m.id = p.id;

-- name: accounts_with_refunds
SELECT DISTINCT account
FROM refund;

-- name: take_refunds
DELETE FROM refund r
USING unnest($1::bigint[]) AS p(account)
WHERE r.account = p.account
RETURNING r.account, r.message, r.amount, r.at;

-- What was written to a number and still counts, and until when the first of it does.
-- name: count_written
SELECT p.account, p.number, count(*), min(w.until)
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS p(account, number, now)
JOIN written w ON w.account = p.account AND w.number = p.number AND w.until > p.now
GROUP BY p.account, p.number;

-- name: insert_written
INSERT INTO written (account, number, until)
SELECT *
FROM unnest($1::bigint[], $2::text[], $3::bigint[]);

-- name: drop_written
WITH oldest AS MATERIALIZED (
    SELECT d.id
    FROM unnest($1::bigint[], $2::bigint[]) AS p(before, most)
    CROSS JOIN LATERAL (
        SELECT w.id
        FROM written w
        WHERE w.until <= p.before
        ORDER BY w.until
        LIMIT p.most
        FOR UPDATE SKIP LOCKED
    ) d
)
DELETE FROM written w
USING oldest
WHERE w.id = oldest.id;

-- Holds the buckets, those that nobody has drawn from yet too, in the order of the keys.
-- name: hold_buckets
INSERT INTO bucket (key, full_at)
SELECT p.key, 0
FROM unnest($1::bigint[]) AS p(key)
ON CONFLICT (key) DO UPDATE SET key = excluded.key
RETURNING key, full_at;

-- name: save_buckets
UPDATE bucket b
SET full_at = p.full_at
FROM unnest($1::bigint[], $2::bigint[]) AS p(key, full_at)
WHERE b.key = p.key;
