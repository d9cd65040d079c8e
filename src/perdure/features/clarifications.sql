-- Questions to people by (part, id); the id carries the part.

-- define: columns
c.part, c.uid, c.id, c.tenant, c.app, c.user_id, c.app_part, c.session_id, c.digest, c.question,
c.context, c.options, c.sender_context, c.status, c.answer, c.answered_by, c.created_at,
c.answered_at, c.expires_at

-- define: returned
part, uid, id, tenant, app, user_id, app_part, session_id, digest, question, context, options,
sender_context, status, answer, answered_by, created_at, answered_at, expires_at

-- define: there
-- Counted, since PostgreSQL would answer EXISTS behind an OR by reading all sessions once.
(c.uid = '' OR 1 = (
    SELECT COUNT(*) FROM sessions s
    WHERE s.part = c.part AND s.uid = c.uid AND s.deleted_at IS NULL
      AND (s.expires_at IS NULL OR s.expires_at > :now)))

-- define: pending
c.status = 'pending' AND (c.expires_at IS NULL OR c.expires_at > :now)

-- name: find
SELECT {columns} FROM clarifications c
WHERE c.part = :part AND c.id = :id AND c.tenant = :tenant AND {there}

-- name: asked
-- Also one whose time is over and that nobody has ended yet: it stands in the way.
SELECT {columns} FROM clarifications c
WHERE c.part = :part AND c.uid = :uid AND c.digest = :digest AND c.status = 'pending'

-- name: insert
INSERT INTO clarifications ({returned})
VALUES (:part, :uid, :id, :tenant, :app, :user_id, :app_part, :session_id, :digest, :question,
    :context, :options, :sender_context, :status, :answer, :answered_by, :created_at,
    :answered_at, :expires_at)
ON CONFLICT (part, uid, id) DO NOTHING
RETURNING id

-- name: finish
-- The one step from pending to an end: who comes second finds nothing.
UPDATE clarifications AS c
SET status = :status, answer = :answer, answered_by = :answered_by, answered_at = :now
WHERE c.part = :part AND c.id = :id AND c.tenant = :tenant AND {pending} AND {there}
RETURNING {returned}

-- name: hold
-- The row for this transaction alone.
UPDATE clarifications SET status = status
WHERE part = :part AND id = :id AND tenant = :tenant AND status = 'pending'
RETURNING id

-- name: end_expired
UPDATE clarifications SET status = 'expired', answered_at = expires_at
WHERE part = :part AND id = :id AND status = 'pending' AND expires_at <= :now
RETURNING {returned}

-- name: waiters
-- Leases of those who wait, by the name that they begin with.
SELECT 1 FROM leases l
WHERE l.part = :part AND l.name >= :from_name AND l.name < :to_name AND l.until > :now LIMIT 1

-- define: answered
c.status = 'answered'

-- define: cancelled
c.status = 'cancelled'

-- define: expired
(c.status = 'expired' OR (c.status = 'pending' AND c.expires_at <= :now))

-- define: of_any
c.id IS NOT NULL

-- name: list
-- for: scope = session: c.part = :owner AND c.uid = :uid | user: c.part = :owner | app: c.app_part = :owner | tenant: c.tenant = :owner
-- for: state = any: {of_any} | pending: {pending} | answered: {answered} | expired: {expired} | cancelled: {cancelled}
-- for: start = first: c.id IS NOT NULL | next: (c.created_at, c.id) < (:after, :after_id)
SELECT {columns} FROM clarifications c
WHERE {scope} AND {state} AND {start} AND {there}
ORDER BY c.created_at DESC, c.id DESC LIMIT :limit

-- name: overdue
SELECT c.part, c.id FROM clarifications c
WHERE c.tenant = :tenant AND c.status = 'pending' AND c.expires_at <= :now
ORDER BY c.expires_at LIMIT :limit

-- name: count_overdue
SELECT COUNT(*) FROM clarifications c
WHERE c.tenant = :tenant AND c.status = 'pending' AND c.expires_at <= :now

-- define: ended_long_ago
c.tenant = :tenant AND c.status <> 'pending' AND c.answered_at <= :before
  AND NOT EXISTS (SELECT 1 FROM holds h
                  WHERE h.part = c.part AND h.uid IN ('', c.uid) AND h.released_at IS NULL)

-- name: old
-- for: table, size = @clarifications
SELECT {size}, c.part, c.id FROM clarifications c
WHERE {ended_long_ago} ORDER BY c.answered_at LIMIT :limit

-- name: weigh_old
-- for: table, size = @clarifications
SELECT COUNT(*), CAST(COALESCE(SUM({size}), 0) AS BIGINT) FROM clarifications c WHERE {ended_long_ago}

-- name: drop_old
DELETE FROM clarifications AS c WHERE c.part = :part AND c.id = :id AND {ended_long_ago}
RETURNING uid
