-- What search indexes of sessions, and what it shows of what it has found.

-- define: live
s.deleted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > :now)

-- define: in_content
-- Where an event has no text of its own, it may be that of its content: see drafts.py.
CASE WHEN e.text = '' AND e.format IN ('openai.chat', 'openai.responses')
    AND LENGTH(e.content) <= 16384 THEN e.content END

-- name: lacking
-- for: scope = user: s.part = :owner | app: s.app_part = :owner | tenant: s.tenant = :owner
-- Sessions with events or a title that are not indexed.
SELECT s.part, s.app_part, s.uid, s.version, s.last_seq, s.title, COALESCE(m.seq, 0),
    COALESCE(m.title, '')
FROM sessions s LEFT JOIN search_marks m ON m.part = s.part AND m.uid = s.uid
WHERE {scope} AND {live}
  AND (COALESCE(m.seq, 0) < s.last_seq OR COALESCE(m.title, '') <> s.title)
ORDER BY s.part, s.uid LIMIT :limit

-- name: lacking_since
-- The same of an app, of those that were written to since, in the order of that.
SELECT s.part, s.app_part, s.uid, s.version, s.last_seq, s.title, COALESCE(m.seq, 0),
    COALESCE(m.title, ''), s.updated_at
FROM sessions s LEFT JOIN search_marks m ON m.part = s.part AND m.uid = s.uid
WHERE s.app_part = :owner AND s.updated_at >= :since AND {live}
  AND (COALESCE(m.seq, 0) < s.last_seq OR COALESCE(m.title, '') <> s.title)
ORDER BY s.updated_at, s.id, s.uid LIMIT :limit

-- name: fresh
SELECT e.seq, SUBSTR(e.text, 1, :characters), {in_content} FROM events e
WHERE e.part = :part AND e.uid = :uid AND e.seq > :after ORDER BY e.seq LIMIT :limit

-- name: hold_to_index
-- Against those who rewrite or erase at the same moment: they come before all of it, or after.
UPDATE sessions SET left_head = left_head WHERE part = :part AND uid = :uid
RETURNING title

-- name: unchanged
-- Since the events were read: the mark, whether history was rewritten, and how many there are.
SELECT COALESCE((SELECT m.seq FROM search_marks m WHERE m.part = :part AND m.uid = :uid), 0),
    (SELECT COUNT(*) FROM rewrites r
     WHERE r.part = :part AND r.uid = :uid AND r.version > :version),
    (SELECT COUNT(*) FROM events e
     WHERE e.part = :part AND e.uid = :uid AND e.seq > :after AND e.seq <= :high)

-- name: mark
INSERT INTO search_marks (part, uid, seq, title) VALUES (:part, :uid, :seq, :title)
ON CONFLICT (part, uid) DO UPDATE SET seq = excluded.seq, title = excluded.title

-- define: wanted
SELECT 0 AS place, CAST(:uid_a AS TEXT) AS uid, CAST(:key_a AS TEXT) AS doc
UNION ALL SELECT 1, CAST(:uid_b AS TEXT), CAST(:key_b AS TEXT)
UNION ALL SELECT 2, CAST(:uid_c AS TEXT), CAST(:key_c AS TEXT)
UNION ALL SELECT 3, CAST(:uid_d AS TEXT), CAST(:key_d AS TEXT)
UNION ALL SELECT 4, CAST(:uid_e AS TEXT), CAST(:key_e AS TEXT)
UNION ALL SELECT 5, CAST(:uid_f AS TEXT), CAST(:key_f AS TEXT)
UNION ALL SELECT 6, CAST(:uid_g AS TEXT), CAST(:key_g AS TEXT)
UNION ALL SELECT 7, CAST(:uid_h AS TEXT), CAST(:key_h AS TEXT)

-- name: events
-- Each kind has a statement of its name: of the wanted documents that are there, their number,
-- app, user, id of the session, id, time, text; for events seq, head, whether there are jumps, and
-- the content that the text is within.
SELECT w.place, s.app, s.user_id, s.id, e.id, e.timestamp, SUBSTR(e.text, 1, :characters), e.seq,
    s.head, EXISTS (SELECT 1 FROM events j
        WHERE j.part = :part AND j.uid = w.uid AND j.prev <> j.seq - 1), {in_content}
FROM ({wanted}) w CROSS JOIN events e CROSS JOIN sessions s
WHERE e.part = :part AND e.uid = w.uid AND e.seq = CAST(w.doc AS BIGINT)
  AND s.part = :part AND s.uid = w.uid AND {live}

-- name: titles
SELECT w.place, s.app, s.user_id, s.id, s.id, s.updated_at, SUBSTR(s.title, 1, :characters)
FROM ({wanted}) w CROSS JOIN sessions s
WHERE s.part = :part AND s.uid = w.uid AND {live}

-- name: summaries
-- The text is JSON, whole; then what tells whether the summary counts on the active line.
SELECT w.place, s.app, s.user_id, s.id, m.filter_key, m.updated_at, m.summary, s.head,
    m.covers_seq, m.anchor
FROM ({wanted}) w CROSS JOIN summaries m CROSS JOIN sessions s
WHERE m.part = :part AND m.uid = w.uid AND m.filter_key = w.doc
  AND s.part = :part AND s.uid = w.uid AND {live}

-- define: there
(w.uid = '' OR s.uid IS NOT NULL AND {live})

-- name: approvals
-- Here and in the next two the text is made of what stands from the seventh column on.
SELECT w.place, a.app, a.user_id, CASE WHEN a.uid <> '' THEN a.session_id END, a.id, a.created_at,
    a.question, a.tool_name, a.feedback, a.args, a.edited_args, a.payload
FROM ({wanted}) w CROSS JOIN approvals a
    LEFT JOIN sessions s ON s.part = :part AND s.uid = w.uid
WHERE a.part = :part AND a.uid = w.uid AND a.id = w.doc AND {there}

-- name: clarifications
SELECT w.place, c.app, c.user_id, CASE WHEN c.uid <> '' THEN c.session_id END, c.id, c.created_at,
    c.question, c.context, c.options, c.answer
FROM ({wanted}) w CROSS JOIN clarifications c
    LEFT JOIN sessions s ON s.part = :part AND s.uid = w.uid
WHERE c.part = :part AND c.uid = w.uid AND c.id = w.doc AND {there}

-- name: tasks
SELECT w.place, t.app, '', CAST(NULL AS TEXT), t.id, t.updated_at, t.name, t.action
FROM ({wanted}) w CROSS JOIN cron_tasks t
WHERE t.part = :part AND t.id = w.doc

-- name: hold_approval
-- Against those who answer or remove one at the same moment, as hold_to_index is for sessions.
UPDATE approvals SET steps = steps WHERE part = :part AND uid = :uid AND id = :id

-- name: hold_clarification
UPDATE clarifications SET status = status WHERE part = :part AND uid = :uid AND id = :id

-- name: live_uids
SELECT s.uid FROM sessions s WHERE s.part = :part AND {live}

-- name: documents_of
SELECT b.uid, b.kind, b.docs FROM search_blocks b
WHERE b.part = :part AND :kinds LIKE '% ' || b.kind || ' %'
  AND (CAST(:uid AS TEXT) IS NULL OR b.uid = :uid)

-- name: vectors
-- for: which, what = keys: , v.uid, v.kind, v.doc | all: AND {alike}, v.uid, v.kind, v.doc, v.vector
SELECT {what} FROM search_vectors v WHERE {ours} {which}

-- As bytes: the driver would make a number of Python of each.
-- name: vectors[postgres]
-- for: which, what = keys: , v.uid, v.kind, v.doc | all: AND {alike}, v.uid, v.kind, v.doc, array_send(v.vector)
SELECT {what} FROM search_vectors v WHERE {ours} {which}

-- define: ours
v.part = :part AND v.model = :model AND :kinds LIKE '% ' || v.kind || ' %'
  AND (CAST(:uid AS TEXT) IS NULL OR v.uid = :uid)

-- define: alike
v.dimension = :dimension

-- Whether this connection can compare vectors by itself: with sqlite-vec, with pgvector.
-- name: compares
SELECT 1 FROM pragma_function_list WHERE name = 'vec_distance_cosine'

-- name: compares[postgres]
SELECT 1 WHERE CASE
  WHEN to_regtype('vector') IS NULL THEN FALSE
  ELSE to_regprocedure('cosine_distance(vector, vector)') IS NOT NULL
END

-- name: compared
SELECT v.uid, v.kind, v.doc, 1 - vec_distance_cosine(v.vector, :vector)
FROM search_vectors v WHERE {ours} AND {alike}

-- name: compared[postgres]
SELECT v.uid, v.kind, v.doc, 1 - cosine_distance(v.vector::VECTOR, CAST(:vector AS REAL[])::VECTOR)
FROM search_vectors v WHERE {ours} AND {alike}

-- name: put_vector
INSERT INTO search_vectors (part, uid, kind, digest, doc, model, dimension, vector)
VALUES (:part, :uid, :kind, :digest, :doc, :model, :dimension, :vector)
ON CONFLICT (part, uid, kind, digest) DO UPDATE
SET model = excluded.model, dimension = excluded.dimension, vector = excluded.vector
