-- What a server is asked about itself.

-- name: settings[postgres]
SELECT name, setting FROM pg_settings
WHERE name IN ('server_version', 'synchronous_commit', 'fsync', 'full_page_writes', 'data_checksums')
ORDER BY name

-- name: sessions_of_events[postgres]
-- The next sessions that have events, and whether they are there: no foreign key sees to that.
SELECT k.part, k.uid, s.uid IS NOT NULL
FROM (
    SELECT DISTINCT e.part, e.uid FROM events e
    WHERE (e.part, e.uid) > (:part, :uid)
    ORDER BY e.part, e.uid LIMIT :limit
) k
LEFT JOIN sessions s ON s.part = k.part AND s.uid = k.uid
ORDER BY k.part, k.uid
