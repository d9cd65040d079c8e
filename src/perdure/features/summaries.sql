-- What a conversation was about, by (part, uid, filter_key); '' is the whole session.

-- define: columns
s.filter_key, s.summary, s.topics, s.covers_seq, s.anchor, s.version, s.updated_at

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
INSERT INTO summaries (part, uid, filter_key, summary, topics, covers_seq, anchor, version,
    updated_at)
VALUES (:part, :uid, :filter_key, :summary, :topics, :covers_seq, :anchor, 1, :now)
ON CONFLICT (part, uid, filter_key) DO UPDATE
SET summary = excluded.summary, topics = excluded.topics, covers_seq = excluded.covers_seq,
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
RETURNING filter_key

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

-- name: enqueue
INSERT INTO summary_jobs (part, uid, filter_key, tenant, lease, options, asked, enqueued_at,
    due_at, attempts, error)
VALUES (:part, :uid, :filter_key, :tenant, :lease, :options, 1, :now, :now, 0, NULL)
ON CONFLICT (part, uid, filter_key) DO UPDATE
SET options = excluded.options, asked = summary_jobs.asked + 1, due_at = excluded.due_at,
    attempts = 0

-- name: due
-- What nobody is at: a queue of all people, so a sharded database asks all its machines.
SELECT j.part, j.uid, j.filter_key, j.lease, s.app, s.user_id, s.id FROM summary_jobs j
JOIN sessions s ON s.part = j.part AND s.uid = j.uid
WHERE j.tenant = :tenant AND j.due_at <= :now
  AND s.deleted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > :now)
  AND NOT EXISTS (
      SELECT 1 FROM leases l WHERE l.part = j.part AND l.name = j.lease AND l.until > :now)
ORDER BY j.due_at, j.part, j.uid, j.filter_key LIMIT :limit

-- name: job
SELECT j.asked, j.options, j.attempts FROM summary_jobs j
WHERE j.part = :part AND j.uid = :uid AND j.filter_key = :filter_key AND j.due_at <= :now

-- name: done
-- Not if it was asked for once more in the meantime.
DELETE FROM summary_jobs
WHERE part = :part AND uid = :uid AND filter_key = :filter_key AND asked = :asked

-- name: failed
UPDATE summary_jobs SET attempts = attempts + 1, due_at = :due_at, error = :error
WHERE part = :part AND uid = :uid AND filter_key = :filter_key AND asked = :asked

-- name: jobs
-- for: scope = session: j.part = :part AND j.uid = :uid | tenant: j.tenant = :tenant
SELECT s.app, s.user_id, s.id, j.part, j.uid, j.filter_key, j.enqueued_at, j.due_at, j.attempts,
    j.error, l.until
FROM summary_jobs j
JOIN sessions s ON s.part = j.part AND s.uid = j.uid
LEFT JOIN leases l ON l.part = j.part AND l.name = j.lease AND l.until > :now
WHERE {scope} AND (j.part, j.uid, j.filter_key) > (:after_part, :after_uid, :after_filter)
  AND s.deleted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > :now)
ORDER BY j.part, j.uid, j.filter_key LIMIT :limit

-- name: cancel
DELETE FROM summary_jobs WHERE part = :part AND uid = :uid AND filter_key = :filter_key
RETURNING asked
