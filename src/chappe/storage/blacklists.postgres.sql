-- Opt-outs, bounces and replies as their account sees them.

-- Added through the API: what a message has listed before is from now on the account's own decision.
-- name: add_entry
INSERT INTO entry (number, test, listing, account, by_message, at)
SELECT p.number, p.test, p.listing, p.account, false, p.at
FROM unnest($1::text[], $2::boolean[], $3::smallint[], $4::bigint[], $5::bigint[])
    AS p(number, test, listing, account, at)
ON CONFLICT (number, test, listing, account, sender) DO UPDATE SET by_message = false
RETURNING id;

-- From elsewhere: what is there already stays as it is.
-- name: import_entry
INSERT INTO entry (number, test, listing, account, by_message, at, sender)
SELECT p.number, p.test, p.listing, p.account, false, p.at, p.sender
FROM unnest($1::text[], $2::boolean[], $3::smallint[], $4::bigint[], $5::bigint[], $6::text[])
    AS p(number, test, listing, account, at, sender)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: remove_entry
DELETE FROM entry e
USING unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::smallint[]) AS p(id, account, test, listing)
WHERE e.id = p.id AND e.account = p.account AND e.test = p.test AND e.listing = p.listing
RETURNING e.id;

-- name: remove_number
DELETE FROM entry e
USING unnest($1::text[], $2::bigint[], $3::boolean[], $4::smallint[]) AS p(number, account, test, listing)
WHERE e.number = p.number AND e.account = p.account AND e.test = p.test AND e.listing = p.listing
RETURNING e.id;

-- What a STOP has listed, and a START takes off, of one sender or of all; an opt-out added through the API stays.
-- name: end_opt_out
DELETE FROM entry e
USING unnest($1::text[], $2::bigint[], $3::boolean[], $4::text[]) AS p(number, account, test, sender)
WHERE e.number = p.number AND e.account = p.account AND e.test = p.test AND e.listing = 0 AND e.by_message
    AND lower(e.sender) = lower(coalesce(p.sender, e.sender));

-- name: read_entries
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::boolean[], $3::smallint[], $4::bigint[], $5::bigint[])
    WITH ORDINALITY AS p(account, test, listing, after, most, n)
CROSS JOIN LATERAL (
    SELECT e.id, e.number, e.at, e.category, e.campaign, nullif(e.sender, '')
    FROM entry e
    WHERE e.account = p.account AND e.test = p.test AND e.listing = p.listing AND e.id > p.after
    ORDER BY e.id
    LIMIT p.most
) found;

-- name: read_entries_of_category
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::boolean[], $3::smallint[], $4::bigint[], $5::text[], $6::bigint[])
    WITH ORDINALITY AS p(account, test, listing, after, category, most, n)
CROSS JOIN LATERAL (
    SELECT e.id, e.number, e.at, e.category, e.campaign, nullif(e.sender, '')
    FROM entry e
    WHERE e.account = p.account AND e.test = p.test AND e.listing = p.listing AND e.id > p.after
        AND e.category = p.category
    ORDER BY e.id
    LIMIT p.most
) found;

-- What is not STOP: that is an opt-out.
-- name: read_replies
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::bigint[])
    WITH ORDINALITY AS p(account, test, after, most, n)
CROSS JOIN LATERAL (
    SELECT r.id, r.account, r.number, r.recipient, r.text, r.keyword, r.at, r.message, r.complete
    FROM reply r
    WHERE r.account = p.account AND r.test = p.test AND r.id > p.after AND r.keyword <> 'STOP'
    ORDER BY r.id
    LIMIT p.most
) found;

-- name: read_replies_of_category
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::text[], $5::bigint[])
    WITH ORDINALITY AS p(account, test, after, category, most, n)
CROSS JOIN LATERAL (
    SELECT r.id, r.account, r.number, r.recipient, r.text, r.keyword, r.at, r.message, r.complete
    FROM reply r
    WHERE r.account = p.account AND r.test = p.test AND r.id > p.after
        AND r.category = p.category AND r.keyword <> 'STOP'
    ORDER BY r.id
    LIMIT p.most
) found;
