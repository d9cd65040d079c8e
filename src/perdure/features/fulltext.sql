-- Blocks of words by (part, uid, block); a later block has a greater name. See features/postings.py.

-- name: add
INSERT INTO search_blocks (part, block, uid, kind, app_part, low_key, high_key, documents,
    length, docs, words)
VALUES (:part, :block, :uid, :kind, :app_part, :low_key, :high_key, :documents, :length, :docs,
    :words)

-- name: newest
-- for: scope = user: b.part = :owner | app: b.app_part = :owner
-- From the newest on. Kinds are names between blanks.
SELECT b.part, b.block, b.uid, b.kind, b.documents, b.length, b.docs, b.words
FROM search_blocks b
WHERE {scope} AND b.block < :before
  AND :kinds LIKE '% ' || b.kind || ' %'
  AND (CAST(:uid AS TEXT) IS NULL OR b.uid = :uid)
ORDER BY b.block DESC, b.part LIMIT :limit

-- name: around
-- Those that may hold keys between the two.
SELECT b.block, b.docs FROM search_blocks b
WHERE b.part = :part AND b.uid = :uid AND b.kind = :kind
  AND b.low_key <= :high_key AND b.high_key >= :low_key

-- name: take
DELETE FROM search_blocks WHERE part = :part AND block = :block
RETURNING uid, kind, app_part, docs, words

-- name: take_small
-- What comes back is ours alone: who takes at the same moment gets the others, or none.
DELETE FROM search_blocks
WHERE part = :part AND uid = :uid AND kind = :kind AND documents < :small
RETURNING block, docs, words

-- name: hold_session
-- Who removes all documents of a session or person must not miss those that move meanwhile.
UPDATE sessions SET left_head = left_head WHERE part = :part AND uid = :uid

-- name: hold_owner
UPDATE memory_owners SET version = version + 1 WHERE part = :part

-- name: drop
DELETE FROM search_blocks WHERE part = :part AND uid = :uid AND kind = :kind

-- name: drop_vectors
DELETE FROM search_vectors WHERE part = :part AND uid = :uid AND kind = :kind
  AND doc BETWEEN :low_key AND :high_key

-- name: drop_vector
DELETE FROM search_vectors WHERE part = :part AND uid = :uid AND kind = :kind AND digest = :digest

-- name: drop_all_vectors
DELETE FROM search_vectors WHERE part = :part AND uid = :uid AND kind = :kind
