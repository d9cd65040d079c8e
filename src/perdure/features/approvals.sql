-- Approvals by (part, id); the id begins with the part. Each step is one conditional update.

-- define: columns
part, uid, id, tenant, app, user_id, session_id, kind, tool_name, args, args_sha256, status,
thread_id, run_id, tool_call_id, request, payload, codec, data, question, sender_context,
created_by, agent, created_at, expires_at, resolved_at, resolved_by, feedback, edited_args, rule,
consumed_at, steps

-- define: mine
part = :part AND id = :id AND tenant = :tenant

-- define: unexpired
(approvals.expires_at IS NULL OR approvals.expires_at > :now)

-- define: near
s.part = :part

-- define: live
-- Those of a session are there for nobody while it is not. Not EXISTS: of many rows PostgreSQL would
-- read all sessions once for that.
(approvals.uid = '' OR approvals.uid = (
    SELECT s.uid FROM sessions s
    WHERE {near} AND s.uid = approvals.uid AND s.deleted_at IS NULL
      AND (s.expires_at IS NULL OR s.expires_at > :now)))

-- define: held
EXISTS (SELECT 1 FROM holds h
        WHERE h.part = approvals.part AND h.uid IN ('', approvals.uid) AND h.released_at IS NULL)

-- name: add
INSERT INTO approvals (part, uid, id, tenant, app, user_id, app_part, session_id, kind, tool_name,
    args, args_sha256, status, thread_id, run_id, tool_call_id, call_key, request, payload, codec,
    data, question, sender_context, created_by, agent, created_at, expires_at, resolved_at,
    resolved_by, feedback, edited_args, edited_sha256, rule, consumed_at, closed_at, steps)
VALUES (:part, :uid, :id, :tenant, :app, :user_id, :app_part, :session_id, :kind, :tool_name,
    :args, :args_digest, :status, :thread_id, :run_id, :tool_call_id, :call_key, :request, :payload,
    :codec, :data, :question, :sender_context, :created_by, :agent, :now, :expires_at, :resolved_at,
    :resolved_by, '', NULL, NULL, :rule, NULL, NULL, :steps)

-- name: of_call
SELECT {columns} FROM approvals WHERE part = :part AND call_key = :call_key

-- name: find
SELECT {columns} FROM approvals WHERE {mine} AND {live}

-- name: resolve
UPDATE approvals
SET status = :status, resolved_at = :now, resolved_by = :author, feedback = :feedback,
    edited_args = :edited_args, edited_sha256 = :edited_digest, closed_at = :closed_at,
    steps = steps + 1
WHERE {mine} AND status = 'pending' AND {unexpired} AND {live}
RETURNING {columns}

-- name: consume
UPDATE approvals
SET status = 'consumed', consumed_at = :now, closed_at = :now, steps = steps + 1
WHERE {mine} AND status = 'approved' AND {unexpired}
  AND COALESCE(edited_sha256, args_sha256) = :args_digest AND {live}
RETURNING {columns}

-- name: expire_pending
UPDATE approvals
SET status = 'expired', resolved_at = :now, resolved_by = :author, closed_at = :now,
    steps = steps + 1
WHERE {mine} AND status = 'pending' AND expires_at <= :now
RETURNING {columns}

-- name: expire_approved
-- Who had approved it stays told.
UPDATE approvals SET status = 'expired', closed_at = :now, steps = steps + 1
WHERE {mine} AND status = 'approved' AND expires_at <= :now
RETURNING {columns}

-- name: hold
-- The row for this transaction alone.
UPDATE approvals SET status = status WHERE {mine} AND status = 'pending' RETURNING id

-- define: beside
l.part = :part

-- define: waited_for
-- By each who waits a lease whose name begins with the id and a blank.
EXISTS (
    SELECT 1 FROM leases l
    WHERE {beside} AND l.name >= approvals.id || ' ' AND l.name < approvals.id || '!'
      AND l.until > :now)

-- name: give_up
-- After a restart: not what a process that lives waits for.
UPDATE approvals
SET status = 'expired', resolved_at = :now, resolved_by = :author, closed_at = :now,
    steps = steps + 1
WHERE {mine} AND status = 'pending' AND created_at <= :before
  AND NOT {waited_for}
RETURNING {columns}

-- name: unattended
-- for: near, beside = anywhere: s.part = approvals.part, l.part = approvals.part
-- In all parts: after a restart.
SELECT {columns} FROM approvals
WHERE tenant = :tenant AND status = 'pending' AND {unexpired} AND {live}
  AND (CAST(:app AS TEXT) IS NULL OR app = :app)
  AND NOT {waited_for}
  AND (created_at, id) > (:after_at, :after_id)
ORDER BY created_at, id LIMIT :limit

-- define: is_pending
AND status = 'pending' AND {unexpired}

-- define: is_approved
AND status = 'approved' AND {unexpired}

-- define: is_expired
AND (status = 'expired' OR status IN ('pending', 'approved') AND expires_at <= :now)

-- name: list
-- for: owner, near = user: part = :part, s.part = :part | app: app_part = :app_part, s.part = approvals.part | tenant: tenant = :tenant, s.part = approvals.part
-- for: what = every: | pending: {is_pending} | approved: {is_approved} | expired: {is_expired} | closed: AND status = :status
-- for: start = first: | next: AND (created_at, id) < (:after_at, :after_id)
SELECT {columns} FROM approvals
WHERE {owner} {what} {start} AND {live}
  AND (CAST(:thread_id AS TEXT) IS NULL OR thread_id = :thread_id)
  AND (CAST(:run_id AS TEXT) IS NULL OR run_id = :run_id)
  AND (CAST(:uid AS TEXT) IS NULL OR uid = :uid)
ORDER BY created_at DESC, id DESC LIMIT :limit

-- name: note
INSERT INTO approval_audit (part, uid, id, number, created_at, author, from_status, to_status, rule)
VALUES (:part, :uid, :id, :number, :now, :author, :from_status, :to_status, :rule)

-- name: audit
SELECT number, created_at, author, from_status, to_status, rule FROM approval_audit
WHERE part = :part AND uid = :uid AND id = :id ORDER BY number

-- name: remember
INSERT INTO approvals_remembered (part, uid, digest, tenant, app, user_id, session_id, thread_id,
    tool_name, args_sha256, approval_id, created_by, created_at, expires_at)
VALUES (:part, :uid, :digest, :tenant, :app, :user_id, :session_id, :thread_id, :tool_name,
    :args_digest, :approval_id, :created_by, :now, :expires_at)
ON CONFLICT (part, uid, digest) DO UPDATE
SET approval_id = excluded.approval_id, created_by = excluded.created_by,
    created_at = excluded.created_at, expires_at = excluded.expires_at

-- name: covering
-- What counts for these arguments, or for any; not what is older than the policy lets count, nor
-- what the agent that asks has said itself.
SELECT r.digest FROM approvals_remembered r
WHERE r.part = :part AND r.uid = :uid AND r.digest IN (:exact, :any)
  AND r.expires_at > :now AND r.created_at > :since AND r.created_by <> :agent
ORDER BY r.digest LIMIT 1

-- name: remembered
-- for: owner = user: r.part = :part | tenant: r.tenant = :tenant
SELECT r.part, r.uid, r.digest, r.app, r.user_id, r.session_id, r.thread_id, r.tool_name,
    r.args_sha256, r.approval_id, r.created_by, r.created_at, r.expires_at
FROM approvals_remembered r
WHERE {owner} AND (r.part, r.uid, r.digest) > (:after_part, :after_uid, :after_digest)
  AND (CAST(:app AS TEXT) IS NULL OR r.app = :app) AND r.expires_at > :now
ORDER BY r.part, r.uid, r.digest LIMIT :limit

-- name: forget
DELETE FROM approvals_remembered WHERE part = :part AND digest = :digest AND tenant = :tenant
RETURNING expires_at

-- name: overdue
-- In all parts of a tenant: a sweep.
SELECT 0, part, id FROM approvals
WHERE closed_at IS NULL AND expires_at <= :now AND tenant = :tenant
ORDER BY expires_at, part, id LIMIT :limit

-- name: count_overdue
SELECT COUNT(*), CAST(0 AS BIGINT) FROM approvals
WHERE closed_at IS NULL AND expires_at <= :now AND tenant = :tenant

-- name: closed
-- for: table, size = @approvals
SELECT {size}, part, uid, id FROM {table}
WHERE closed_at <= :before AND tenant = :tenant AND NOT {held}
ORDER BY closed_at, part, id LIMIT :limit

-- name: weigh_closed
-- for: table, size = @approvals
SELECT COUNT(*), CAST(COALESCE(SUM({size}), 0) AS BIGINT) FROM {table}
WHERE closed_at <= :before AND tenant = :tenant AND NOT {held}

-- name: drop
-- Not what has been held since it was found.
DELETE FROM approvals
WHERE part = :part AND uid = :uid AND id = :id AND closed_at <= :before AND NOT {held}
RETURNING id

-- name: drop_audit
DELETE FROM approval_audit WHERE part = :part AND uid = :uid AND id = :id
