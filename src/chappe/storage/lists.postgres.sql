-- Lists, fields, contacts and imports.

-- Lists and fields --------------------------------------------------------------------------------------

-- name: insert_list
INSERT INTO contact_list (account, name, created_at)
SELECT *
FROM unnest($1::bigint[], $2::text[], $3::bigint[])
RETURNING id;

-- name: read_lists
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS p(account, after, most, n)
CROSS JOIN LATERAL (
    SELECT l.id, l.account, l.name, l.created_at, l.contacts
    FROM contact_list l
    WHERE l.account = p.account AND l.id > p.after
    ORDER BY l.id
    LIMIT p.most
) found;

-- name: find_list
SELECT p.n, l.id, l.account, l.name, l.created_at, l.contacts
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(account, id, n)
JOIN contact_list l ON l.account = p.account AND l.id = p.id;

-- Inside a transaction: before anything of the list changes, and held to its end.
-- name: take_list
SELECT l.edition
FROM unnest($1::bigint[], $2::bigint[]) AS p(account, id)
JOIN contact_list l ON l.account = p.account AND l.id = p.id
FOR UPDATE OF l;

-- name: delete_list
DELETE FROM contact_list l
USING unnest($1::bigint[]) AS p(id)
WHERE l.id = p.id
RETURNING l.edition;

-- name: next_edition
UPDATE contact_list l
SET edition = l.edition + 1, contacts = 0
FROM unnest($1::bigint[]) AS p(id)
WHERE l.id = p.id;

-- name: discard
INSERT INTO discarded (list, edition)
SELECT *
FROM unnest($1::bigint[], $2::integer[]);

-- name: count_list
UPDATE contact_list l
SET contacts = l.contacts + p.more
FROM unnest($1::bigint[], $2::bigint[]) AS p(more, id)
WHERE l.id = p.id;

-- name: read_fields
SELECT p.n, f.id, f.list, f.name, f.type, f.format
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS p(account, first, last, n)
JOIN list_field f ON f.account = p.account AND f.list BETWEEN p.first AND p.last
ORDER BY p.n, f.list, f.id;

-- The same inside a transaction that holds the list.
-- name: fields_of_list
SELECT f.key, f.id
FROM unnest($1::bigint[]) AS p(list)
JOIN list_field f ON f.list = p.list;

-- name: insert_field
INSERT INTO list_field (account, list, name, key, type, format)
SELECT *
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::smallint[], $6::text[])
RETURNING key, id;

-- name: remove_field
DELETE FROM list_field f
USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS p(account, list, id)
WHERE f.account = p.account AND f.list = p.list AND f.id = p.id
RETURNING f.id;

-- name: remove_fields
DELETE FROM list_field f
USING unnest($1::bigint[]) AS p(list)
WHERE f.list = p.list;

-- Contacts ----------------------------------------------------------------------------------------------

-- By `list`: through the index that ends in the number; by `list + 0`: through the one that ends in the id.

-- name: find_contact
SELECT p.n, c.id, c.list, c.number, c.attributes
FROM unnest($1::bigint[], $2::bigint[], $3::text[]) WITH ORDINALITY AS p(account, list, number, n)
JOIN contact_list l ON l.account = p.account AND l.id = p.list
JOIN contact c ON c.list = l.id AND c.edition = l.edition AND c.number = p.number;

-- name: read_contacts
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
    WITH ORDINALITY AS p(account, list, after, most, n)
JOIN contact_list l ON l.account = p.account AND l.id = p.list
CROSS JOIN LATERAL (
    SELECT c.id, c.list, c.number, c.attributes
    FROM contact c
    WHERE c.list + 0 = l.id AND c.edition = l.edition AND c.id > p.after
    ORDER BY c.id
    LIMIT p.most
) found;

-- name: contacts_of_numbers
SELECT c.number, c.id, c.attributes
FROM unnest($1::bigint[], $2::integer[], $3::text[]) AS p(list, edition, number)
JOIN contact c ON c.list = p.list AND c.edition = p.edition AND c.number = p.number;

-- name: insert_contact
INSERT INTO contact (account, list, edition, number, attributes)
SELECT p.account, p.list, p.edition, p.number, p.attributes
FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::text[], $5::text[])
    WITH ORDINALITY AS p(account, list, edition, number, attributes, n)
ORDER BY p.n
RETURNING id;

-- name: update_contact
UPDATE contact c
SET attributes = p.attributes
FROM unnest($1::text[], $2::bigint[]) AS p(attributes, id)
WHERE c.id = p.id;

-- name: remove_contact
DELETE FROM contact c
USING unnest($1::bigint[], $2::integer[], $3::bigint[]) AS p(list, edition, id)
WHERE c.list + 0 = p.list AND c.edition = p.edition AND c.id = p.id
RETURNING c.id;

-- name: remove_contact_of_number
DELETE FROM contact c
USING unnest($1::bigint[], $2::integer[], $3::text[]) AS p(list, edition, number)
WHERE c.list = p.list AND c.edition = p.edition AND c.number = p.number
RETURNING c.id;

-- Imports -----------------------------------------------------------------------------------------------

-- name: insert_operation
INSERT INTO operation (account, list, began_at, touched_at, total)
SELECT *
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
RETURNING id, account, list, state, began_at, touched_at, total, done, imported, updated, refused;

-- name: find_operation
SELECT p.n, o.id, o.account, o.list, o.state, o.began_at, o.touched_at, o.total, o.done, o.imported, o.updated,
    o.refused
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(account, id, n)
JOIN operation o ON o.account = p.account AND o.id = p.id;

-- The same inside a transaction, held to its end.
-- name: take_operation
SELECT o.id, o.account, o.list, o.state, o.began_at, o.touched_at, o.total, o.done, o.imported, o.updated, o.refused
FROM unnest($1::bigint[], $2::bigint[]) AS p(account, id)
JOIN operation o ON o.account = p.account AND o.id = p.id
FOR UPDATE OF o;

-- name: update_operation
UPDATE operation o
SET state = p.state, touched_at = p.touched_at, done = p.done, imported = p.imported, updated = p.updated,
    refused = p.refused
FROM unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
    AS p(state, touched_at, done, imported, updated, refused, id)
WHERE o.id = p.id;

-- name: insert_refused
INSERT INTO refused_row (operation, seq, account, line, code, reason, heading)
SELECT *
FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bigint[], $5::integer[], $6::text[], $7::text[]);

-- name: read_refused
SELECT p.n, found.*
FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::bigint[])
    WITH ORDINALITY AS p(account, operation, after, most, n)
CROSS JOIN LATERAL (
    SELECT r.seq, r.line, r.code, r.reason, r.heading
    FROM refused_row r
    WHERE r.account = p.account AND r.operation = p.operation AND r.seq > p.after
    ORDER BY r.seq
    LIMIT p.most
) found;

-- What the passing of time does -------------------------------------------------------------------------

-- name: next_discarded
SELECT d.list, d.edition
FROM discarded d
LIMIT 1;

-- name: drop_contacts
WITH first AS MATERIALIZED (
    SELECT c.id
    FROM unnest($1::bigint[], $2::integer[], $3::bigint[]) AS p(list, edition, most)
    CROSS JOIN LATERAL (
        SELECT c.id
        FROM contact c
        WHERE c.list + 0 = p.list AND c.edition = p.edition
        ORDER BY c.id
        LIMIT p.most
    ) c
)
DELETE FROM contact c
USING first
WHERE c.id = first.id
RETURNING c.id;

-- name: end_discarded
DELETE FROM discarded d
USING unnest($1::bigint[], $2::integer[]) AS p(list, edition)
WHERE d.list = p.list AND d.edition = p.edition;

-- What another node is storing just now is not lost.
-- name: end_lost_operations
WITH lost AS MATERIALIZED (
    SELECT o.id
    FROM unnest($1::bigint[]) AS p(before)
    JOIN operation o ON o.state = 0 AND o.touched_at < p.before
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE operation o
SET state = 2
FROM lost
WHERE o.id = lost.id;

-- The oldest one, if it is old enough.
-- name: drop_operation
DELETE FROM operation o
USING unnest($1::bigint[]) AS p(before)
WHERE o.id = (SELECT min(first.id) FROM operation first) AND o.touched_at < p.before
RETURNING o.id;

-- name: drop_refused
DELETE FROM refused_row r
USING unnest($1::bigint[]) AS p(operation)
WHERE r.operation = p.operation;
