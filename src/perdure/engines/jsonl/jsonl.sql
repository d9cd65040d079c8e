-- What the engine notes in its index, beside the tables of the store.

-- name: create_state[sqlite]
-- One row: the number of the last line that the index has taken in, and the schema it has.
CREATE TABLE IF NOT EXISTS jsonl_state (
    one    INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    lsn    INTEGER NOT NULL,
    schema TEXT    NOT NULL
)

-- name: create_files[sqlite]
-- Every file as it was when the journal was last cut; part and uid are '' for those of no session.
-- damage: what is wrong with it, and then nothing is written to it; dead: bytes of no use any more.
CREATE TABLE IF NOT EXISTS jsonl_files (
    path    TEXT    NOT NULL PRIMARY KEY,
    part    TEXT    NOT NULL,
    uid     TEXT    NOT NULL,
    length  INTEGER NOT NULL,
    mtime   INTEGER NOT NULL,
    dead    INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    damage  TEXT    NOT NULL
) WITHOUT ROWID

-- name: create_files_of[sqlite]
CREATE INDEX IF NOT EXISTS jsonl_files_of ON jsonl_files (part, uid)

-- name: state[sqlite]
SELECT lsn, schema FROM jsonl_state

-- name: begin[sqlite]
INSERT INTO jsonl_state (one, lsn, schema) VALUES (1, :lsn, :schema)
ON CONFLICT (one) DO UPDATE SET lsn = excluded.lsn, schema = excluded.schema

-- name: reach[sqlite]
UPDATE jsonl_state SET lsn = :lsn

-- name: file_of[sqlite]
SELECT path, length, dead, removed, damage FROM jsonl_files WHERE part = :part AND uid = :uid

-- name: file_at[sqlite]
SELECT path, length, dead, removed, damage FROM jsonl_files WHERE path = :path

-- name: of_path[sqlite]
SELECT part, uid FROM jsonl_files WHERE path = :path

-- name: every_file[sqlite]
SELECT path, part, uid, length, mtime, dead, removed, damage FROM jsonl_files

-- name: note_file[sqlite]
INSERT INTO jsonl_files (path, part, uid, length, mtime, dead, removed, damage)
VALUES (:path, :part, :uid, :length, :mtime, :dead, :removed, :damage)
ON CONFLICT (path) DO UPDATE SET part = excluded.part, uid = excluded.uid,
    length = excluded.length, mtime = excluded.mtime, dead = excluded.dead, removed = excluded.removed, damage = excluded.damage

-- name: forget_file[sqlite]
DELETE FROM jsonl_files WHERE path = :path

-- name: tables[sqlite]
SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid

-- name: columns[sqlite]
SELECT name, type, pk FROM pragma_table_info(:table)

-- name: schema[sqlite]
SELECT sql FROM sqlite_master
WHERE sql IS NOT NULL AND name NOT LIKE 'jsonl!_%' ESCAPE '!' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'
ORDER BY type DESC, rowid
