-- Facts by (part, id, hook), written with what they tell of.

-- name: add
INSERT INTO outbox (part, id, hook, kind, tenant, payload, created_at, attempts, due_at,
    expires_at, failure)
VALUES (:part, :id, :hook, :kind, :tenant, :payload, :now, 0, :now, :expires_at, '')
ON CONFLICT (part, id, hook) DO NOTHING

-- name: due
-- In all parts: what one webhook is to be told.
SELECT o.part, o.id, o.kind, o.payload, o.created_at, o.attempts FROM outbox o
WHERE o.hook = :hook AND o.due_at <= :now AND o.tenant = :tenant AND o.expires_at > :now
ORDER BY o.due_at, o.id LIMIT :limit

-- name: next
-- When the next one is due.
SELECT MIN(o.due_at) FROM outbox o
WHERE o.hook = :hook AND o.tenant = :tenant AND o.expires_at > :now

-- name: told
DELETE FROM outbox WHERE part = :part AND id = :id AND hook = :hook

-- name: failed
UPDATE outbox SET attempts = attempts + 1, due_at = :due_at, failure = :failure
WHERE part = :part AND id = :id AND hook = :hook
