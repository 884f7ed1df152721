-- Credits and limits. See allowances.postgres.sql for the same on PostgreSQL.

-- Those with credits, and where it is asked for those without.
-- name: hold_allowances
SELECT account, has_credits, balance, alert_below, open_entry, open_hour, open_campaign, day, used
FROM allowance
WHERE account = $1 AND (has_credits OR $2);

-- name: open_allowance
INSERT INTO allowance (account)
VALUES ($1)
ON CONFLICT DO NOTHING;

-- name: update_allowance
UPDATE allowance
SET balance = $1, open_entry = $2, open_hour = $3, open_campaign = $4, day = $5, used = $6
WHERE account = $7;

-- name: switch_credits
UPDATE allowance
SET has_credits = $1
WHERE account = $2;

-- name: set_alert
UPDATE allowance
SET alert_below = $1
WHERE account = $2;

-- name: save_limits
UPDATE account
SET limits = $1
WHERE id = $2;

-- name: read_credits
SELECT balance + (SELECT coalesce(sum(amount), 0) FROM refund WHERE account = $1), alert_below
FROM allowance
WHERE account = $1 AND has_credits;

-- name: insert_ledger
INSERT INTO ledger (account, at, what, amount, messages, message, campaign, note, balance)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING id;

-- name: extend_ledger
UPDATE ledger
SET amount = amount + $1, messages = messages + $2, balance = $3
WHERE id = $4 AND account = $5;

-- name: list_ledger
SELECT id, at, what, amount, messages, message, campaign, note, balance
FROM ledger
WHERE account = $1 AND id < $2
ORDER BY id DESC
LIMIT $3;

-- name: insert_refund
INSERT INTO refund (account, message, amount, at)
VALUES ($1, $2, $3, $4);

-- name: uncharge_message
UPDATE message
SET charged = 0
WHERE id = $1;

-- name: accounts_with_refunds
SELECT DISTINCT account
FROM refund;

-- name: take_refunds
DELETE FROM refund
WHERE account = $1
RETURNING account, message, amount, at;

-- What was written to a number and still counts, and until when the first of it does.
-- name: count_written
SELECT account, number, count(*), min(until)
FROM written
WHERE account = $1 AND number = $2 AND until > $3
GROUP BY account, number;

-- name: insert_written
INSERT INTO written (account, number, until)
VALUES ($1, $2, $3);

-- name: drop_written
DELETE FROM written
WHERE id IN (SELECT id FROM written WHERE until <= $1 ORDER BY until LIMIT $2);

-- name: hold_buckets
SELECT key, full_at
FROM bucket
WHERE key = $1;

-- name: save_buckets
INSERT INTO bucket (key, full_at)
VALUES ($1, $2)
ON CONFLICT (key) DO UPDATE SET full_at = excluded.full_at;
