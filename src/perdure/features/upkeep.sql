-- What goes through every table of the registry, perdure/tables.py.

-- name: rows_of
-- for: table = @person
SELECT COUNT(*) FROM {table} WHERE part = :part

-- name: erase
-- for: table = @person
DELETE FROM {table} WHERE part = :part

-- name: purge
-- for: table = @session
DELETE FROM {table} WHERE part = :part AND uid = :uid

-- name: export
-- for: table = @session
SELECT * FROM {table} WHERE part = :part AND uid = :uid

-- name: export_all
-- for: table = @person
SELECT * FROM {table} WHERE part = :part

-- name: uids
SELECT s.uid FROM sessions s WHERE s.part = :part ORDER BY s.uid

-- name: add_tombstone
INSERT INTO erasures (part, erased_at) VALUES (:part, :now)
ON CONFLICT (part) DO UPDATE SET erased_at = excluded.erased_at

-- name: admit
-- For an import: whether the person was erased (above 0), and until the end of the transaction
-- nobody can be erasing them.
INSERT INTO erasures (part, erased_at) VALUES (:part, 0)
ON CONFLICT (part) DO UPDATE SET erased_at = erasures.erased_at
RETURNING erased_at

-- name: admitted
DELETE FROM erasures WHERE part = :part AND erased_at = 0

-- name: one_snapshot[sqlite]
-- There is nobody beside the writer.
SELECT 1

-- name: one_snapshot[postgres]
-- What commits from now on is not seen: it comes after, all of it.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ
