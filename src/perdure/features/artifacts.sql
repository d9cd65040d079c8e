-- Artifacts by (part, uid, name, version); their bytes by (part, sha256).

-- define: columns
a.name, a.version, a.seq, a.mime_type, a.metadata, a.sha256, a.size, a.created_at

-- name: next_version
-- Takes the row of the name: of several who save at once each gets a number of its own.
INSERT INTO artifact_names (part, uid, name, latest) VALUES (:part, :uid, :name, 0)
ON CONFLICT (part, uid, name) DO UPDATE SET latest = artifact_names.latest + 1
RETURNING latest

-- name: hold_name
UPDATE artifact_names SET latest = latest WHERE part = :part AND uid = :uid AND name = :name
RETURNING latest

-- name: add
INSERT INTO artifacts
  (part, uid, name, version, seq, mime_type, metadata, sha256, size, created_at)
VALUES (:part, :uid, :name, :version, :seq, :mime_type, :metadata, :digest, :size, :now)

-- name: latest
SELECT {columns} FROM artifacts a
WHERE a.part = :part AND a.uid = :uid AND a.name = :name
ORDER BY a.version DESC LIMIT 1

-- name: version
SELECT {columns} FROM artifacts a
WHERE a.part = :part AND a.uid = :uid AND a.name = :name AND a.version = :version

-- name: versions
SELECT {columns} FROM artifacts a
WHERE a.part = :part AND a.uid = :uid AND a.name = :name AND a.version > :after_version
ORDER BY a.version LIMIT :limit

-- name: list
-- The highest version that is left of each name.
SELECT {columns} FROM artifact_names n
JOIN artifacts a ON a.part = n.part AND a.uid = n.uid AND a.name = n.name
  AND a.version = (SELECT MAX(b.version) FROM artifacts b
                   WHERE b.part = :part AND b.uid = :uid AND b.name = n.name)
WHERE n.part = :part AND n.uid = :uid AND n.name > :after_name
ORDER BY n.name LIMIT :limit

-- name: remove_version
DELETE FROM artifacts
WHERE part = :part AND uid = :uid AND name = :name AND version = :version
RETURNING sha256

-- name: remove_all
DELETE FROM artifacts WHERE part = :part AND uid = :uid AND name = :name
RETURNING sha256

-- name: blobs_of
SELECT DISTINCT a.sha256 FROM artifacts a WHERE a.part = :part AND a.uid = :uid

-- name: copy
-- For a fork: what was saved while the head was in that range of seqs.
INSERT INTO artifacts
  (part, uid, name, version, seq, mime_type, metadata, sha256, size, created_at)
SELECT part, :new_uid, name, version, seq - :low + :base, mime_type, metadata, sha256, size,
    created_at
FROM artifacts WHERE part = :part AND uid = :uid AND seq BETWEEN :low AND :high

-- name: copy_first
-- The same for what was saved before the first event that is copied.
INSERT INTO artifacts
  (part, uid, name, version, seq, mime_type, metadata, sha256, size, created_at)
SELECT part, :new_uid, name, version, 0, mime_type, metadata, sha256, size, created_at
FROM artifacts WHERE part = :part AND uid = :uid AND seq < :high

-- name: copy_names
INSERT INTO artifact_names (part, uid, name, latest)
SELECT part, uid, name, MAX(version) FROM artifacts
WHERE part = :part AND uid = :new_uid GROUP BY part, uid, name

-- name: put_blob
-- Takes the row until the end of the transaction: who drops the blob comes before, or after.
INSERT INTO artifact_blobs (part, sha256, size, created_at) VALUES (:part, :digest, :size, :now)
ON CONFLICT (part, sha256) DO UPDATE SET size = excluded.size

-- name: has_pieces
SELECT 1 FROM artifact_pieces p WHERE p.part = :part AND p.sha256 = :digest LIMIT 1

-- name: add_piece
INSERT INTO artifact_pieces (part, sha256, number, data, created_at)
VALUES (:part, :digest, :number, :data, :now)

-- name: piece
SELECT p.data FROM artifact_pieces p
WHERE p.part = :part AND p.sha256 = :digest AND p.number = :number

-- name: pieces_after
SELECT p.part, p.sha256, p.number, p.data, p.created_at FROM artifact_pieces p
WHERE p.part = :part AND (p.sha256, p.number) > (:digest, :number)
ORDER BY p.sha256, p.number LIMIT :limit

-- name: hold_blob
-- A statement of its own, before the next one looks whether anybody still needs it: whoever had
-- the row has committed by then, and is seen.
UPDATE artifact_blobs SET size = size WHERE part = :part AND sha256 = :digest

-- name: drop_blob
DELETE FROM artifact_blobs
WHERE part = :part AND sha256 = :digest
  AND NOT EXISTS (SELECT 1 FROM artifacts a WHERE a.part = :part AND a.sha256 = :digest)
