-- Sessions by (part, uid); a live id is unique in its part.

-- define: columns
s.part, s.uid, s.id, s.tenant, s.app, s.user_id, s.app_part, s.version, s.head, s.left_head,
s.last_seq, s.event_count, s.created_at, s.updated_at, s.last_event_at, s.ttl, s.expires_at,
s.deleted_at, s.title, s.author, s.agent_type, s.tags, s.metadata, s.parent, s.origin, s.preview,
s.fence

-- define: returned
part, uid, id, tenant, app, user_id, app_part, version, head, left_head, last_seq, event_count,
created_at, updated_at, last_event_at, ttl, expires_at, deleted_at, title, author, agent_type,
tags, metadata, parent, origin, preview, fence

-- name: find
SELECT {columns} FROM sessions s
WHERE s.part = :part AND s.id = :id AND s.deleted_at IS NULL
  AND (s.expires_at IS NULL OR s.expires_at > :now)

-- name: find_uid
SELECT {columns} FROM sessions s WHERE s.part = :part AND s.uid = :uid

-- name: find_deleted
SELECT {columns} FROM sessions s
WHERE s.part = :part AND s.id = :id AND s.deleted_at IS NOT NULL
ORDER BY s.deleted_at DESC, s.uid DESC LIMIT 1

-- name: uids_of
SELECT s.uid FROM sessions s WHERE s.part = :part AND s.id = :id

-- name: claim
-- The write that every change of a session begins with: it takes the row and the next version.
UPDATE sessions
SET version = version + 1, updated_at = :now, expires_at = :now + ttl
WHERE part = :part AND id = :id AND deleted_at IS NULL
  AND (expires_at IS NULL OR expires_at > :now)
  AND (CAST(:expected AS BIGINT) IS NULL OR version = :expected)
  AND (CAST(:fence AS BIGINT) IS NULL OR fence = :fence)
RETURNING {returned}

-- name: hold
-- The row for this transaction alone, without a new version: for what readers do not notice.
UPDATE sessions SET left_head = left_head
WHERE part = :part AND id = :id AND deleted_at IS NULL
  AND (expires_at IS NULL OR expires_at > :now)
  AND (CAST(:expected AS BIGINT) IS NULL OR version = :expected)
  AND (CAST(:fence AS BIGINT) IS NULL OR fence = :fence)
RETURNING {returned}

-- name: lock[sqlite]
-- The writer has them all.
SELECT 1 WHERE :part = :id

-- name: lock[postgres]
-- The row for this transaction alone, if there is one: to take several in one order.
SELECT uid FROM sessions WHERE part = :part AND id = :id AND deleted_at IS NULL
FOR NO KEY UPDATE

-- name: hold_uid
-- The row for this transaction alone, before what hangs on it is removed.
UPDATE sessions SET left_head = left_head WHERE part = :part AND uid = :uid

-- name: hold_purgeable
-- The same for a sweep: what was restored or written in the meantime is not swept.
UPDATE sessions SET left_head = left_head
WHERE part = :part AND uid = :uid
  AND ((tenant = :tenant AND deleted_at <= :deleted_before)
       OR (deleted_at IS NULL
           AND (expires_at <= :now OR (tenant = :tenant AND updated_at <= :idle_before))))
RETURNING uid

-- name: doom
-- A sweep has begun to remove it, in several transactions: nothing can bring it back.
UPDATE sessions SET deleted_at = :doomed, version = version + 1 WHERE part = :part AND uid = :uid

-- name: hold_all
-- Every session of a person.
UPDATE sessions SET left_head = left_head WHERE part = :part

-- name: claim_append
-- The right side of SET sees the old row: left_head keeps the head that the new events follow.
-- The step is 0 where the same transaction has taken its version already.
UPDATE sessions
SET version = version + :step, updated_at = :now, expires_at = :now + ttl,
    left_head = head, head = last_seq + :added, last_seq = last_seq + :added,
    event_count = event_count + :added, last_event_at = :last_event_at,
    preview = COALESCE(:preview, preview)
WHERE part = :part AND id = :id AND deleted_at IS NULL
  AND (expires_at IS NULL OR expires_at > :now)
  AND (CAST(:expected AS BIGINT) IS NULL OR version = :expected)
  AND (CAST(:fence AS BIGINT) IS NULL OR fence = :fence)
RETURNING uid, version, last_seq, left_head, event_count

-- name: insert
INSERT INTO sessions ({returned})
VALUES (:part, :uid, :id, :tenant, :app, :user_id, :app_part, :version, :head, :left_head,
        :last_seq, :event_count, :created_at, :updated_at, :last_event_at, :ttl, :expires_at,
        :deleted_at, :title, :author, :agent_type, :tags, :metadata, :parent, :origin, :preview,
        :fence)
ON CONFLICT (part, id) WHERE deleted_at IS NULL DO NOTHING
RETURNING uid

-- name: retire_expired
UPDATE sessions SET deleted_at = expires_at
WHERE part = :part AND id = :id AND deleted_at IS NULL AND expires_at <= :now
RETURNING uid

-- name: describe
UPDATE sessions
SET title = :title, author = :author, agent_type = :agent_type, tags = :tags,
    metadata = :metadata, ttl = :ttl, expires_at = :expires_at
WHERE part = :part AND uid = :uid

-- name: move_head
UPDATE sessions
SET head = :head, left_head = :head, event_count = :event_count, preview = :preview,
    last_event_at = :last_event_at
WHERE part = :part AND uid = :uid

-- name: touched
-- A new version for a session that is changed along with another one.
UPDATE sessions SET version = version + 1, updated_at = :now WHERE part = :part AND uid = :uid
RETURNING version, app, user_id, id

-- name: mark_deleted
UPDATE sessions SET deleted_at = :now, version = version + 1
WHERE part = :part AND uid = :uid AND deleted_at IS NULL

-- name: mark_restored
-- As it was seen: a sweep may have begun to take it away since then.
UPDATE sessions
SET deleted_at = NULL, version = version + 1, updated_at = :now, expires_at = :now + ttl
WHERE part = :part AND uid = :uid AND deleted_at = :deleted_at
RETURNING {returned}

-- name: children
SELECT {columns} FROM sessions s
WHERE s.part = :part AND s.parent = :parent AND s.deleted_at IS NULL

-- name: add_term
INSERT INTO session_terms (part, uid, digest) VALUES (:part, :uid, :digest)
ON CONFLICT (part, uid, digest) DO NOTHING

-- name: clear_terms
DELETE FROM session_terms WHERE part = :part AND uid = :uid

-- name: copy_terms
INSERT INTO session_terms (part, uid, digest)
SELECT part, :new_uid, digest FROM session_terms WHERE part = :part AND uid = :uid

-- define: filters
{scope} AND {which}
  AND (CAST(:updated_after AS BIGINT) IS NULL OR s.updated_at > :updated_after)
  AND (CAST(:parent AS TEXT) IS NULL OR s.parent = :parent)
  AND (CAST(:text AS TEXT) IS NULL
       OR LOWER(s.title) LIKE :text ESCAPE '!' OR LOWER(s.preview) LIKE :text ESCAPE '!'
       OR LOWER(s.id) LIKE :text ESCAPE '!')
  AND (:terms = 0
       OR :terms = (SELECT COUNT(*) FROM session_terms t
                    WHERE t.part = s.part AND t.uid = s.uid
                      AND :digests LIKE '%' || t.digest || '%'))

-- name: count
-- for: scope = user: s.part = :owner | app: s.app_part = :owner | tenant: s.tenant = :owner
-- for: which = live: s.deleted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > :now) | every: CAST(:now AS BIGINT) > 0
SELECT COUNT(*) FROM sessions s WHERE {filters}

-- define: page
SELECT {columns} FROM sessions s
WHERE {filters} AND {start}
ORDER BY {by} {way}, s.id {way}, s.uid {way}
LIMIT :limit

-- name: list
-- for: scope = user: s.part = :owner | app: s.app_part = :owner | tenant: s.tenant = :owner
-- for: which = live: s.deleted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > :now) | every: CAST(:now AS BIGINT) > 0
-- for: by = updated_at: s.updated_at | created_at: s.created_at | last_event_at: COALESCE(s.last_event_at, s.created_at) | title: s.title | id: s.id
-- for: way, beyond = up: ASC, > | down: DESC, <
-- for: start = first: CAST(:after AS TEXT) IS NULL AND CAST(:after_id AS TEXT) IS NULL AND CAST(:after_uid AS TEXT) IS NULL | next: ({by}, s.id, s.uid) {beyond} (:after, :after_id, :after_uid)
{page}

-- name: list_stated
-- for: scope, near = user: s.part = :owner, AND st.part = :owner | app: s.app_part = :owner, | tenant: s.tenant = :owner,
-- for: which = live: s.deleted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > :now) | every: CAST(:now AS BIGINT) > 0
-- for: by = updated_at: s.updated_at | created_at: s.created_at | last_event_at: COALESCE(s.last_event_at, s.created_at) | title: s.title | id: s.id
-- for: way, beyond = up: ASC, > | down: DESC, <
-- for: start = first: CAST(:after AS TEXT) IS NULL AND CAST(:after_id AS TEXT) IS NULL AND CAST(:after_uid AS TEXT) IS NULL | next: ({by}, s.id, s.uid) {beyond} (:after, :after_id, :after_uid)
-- One row a state key of the session or its user, with the scope as in `merged` of state.sql; the
-- rows stand in no order. A plan does not see by itself that all of them are of one part.
WITH page AS ({page})
SELECT page.*, CASE st.uid WHEN '' THEN 2 ELSE 3 END, st.name, st.value, st.codec, st.data
FROM page LEFT JOIN state st
  ON st.part = page.part AND st.uid IN (page.uid, '') {near}
  AND (st.value IS NOT NULL OR st.codec IS NOT NULL)
