-- What models were paid for, by the events that say so.

-- name: sessions
-- for: scope = user: s.part = :owner | app: COALESCE(s.app_part, '') = :owner | tenant: COALESCE(s.tenant, '') = :owner
-- for: which = live: s.deleted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > :now) | every: CAST(:now AS BIGINT) > 0
-- By the key of the table, so that no session is passed over or seen twice while others write.
SELECT s.part, s.uid, s.app, s.user_id, s.id FROM sessions s
WHERE {scope} AND {which} AND (s.part, s.uid) >= (:after_part, :after_uid)
ORDER BY s.part, s.uid LIMIT :limit

-- name: spent
-- What a fork copied has version 1, and counts where it was made.
SELECT e.seq, e.timestamp, e.author, e.run_id, e.usage, e.metadata, e.extra FROM events e
WHERE e.part = :part AND e.uid = :uid AND e.seq > :after_seq AND e.version > 1
  AND e.usage IS NOT NULL AND e.timestamp >= :since AND e.timestamp < :until
ORDER BY e.seq LIMIT :limit
