-- Lists, fields, contacts and imports. See lists.postgres.sql for the same on PostgreSQL.

-- Lists and fields --------------------------------------------------------------------------------------

-- name: insert_list
INSERT INTO contact_list (account, name, created_at)
VALUES ($1, $2, $3)
RETURNING id;

-- name: read_lists
SELECT id, account, name, created_at, contacts
FROM contact_list
WHERE account = $1 AND id > $2
ORDER BY id
LIMIT $3;

-- name: find_list
SELECT id, account, name, created_at, contacts
FROM contact_list
WHERE account = $1 AND id = $2;

-- Inside a transaction: before anything of the list changes.
-- name: take_list
SELECT edition
FROM contact_list
WHERE account = $1 AND id = $2;

-- name: delete_list
DELETE FROM contact_list
WHERE id = $1
RETURNING edition;

-- name: next_edition
UPDATE contact_list
SET edition = edition + 1, contacts = 0
WHERE id = $1;

-- name: discard
INSERT INTO discarded (list, edition)
VALUES ($1, $2);

-- name: count_list
UPDATE contact_list
SET contacts = contacts + $1
WHERE id = $2;

-- name: read_fields
SELECT id, list, name, type, format
FROM list_field
WHERE account = $1 AND list BETWEEN $2 AND $3
ORDER BY list, id;

-- The same inside a transaction that holds the list.
-- name: fields_of_list
SELECT key, id
FROM list_field
WHERE list = $1;

-- name: insert_field
INSERT INTO list_field (account, list, name, key, type, format)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING key, id;

-- name: remove_field
DELETE FROM list_field
WHERE account = $1 AND list = $2 AND id = $3
RETURNING id;

-- name: remove_fields
DELETE FROM list_field
WHERE list = $1;

-- Contacts ----------------------------------------------------------------------------------------------

-- name: find_contact
SELECT c.id, c.list, c.number, c.attributes
FROM contact_list l
JOIN contact c ON c.list = l.id AND c.edition = l.edition
WHERE l.account = $1 AND l.id = $2 AND c.number = $3;

-- name: read_contacts
SELECT c.id, c.list, c.number, c.attributes
FROM contact_list l
JOIN contact c ON c.list = l.id AND c.edition = l.edition
WHERE l.account = $1 AND l.id = $2 AND c.id > $3
ORDER BY c.id
LIMIT $4;

-- name: contacts_of_numbers
SELECT number, id, attributes
FROM contact
WHERE list = $1 AND edition = $2 AND number = $3;

-- name: insert_contact
INSERT INTO contact (account, list, edition, number, attributes)
VALUES ($1, $2, $3, $4, $5)
RETURNING id;

-- name: update_contact
UPDATE contact
SET attributes = $1
WHERE id = $2;

-- name: remove_contact
DELETE FROM contact
WHERE list = $1 AND edition = $2 AND id = $3
RETURNING id;

-- name: remove_contact_of_number
DELETE FROM contact
WHERE list = $1 AND edition = $2 AND number = $3
RETURNING id;

-- Imports -----------------------------------------------------------------------------------------------

-- name: insert_operation
INSERT INTO operation (account, list, began_at, touched_at, total)
VALUES ($1, $2, $3, $4, $5)
RETURNING id, account, list, state, began_at, touched_at, total, done, imported, updated, refused;

-- name: find_operation
SELECT id, account, list, state, began_at, touched_at, total, done, imported, updated, refused
FROM operation
WHERE account = $1 AND id = $2;

-- The same inside a transaction, held to its end.
-- name: take_operation
SELECT id, account, list, state, began_at, touched_at, total, done, imported, updated, refused
FROM operation
WHERE account = $1 AND id = $2;

-- name: update_operation
UPDATE operation
SET state = $1, touched_at = $2, done = $3, imported = $4, updated = $5, refused = $6
WHERE id = $7;

-- name: insert_refused
INSERT INTO refused_row (operation, seq, account, line, code, reason, heading)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: read_refused
SELECT seq, line, code, reason, heading
FROM refused_row
WHERE account = $1 AND operation = $2 AND seq > $3
ORDER BY seq
LIMIT $4;

-- What the passing of time does -------------------------------------------------------------------------

-- name: next_discarded
SELECT list, edition
FROM discarded
LIMIT 1;

-- name: drop_contacts
DELETE FROM contact
WHERE id IN (SELECT id FROM contact WHERE list = $1 AND edition = $2 LIMIT $3)
RETURNING id;

-- name: end_discarded
DELETE FROM discarded
WHERE list = $1 AND edition = $2;

-- name: end_lost_operations
UPDATE operation
SET state = 2
WHERE state = 0 AND touched_at < $1;

-- The oldest one, if it is old enough.
-- name: drop_operation
DELETE FROM operation
WHERE id = (SELECT min(id) FROM operation) AND touched_at < $1
RETURNING id;

-- name: drop_refused
DELETE FROM refused_row
WHERE operation = $1;
