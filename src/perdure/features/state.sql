-- Scoped state. A removed key keeps its row without a value, so that its version never repeats.

-- name: put
INSERT INTO state (part, uid, name, value, codec, data, version, updated_at)
VALUES (:part, :uid, :name, :value, :codec, :data, 1, :now)
ON CONFLICT (part, uid, name) DO UPDATE
SET value = excluded.value, codec = excluded.codec, data = excluded.data,
    version = state.version + 1, updated_at = excluded.updated_at

-- name: put_absent
INSERT INTO state (part, uid, name, value, codec, data, version, updated_at)
VALUES (:part, :uid, :name, :value, :codec, :data, 1, :now)
ON CONFLICT (part, uid, name) DO UPDATE
SET value = excluded.value, codec = excluded.codec, data = excluded.data,
    version = state.version + 1, updated_at = excluded.updated_at
WHERE state.value IS NULL AND state.codec IS NULL
RETURNING version

-- name: put_expected
UPDATE state
SET value = :value, codec = :codec, data = :data, version = version + 1, updated_at = :now
WHERE part = :part AND uid = :uid AND name = :name AND version = :expected
  AND (value IS NOT NULL OR codec IS NOT NULL)
RETURNING version

-- name: remove
UPDATE state
SET value = NULL, codec = NULL, data = NULL, version = version + 1, updated_at = :now
WHERE part = :part AND uid = :uid AND name = :name
  AND (value IS NOT NULL OR codec IS NOT NULL)
RETURNING version

-- name: find
SELECT name, value, codec, data, version, updated_at FROM state
WHERE part = :part AND uid = :uid AND name = :name
  AND (value IS NOT NULL OR codec IS NOT NULL)

-- name: list
SELECT name, value, codec, data, version, updated_at FROM state
WHERE part = :part AND uid = :uid AND name > :after
  AND (value IS NOT NULL OR codec IS NOT NULL)
ORDER BY name LIMIT :limit

-- name: of_app
SELECT 1 AS scope, name, value, codec, data FROM state
WHERE part = :app_part AND uid = '' AND (value IS NOT NULL OR codec IS NOT NULL)

-- name: merged
SELECT 1 AS scope, name, value, codec, data FROM state
WHERE part = :app_part AND uid = '' AND (value IS NOT NULL OR codec IS NOT NULL)
UNION ALL
SELECT CASE uid WHEN '' THEN 2 ELSE 3 END, name, value, codec, data FROM state
WHERE part = :part AND uid IN ('', :uid) AND (value IS NOT NULL OR codec IS NOT NULL)

-- name: log
INSERT INTO state_log (part, uid, seq, version, delta, created_at)
VALUES (:part, :uid, :seq, :version, :delta, :now)
ON CONFLICT (part, uid, seq, version) DO UPDATE
SET delta = excluded.delta, created_at = excluded.created_at

-- name: unlog
DELETE FROM state_log WHERE part = :part AND uid = :uid AND seq BETWEEN :low AND :high

-- name: logged
-- What was set without an event, with the version of the event that follows in the same run.
SELECT l.seq, l.version, l.delta, n.version FROM state_log l
LEFT JOIN events n ON n.part = l.part AND n.uid = l.uid AND n.seq = l.seq + 1 AND l.seq < :high
WHERE l.part = :part AND l.uid = :uid AND l.seq BETWEEN :low AND :high

-- name: brought
SELECT e.seq, e.version, e.state_delta FROM events e
WHERE e.part = :part AND e.uid = :uid AND e.seq BETWEEN :low AND :high
  AND e.state_delta IS NOT NULL

-- name: event_version
SELECT e.version FROM events e WHERE e.part = :part AND e.uid = :uid AND e.seq = :seq
