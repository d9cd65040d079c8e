-- The steps of runs by (part, uid, run_key, name_key): run_key and name_key are digests.

-- define: columns
run_id, name, value, codec, data, created_at, expires_at

-- name: find
SELECT {columns} FROM run_steps
WHERE part = :part AND uid = :uid AND run_key = :run AND name_key = :digest
  AND (expires_at IS NULL OR expires_at > :now)

-- name: put
-- One that has expired gives way; else the first one stays.
INSERT INTO run_steps (part, uid, run_key, name_key, run_id, name, value, codec, data, created_at, expires_at)
VALUES (:part, :uid, :run, :digest, :run_id, :name, :value, :codec, :data, :now, :expires_at)
ON CONFLICT (part, uid, run_key, name_key) DO UPDATE
SET value = excluded.value, codec = excluded.codec, data = excluded.data,
    created_at = excluded.created_at, expires_at = excluded.expires_at
WHERE run_steps.expires_at <= :now

-- name: erased
-- Whether the person has ever been: who has lost a lease as well has lost it by that.
SELECT erased_at FROM erasures WHERE part = :part AND erased_at > 0

-- name: list
SELECT name_key, {columns} FROM run_steps
WHERE part = :part AND uid = :uid AND run_key = :run
  AND (expires_at IS NULL OR expires_at > :now)
  AND (created_at, name_key) > (:after_at, :after)
ORDER BY created_at, name_key LIMIT :limit

-- name: delete
DELETE FROM run_steps
WHERE part = :part AND uid = :uid AND run_key = :run
  AND (CAST(:digest AS TEXT) IS NULL OR name_key = :digest)
RETURNING CASE WHEN expires_at <= :now THEN 0 ELSE 1 END
