-- Tracked links.

-- With what the kill switch may name; a message that is not kept any more has no account.
-- name: find_link
SELECT l.message, l.url, l.expires_at, m.account, m.campaign
FROM unnest($1::text[]) AS p(token)
JOIN link l ON l.token = p.token
LEFT JOIN message m ON m.id = l.message;

-- name: find_ban
SELECT 1
FROM unnest($1::text[], $2::text[]) AS p(what, name)
JOIN link_ban b ON b.what = p.what AND b.name = p.name;

-- name: click_link
UPDATE link l
SET clicks = l.clicks + p.clicks, robot_clicks = l.robot_clicks + p.robot_clicks,
    first_click_at = coalesce(l.first_click_at, p.at), last_click_at = coalesce(p.at, l.last_click_at)
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[]) AS p(clicks, robot_clicks, at, token)
WHERE l.token = p.token
RETURNING l.clicks;

-- name: read_links
SELECT p.n, l.url, l.clicks, l.robot_clicks, l.first_click_at, l.last_click_at, l.expires_at
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(id, account, n)
JOIN message m ON m.id = p.id AND m.account = p.account
JOIN link l ON l.message = m.id
ORDER BY p.n, l.token;

-- name: insert_ban
INSERT INTO link_ban (what, name, since)
SELECT *
FROM unnest($1::text[], $2::text[], $3::bigint[])
ON CONFLICT DO NOTHING;

-- name: delete_ban
DELETE FROM link_ban b
USING unnest($1::text[], $2::text[]) AS p(what, name)
WHERE b.what = p.what AND b.name = p.name
RETURNING b.since;

-- name: read_bans
SELECT b.what, b.name, b.since
FROM link_ban b
ORDER BY b.what, b.name;
