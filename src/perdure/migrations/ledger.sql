-- Which migrations were applied.

-- name: exists[sqlite]
SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'perdure_migrations'

-- name: exists[postgres]
SELECT 1 WHERE to_regclass('perdure_migrations') IS NOT NULL

-- name: lock[sqlite]
-- Who writes has the file to himself.
SELECT 1

-- name: lock[postgres]
-- Before any DDL: of two that make the same table at once one fails, IF NOT EXISTS or not.
SELECT CAST(pg_advisory_xact_lock(7306642715) AS TEXT)

-- name: patience[sqlite]
SELECT ''

-- name: patience[postgres]
SELECT current_setting('lock_timeout')

-- name: wait[sqlite]
SELECT CAST(:patience AS TEXT)

-- name: wait[postgres]
SELECT set_config('lock_timeout', :patience, TRUE)

-- name: take_time[sqlite]
-- Nothing here stops a long statement.
SELECT 1

-- name: take_time[postgres]
-- A new index of a large table takes longer than any request may.
SELECT set_config('statement_timeout', '0', TRUE)

-- name: create
CREATE TABLE IF NOT EXISTS perdure_migrations (
    number     BIGINT NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    checksum   TEXT   NOT NULL,
    applied_at BIGINT NOT NULL
)

-- name: applied
SELECT number, name, checksum FROM perdure_migrations ORDER BY number

-- name: note
INSERT INTO perdure_migrations (number, name, checksum, applied_at)
VALUES (:number, :name, :checksum, :now)
