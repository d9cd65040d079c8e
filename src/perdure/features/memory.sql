-- Memories by (part, id); every change holds the owner's row first.

-- define: columns
m.part, m.id, m.digest, m.same_by, m.version, m.text, m.topics, m.metadata, m.agent, m.author,
m.session_id, m.event_id, m.timestamp, m.valid_from, m.valid_until, m.superseded_by, m.pinned,
m.expires_at, m.created_at, m.updated_at

-- define: live
m.part = :part AND (m.expires_at IS NULL OR m.expires_at > :now)

-- define: valid
{live}
  AND (CAST(:as_of AS BIGINT) IS NULL
       OR ((m.valid_from IS NULL OR m.valid_from <= :as_of)
           AND (m.valid_until IS NULL OR m.valid_until > :as_of)))

-- name: hold
-- One writer of an owner's memories at a time.
INSERT INTO memory_owners (part, tenant, app, user_id, version)
VALUES (:part, :tenant, :app, :user_id, 1)
ON CONFLICT (part) DO UPDATE SET version = memory_owners.version + 1

-- name: find
SELECT {columns} FROM memories m WHERE {live} AND m.id = :id

-- name: same
-- Also one that has expired: it stands in the way.
SELECT {columns} FROM memories m WHERE m.part = :part AND m.digest = :digest

-- name: page
-- for: start = first: CAST(:after AS BIGINT) IS NULL AND CAST(:after_id AS TEXT) IS NULL | next: (m.updated_at, m.id) < (:after, :after_id)
SELECT {columns} FROM memories m
WHERE {valid} AND {start}
ORDER BY m.updated_at DESC, m.id DESC LIMIT :limit

-- name: some
-- Those of these ids that hold: as many as a search looks at in one go.
SELECT {columns} FROM memories m
WHERE {valid}
  AND m.id IN (:id_a, :id_b, :id_c, :id_d, :id_e, :id_f, :id_g, :id_h,
               :id_i, :id_j, :id_k, :id_l, :id_m, :id_n, :id_o, :id_p)

-- name: count
SELECT COUNT(*) FROM memories m WHERE {valid}

-- name: of_session
SELECT {columns} FROM memories m WHERE {live} AND m.session_id = :session_id ORDER BY m.id

-- name: of_event
SELECT {columns} FROM memories m
WHERE m.part = :part AND m.session_id = :session_id AND m.event_id = :event_id ORDER BY m.id

-- name: insert
INSERT INTO memories (part, id, digest, same_by, version, text, topics, metadata, agent, author,
    session_id, event_id, timestamp, valid_from, valid_until, superseded_by, pinned, expires_at,
    created_at, updated_at)
VALUES (:part, :id, :digest, :same_by, :version, :text, :topics, :metadata, :agent, :author,
    :session_id, :event_id, :timestamp, :valid_from, :valid_until, :superseded_by, :pinned,
    :expires_at, :created_at, :updated_at)

-- name: change
UPDATE memories
SET digest = :digest, same_by = :same_by, version = :version, text = :text, topics = :topics,
    metadata = :metadata, author = :author, timestamp = :timestamp, valid_from = :valid_from,
    valid_until = :valid_until, superseded_by = :superseded_by, pinned = :pinned,
    expires_at = :expires_at, updated_at = :updated_at
WHERE part = :part AND id = :id

-- name: remove
DELETE FROM memories WHERE part = :part AND id = :id

-- name: remove_if_expired
DELETE FROM memories WHERE part = :part AND id = :id AND expires_at <= :now
RETURNING id

-- name: every
SELECT {columns} FROM memories m WHERE m.part = :part

-- name: remove_all
DELETE FROM memories WHERE part = :part

-- name: spare
-- Those that a limit may take, what was not touched for longest first.
SELECT {columns} FROM memories m
WHERE m.part = :part AND m.pinned = 0 AND m.id <> :id
ORDER BY m.updated_at, m.id LIMIT :limit

-- name: expired_of
SELECT {columns} FROM memories m WHERE m.part = :part AND m.expires_at <= :now

-- name: expired
SELECT m.part, m.id FROM memories m WHERE m.expires_at <= :now LIMIT :limit

-- name: count_expired
SELECT COUNT(*) FROM memories m WHERE m.expires_at <= :now

-- name: take_owner
-- The same as hold, where the names are not known.
UPDATE memory_owners SET version = version + 1 WHERE part = :part

-- name: log
INSERT INTO memory_log (part, id, version, was) VALUES (:part, :id, :version, :was)

-- name: logged
SELECT l.version, l.was FROM memory_log l WHERE l.part = :part AND l.id = :id ORDER BY l.version

-- name: bury
INSERT INTO memory_tombstones (part, digest, heir, deleted_at)
VALUES (:part, :digest, :heir, :now)
ON CONFLICT (part, digest) DO UPDATE SET heir = excluded.heir, deleted_at = excluded.deleted_at

-- name: buried
SELECT t.heir FROM memory_tombstones t WHERE t.part = :part AND t.digest = :digest

-- name: revive
DELETE FROM memory_tombstones WHERE part = :part AND digest = :digest

-- name: ingested
SELECT i.spans, i.version FROM memory_ingests i WHERE i.part = :part AND i.uid = :uid

-- name: ingest_first
INSERT INTO memory_ingests (part, uid, spans, version, updated_at)
VALUES (:part, :uid, :spans, 1, :now)
ON CONFLICT (part, uid) DO NOTHING
RETURNING version

-- name: ingest_more
UPDATE memory_ingests SET spans = :spans, version = version + 1, updated_at = :now
WHERE part = :part AND uid = :uid AND version = :version
RETURNING version

-- define: wanted
SELECT 0 AS place, CAST(:key_a AS TEXT) AS doc
UNION ALL SELECT 1, CAST(:key_b AS TEXT)
UNION ALL SELECT 2, CAST(:key_c AS TEXT)
UNION ALL SELECT 3, CAST(:key_d AS TEXT)
UNION ALL SELECT 4, CAST(:key_e AS TEXT)
UNION ALL SELECT 5, CAST(:key_f AS TEXT)
UNION ALL SELECT 6, CAST(:key_g AS TEXT)
UNION ALL SELECT 7, CAST(:key_h AS TEXT)

-- name: memories
-- for: which = now: (m.valid_from IS NULL OR m.valid_from <= :now) AND (m.valid_until IS NULL OR m.valid_until > :now) | ever: m.part = :part
-- What a search over everything shows of them, in the columns that search.sql tells of.
SELECT w.place, o.app, o.user_id, NULLIF(m.session_id, ''), m.id, m.timestamp,
    SUBSTR(m.text, 1, :characters)
FROM ({wanted}) w CROSS JOIN memories m CROSS JOIN memory_owners o
WHERE {live} AND m.id = w.doc AND o.part = :part AND {which}
