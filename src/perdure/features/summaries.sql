-- What a conversation was about, by (part, uid, filter_key); '' is the whole session.

-- define: columns
s.filter_key, s.text, s.topics, s.covers_seq, s.anchor, s.version, s.updated_at

-- name: find
SELECT {columns} FROM summaries s
WHERE s.part = :part AND s.uid = :uid AND s.filter_key = :filter_key

-- name: of_filter
-- The one of the filter, and the whole session's to fall back to.
SELECT {columns} FROM summaries s
WHERE s.part = :part AND s.uid = :uid AND s.filter_key IN (:filter_key, '')

-- name: list
SELECT {columns} FROM summaries s
WHERE s.part = :part AND s.uid = :uid AND s.filter_key > :after
ORDER BY s.filter_key LIMIT :limit

-- name: every
SELECT {columns} FROM summaries s WHERE s.part = :part AND s.uid = :uid

-- name: put
INSERT INTO summaries (part, uid, filter_key, text, topics, covers_seq, anchor, version,
    updated_at)
VALUES (:part, :uid, :filter_key, :text, :topics, :covers_seq, :anchor, 1, :now)
ON CONFLICT (part, uid, filter_key) DO UPDATE
SET text = excluded.text, topics = excluded.topics, covers_seq = excluded.covers_seq,
    anchor = excluded.anchor, version = summaries.version + 1, updated_at = excluded.updated_at
RETURNING version

-- name: remove
DELETE FROM summaries WHERE part = :part AND uid = :uid AND filter_key = :filter_key
RETURNING version

-- name: clear
DELETE FROM summaries WHERE part = :part AND uid = :uid

-- name: forget
-- Those that tell of an event which is removed, or gets another content.
DELETE FROM summaries WHERE part = :part AND uid = :uid AND covers_seq >= :seq

-- name: set_anchor
UPDATE summaries SET anchor = :anchor
WHERE part = :part AND uid = :uid AND filter_key = :filter_key

-- name: move_anchor
UPDATE summaries SET anchor = :anchor WHERE part = :part AND uid = :uid AND anchor = :seq

-- name: mark
SELECT m.hidden_upto FROM history_marks m WHERE m.part = :part AND m.uid = :uid

-- name: set_mark
INSERT INTO history_marks (part, uid, hidden_upto, updated_at)
VALUES (:part, :uid, :hidden_upto, :now)
ON CONFLICT (part, uid) DO UPDATE
SET hidden_upto = excluded.hidden_upto, updated_at = excluded.updated_at

-- name: clear_mark
DELETE FROM history_marks WHERE part = :part AND uid = :uid
