-- What sweeps look for, in all parts, and how they remove it, in one part at a time.

-- define: held
EXISTS (SELECT 1 FROM holds h
        WHERE h.part = s.part AND h.uid IN ('', s.uid) AND h.released_at IS NULL)

-- define: deleted
s.tenant = :tenant AND s.deleted_at <= :deleted_before AND (s.deleted_at, s.part, s.uid) > (:after_at, :after, :after_uid)
ORDER BY s.deleted_at, s.part, s.uid

-- define: expired
s.deleted_at IS NULL AND s.expires_at <= :now
  AND (s.expires_at, s.part, s.uid) > (:after_at, :after, :after_uid)
ORDER BY s.expires_at, s.part, s.uid

-- define: idle
s.tenant = :tenant AND s.deleted_at IS NULL AND s.updated_at <= :idle_before
  AND (s.expires_at IS NULL OR s.expires_at > :now) AND (s.part, s.uid) > (:after, :after_uid)
ORDER BY s.part, s.uid

-- name: doomed
-- for: why = deleted: {deleted} | expired: {expired} | idle: {idle}
-- The idle ones by a walk through the table: an index of the time of the last write would have to
-- be changed with every append.
SELECT s.part, s.uid, COALESCE(s.deleted_at, s.expires_at, 0), CASE WHEN {held} THEN 1 ELSE 0 END
FROM sessions s WHERE {why} LIMIT :limit

-- name: with_old_events
SELECT s.part, s.uid, s.app, s.user_id, s.id, CASE WHEN {held} THEN 1 ELSE 0 END
FROM sessions s
WHERE (s.part, s.uid) > (:after, :after_uid) AND s.tenant = :tenant AND s.deleted_at IS NULL
  AND (s.expires_at IS NULL OR s.expires_at > :now)
  AND (SELECT e.timestamp FROM events e
       WHERE e.part = s.part AND e.uid = s.uid ORDER BY e.seq LIMIT 1) < :before
ORDER BY s.part, s.uid LIMIT :limit

-- name: weigh
-- for: table, size = @session
SELECT COUNT(*), CAST(COALESCE(SUM({size}), 0) AS BIGINT) FROM {table}
WHERE part = :part AND uid = :uid

-- name: sizes
-- for: table, size, tail = @many
-- Of the first rows, so that as many go at once as are quick to remove.
SELECT {size} FROM {table} WHERE part = :part AND uid = :uid ORDER BY {tail} LIMIT :limit

-- name: drop_some
-- for: table, tail = @many
DELETE FROM {table} WHERE part = :part AND uid = :uid AND ({tail}) IN (
    SELECT {tail} FROM {table} WHERE part = :part AND uid = :uid ORDER BY {tail} LIMIT :limit)

-- name: weigh_old
-- for: table, size = @events
SELECT COUNT(*), CAST(COALESCE(SUM({size}), 0) AS BIGINT) FROM {table}
WHERE part = :part AND uid = :uid AND timestamp < :before

-- name: useless
-- for: table, key, size, expires = @expiring
SELECT {size}, {key} FROM {table} WHERE {expires} <= :now ORDER BY {expires} LIMIT :limit

-- name: weigh_useless
-- for: table, size, expires = @expiring
SELECT COUNT(*), CAST(COALESCE(SUM({size}), 0) AS BIGINT) FROM {table} WHERE {expires} <= :now

-- name: drop_useless
-- for: table, matches, expires = @expiring
DELETE FROM {table} WHERE {matches} AND {expires} <= :now
