-- Tasks and their runs, in the part of their app.

-- define: task
part, id, tenant, app, name, expression, timezone, action, enabled, paused_by, source, misfire,
misfire_limit, overlap, timeout, last_triggered_at, next_run_at, version, created_at, updated_at

-- define: run
part, id, tenant, app, task_id, task_name, cause, alone, scheduled_at, status, owner, until,
started_at, finished_at, failure, run_id, session_part, session_uid, expires_at

-- name: insert_task
INSERT INTO cron_tasks ({task})
VALUES (:part, :id, :tenant, :app, :name, :expression, :timezone, :action, :enabled, :paused_by,
        :source, :misfire, :misfire_limit, :overlap, :timeout, :last_triggered_at, :next_run_at,
        :version, :created_at, :updated_at)
ON CONFLICT (part, name) DO NOTHING
RETURNING id

-- name: find_task
SELECT {task} FROM cron_tasks WHERE part = :part AND id = :id AND tenant = :tenant

-- name: named_task
SELECT {task} FROM cron_tasks WHERE part = :part AND name = :name

-- name: hold_task
-- The row for this transaction alone: what is decided about its runs is decided one by one.
UPDATE cron_tasks SET version = version WHERE part = :part AND id = :id AND tenant = :tenant
RETURNING {task}

-- name: hold_named
UPDATE cron_tasks SET version = version WHERE part = :part AND name = :name
RETURNING {task}

-- name: hold_app
-- Each task of an app for this transaction alone.
UPDATE cron_tasks SET version = version WHERE part = :part RETURNING {task}

-- name: put_task
UPDATE cron_tasks
SET expression = :expression, timezone = :timezone, action = :action, enabled = :enabled,
    paused_by = :paused_by, source = :source, misfire = :misfire, misfire_limit = :misfire_limit,
    overlap = :overlap, timeout = :timeout, next_run_at = :next_run_at, version = version + 1,
    updated_at = :updated_at
WHERE part = :part AND id = :id

-- name: remove_task
DELETE FROM cron_tasks WHERE part = :part AND id = :id AND tenant = :tenant RETURNING id

-- name: tasks
-- for: scope = app: part = :owner | tenant: tenant = :owner
SELECT {task} FROM cron_tasks
WHERE {scope} AND (app, name) > (:after_app, :after)
  AND (CAST(:enabled AS BIGINT) IS NULL OR enabled = :enabled)
  AND (CAST(:source AS TEXT) IS NULL OR source = :source)
ORDER BY app, name LIMIT :limit

-- name: due
-- Of all apps of a tenant, the longest waiting first.
SELECT {task} FROM cron_tasks
WHERE tenant = :tenant AND next_run_at <= :now
  AND (next_run_at, part, id) > (:after_at, :after_part, :after_id)
ORDER BY next_run_at, part, id LIMIT :limit

-- name: next_due
SELECT MIN(next_run_at) FROM cron_tasks WHERE tenant = :tenant AND next_run_at > :now

-- name: claim
-- The task goes on to its next slot; to one scheduler only, and as the task was when it decided.
UPDATE cron_tasks SET next_run_at = :next_run_at
WHERE part = :part AND id = :id AND version = :version AND next_run_at = :expected
RETURNING id

-- name: dispatched
-- A slot begins: not one that is skipped, and one that waits only when it does.
UPDATE cron_tasks SET last_triggered_at = :slot
WHERE part = :part AND id = :id AND (last_triggered_at IS NULL OR last_triggered_at < :slot)

-- name: insert_run
INSERT INTO cron_runs ({run})
VALUES (:part, :id, :tenant, :app, :task_id, :task_name, :cause, :alone, :scheduled_at, :status,
        :owner, :until, :started_at, :finished_at, :failure, :run_id, :session_part, :session_uid,
        :expires_at)
ON CONFLICT (part, id) DO NOTHING
RETURNING id

-- name: open_runs
-- How many runs of a task have not ended, and what caused them: of 'manual' and 'slot' the last word.
SELECT MAX(cause), COUNT(*) FROM cron_runs WHERE part = :part AND task_id = :task_id AND finished_at IS NULL

-- name: under_way
SELECT id FROM cron_runs
WHERE part = :part AND task_id = :task_id AND finished_at IS NULL AND status = 'running' LIMIT 1

-- name: waiting
-- What may begin, of all apps of a tenant, the longest waiting first.
SELECT {run} FROM cron_runs r
WHERE r.tenant = :tenant AND r.status = 'queued'
  AND (r.scheduled_at, r.part, r.id) > (:after_at, :after_part, :after_id)
  AND (r.alone = 0 OR NOT EXISTS (
      SELECT 1 FROM cron_runs o
      WHERE o.part = r.part AND o.task_id = r.task_id AND o.finished_at IS NULL
        AND o.status = 'running'))
ORDER BY r.scheduled_at, r.part, r.id LIMIT :limit

-- name: begin
UPDATE cron_runs SET status = 'running', owner = :owner, until = :until, started_at = :now
WHERE part = :part AND id = :id AND status = 'queued'
RETURNING {run}

-- name: renew
UPDATE cron_runs SET until = :until
WHERE part = :part AND id = :id AND owner = :owner AND status = 'running'
RETURNING id

-- name: finish
-- Said twice, it is the same: whoever does not know whether it was stored says it again.
UPDATE cron_runs
SET status = :status, finished_at = :now, until = NULL, failure = :failure,
    expires_at = :expires_at
WHERE part = :part AND id = :id AND owner = :owner
  AND (status = 'running' OR (status = :status AND finished_at = :now))
RETURNING {run}

-- name: stale
-- Of all apps of a tenant: under way by their rows, and by nobody's word.
SELECT part, id FROM cron_runs
WHERE tenant = :tenant AND until <= :now ORDER BY until, part, id LIMIT :limit

-- name: abandon
UPDATE cron_runs
SET status = 'abandoned', finished_at = :now, until = NULL, failure = :failure,
    expires_at = :expires_at
WHERE part = :part AND id = :id AND status = 'running' AND until <= :now
RETURNING {run}

-- name: unqueue
-- for: which = slots: cause = 'slot' | all: cause IN ('slot', 'manual')
UPDATE cron_runs
SET status = 'skipped', finished_at = :now, failure = :failure, expires_at = :expires_at
WHERE part = :part AND task_id = :task_id AND finished_at IS NULL AND status = 'queued'
  AND {which}
RETURNING id

-- name: skip
UPDATE cron_runs
SET status = 'skipped', finished_at = :now, failure = :failure, expires_at = :expires_at
WHERE part = :part AND id = :id AND status = 'queued'
RETURNING id

-- name: link
UPDATE cron_runs
SET session_part = :session_part, session_uid = :session_uid, run_id = COALESCE(:run_id, run_id)
WHERE part = :part AND id = :id AND tenant = :tenant
RETURNING {run}

-- name: find_run
SELECT {run} FROM cron_runs WHERE part = :part AND id = :id AND tenant = :tenant

-- name: runs
-- for: scope = task: part = :owner AND task_id = :task_id | app: part = :owner | tenant: tenant = :owner
SELECT {run} FROM cron_runs
WHERE {scope} AND (scheduled_at, id) < (:before, :before_id)
  AND (CAST(:status AS TEXT) IS NULL OR status = :status)
ORDER BY scheduled_at DESC, id DESC LIMIT :limit

-- name: session_of
-- What a run is linked to, if it is still there.
SELECT s.app, s.user_id, s.id FROM sessions s
WHERE s.part = :part AND s.uid = :uid AND s.deleted_at IS NULL
