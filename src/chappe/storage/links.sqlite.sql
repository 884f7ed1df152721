-- Tracked links. See links.postgres.sql for the same on PostgreSQL.

-- With what the kill switch may name; a message that is not kept any more has no account.
-- name: find_link
SELECT l.message, l.url, l.expires_at, m.account, m.campaign
FROM link l
LEFT JOIN message m ON m.id = l.message
WHERE l.token = $1;

-- name: find_ban
SELECT 1
FROM link_ban
WHERE what = $1 AND name = $2;

-- name: click_link
UPDATE link
SET clicks = clicks + $1, robot_clicks = robot_clicks + $2, first_click_at = coalesce(first_click_at, $3),
    last_click_at = coalesce($3, last_click_at)
WHERE token = $4
RETURNING clicks;

-- name: read_links
SELECT l.url, l.clicks, l.robot_clicks, l.first_click_at, l.last_click_at, l.expires_at
FROM message m
JOIN link l ON l.message = m.id
WHERE m.id = $1 AND m.account = $2
ORDER BY l.token;

-- name: insert_ban
INSERT INTO link_ban (what, name, since)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING;

-- name: delete_ban
DELETE FROM link_ban
WHERE what = $1 AND name = $2
RETURNING since;

-- name: read_bans
SELECT what, name, since
FROM link_ban
ORDER BY what, name;
