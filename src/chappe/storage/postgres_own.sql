-- What only PostgreSQL needs: its locks, its connections, its partitions, its notifications.

-- Held to the end of the transaction, and taken in the order of the rows. Its own statement: the next one's snapshot is
-- taken once the locks are held.
-- name: lock
SELECT CASE
    WHEN p.alone THEN pg_advisory_xact_lock(hashtextextended(p.name, 0))
    ELSE pg_advisory_xact_lock_shared(hashtextextended(p.name, 0))
END
FROM unnest($1::text[], $2::boolean[]) AS p(name, alone);

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

-- The second wall: a role that owns nothing and sees only the rows of the account that the transaction names, whatever a
-- list, a search or an export forgets to ask. Workers, and look-ups that serve many accounts at once, are not that role.
-- Built where it is missing, at each start: a table that a later release adds gets it too. Without the right to create
-- roles it is left out, which `has_wall` tells.
-- name: build_wall
DO $$
DECLARE
    walled text;
    own text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'chappe_account') THEN
        BEGIN
            CREATE ROLE chappe_account NOLOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server did
            WHEN insufficient_privilege THEN RETURN;
        END;
    END IF;
    IF NOT pg_has_role(current_user, 'chappe_account', 'MEMBER') THEN
        BEGIN
            GRANT chappe_account TO CURRENT_USER;
        EXCEPTION
            WHEN insufficient_privilege THEN RETURN;
        END;
    END IF;
    FOR walled, own IN
        SELECT c.relname, CASE
            WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'account')
            THEN 'account = nullif(current_setting(''chappe.account'', true), '''')::bigint'
            ELSE format('EXISTS (SELECT FROM message m WHERE m.id = %I.message)', c.relname)
        END
        FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND EXISTS (
                SELECT
                FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attname IN ('account', 'message') AND NOT a.attisdropped
            )
            AND c.relname NOT IN ('queue', 'carrier', 'api_key')
            AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'account')
        ORDER BY c.relname
    LOOP
        -- One table at a time: held together, their locks would entangle with other nodes' transactions.
        PERFORM pg_advisory_xact_lock(hashtextextended('chappe migrations', 0));
        CONTINUE WHEN EXISTS (SELECT FROM pg_policy WHERE polrelid = walled::regclass AND polname = 'account');
        EXECUTE format('GRANT SELECT ON %I TO chappe_account', walled);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled);
        EXECUTE format('CREATE POLICY workers ON %I USING (current_user <> ''chappe_account'')', walled);
        EXECUTE format('CREATE POLICY account ON %I FOR SELECT TO chappe_account USING (%s)', walled, own);
        COMMIT;
    END LOOP;
END
$$;

-- name: has_wall
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'chappe_account')
    AND EXISTS (SELECT FROM pg_policy WHERE polrelid = 'message'::regclass AND polname = 'account');

-- name: behind_wall
BEGIN READ ONLY;
SET LOCAL ROLE chappe_account;
SET LOCAL chappe.account = '{account}';
