-- What only PostgreSQL needs: its connections, its partitions, its notifications.

-- Ends a transaction, with a trace of it if it wrote anything. One string, executed at once; see `lanes`.
-- name: commit
WITH kept AS (
    INSERT INTO committed (connection, batch)
    SELECT '{connection}'::uuid, {batch}
    WHERE pg_current_xact_id_if_assigned() IS NOT NULL
    RETURNING connection, batch
)
DELETE FROM committed c
USING kept
WHERE c.connection = kept.connection AND c.batch < kept.batch;
COMMIT;

-- Whether that transaction was committed. Waits for it while it is still under way, and if it was not committed keeps it
-- from being so later: its own INSERT would meet this row. Always writes, so that with a synchronous standby the answer
-- is given once the standby has it too.
-- name: was_committed
INSERT INTO committed AS c (connection, batch, fenced)
VALUES ($1::uuid, $2::bigint, true)
ON CONFLICT (connection, batch) DO UPDATE SET asked = c.asked + 1
RETURNING NOT fenced;

-- Ends what is left of earlier connections of this worker, which the server may not know to be lost: it gives back the
-- rows that they locked. Found by name, for a process number means nothing on another server.
-- name: end_earlier
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid();

-- name: forget_connections
DELETE FROM committed
WHERE at < now() - interval '30 days';

-- name: make_partitions
SELECT make_partitions();

-- name: notify
SELECT pg_notify('chappe_queue', $1::text);

-- name: durability
SELECT name, setting
FROM pg_settings
WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'synchronous_standby_names');
