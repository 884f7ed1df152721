-- Opt-outs, bounces and replies as their account sees them. See blacklists.postgres.sql for the same on PostgreSQL.

-- Added through the API: what a message has listed before is from now on the account's own decision.
-- name: add_entry
INSERT INTO entry (number, test, listing, account, by_message, at)
VALUES ($1, $2, $3, $4, 0, $5)
ON CONFLICT (number, test, listing, account, sender) DO UPDATE SET by_message = 0
RETURNING id;

-- From elsewhere: what is there already stays as it is.
-- name: import_entry
INSERT INTO entry (number, test, listing, account, by_message, at, sender)
VALUES ($1, $2, $3, $4, 0, $5, $6)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: remove_entry
DELETE FROM entry
WHERE id = $1 AND account = $2 AND test = $3 AND listing = $4
RETURNING id;

-- name: remove_number
DELETE FROM entry
WHERE number = $1 AND account = $2 AND test = $3 AND listing = $4
RETURNING id;

-- What a STOP has listed, and a START takes off, of one sender or of all; an opt-out added through the API stays.
-- name: end_opt_out
DELETE FROM entry
WHERE number = $1 AND account = $2 AND test = $3 AND listing = 0 AND by_message
    AND lower(sender) = lower(coalesce($4, sender));

-- name: read_entries
SELECT id, number, at, category, campaign, nullif(sender, '')
FROM entry
WHERE account = $1 AND test = $2 AND listing = $3 AND id > $4
ORDER BY id
LIMIT $5;

-- name: read_entries_of_category
SELECT id, number, at, category, campaign, nullif(sender, '')
FROM entry
WHERE account = $1 AND test = $2 AND listing = $3 AND id > $4 AND category = $5
ORDER BY id
LIMIT $6;

-- What is not STOP: that is an opt-out.
-- name: read_replies
SELECT id, account, number, recipient, text, keyword, at, message, complete
FROM reply
WHERE account = $1 AND test = $2 AND id > $3 AND keyword <> 'STOP'
ORDER BY id
LIMIT $4;

-- name: read_replies_of_category
SELECT id, account, number, recipient, text, keyword, at, message, complete
FROM reply
WHERE account = $1 AND test = $2 AND id > $3 AND category = $4 AND keyword <> 'STOP'
ORDER BY id
LIMIT $5;
