-- Leases by (part, name). One that has run out is anybody's.

-- name: take
-- The first token is the time: a lease that was swept and is taken again has none from before.
INSERT INTO leases (part, name, owner, token, until)
VALUES (:part, :name, :owner, CAST(:now AS BIGINT), :until)
ON CONFLICT (part, name) DO UPDATE
SET owner = excluded.owner, token = leases.token + 1, until = excluded.until
WHERE leases.until <= :now OR leases.owner = excluded.owner
RETURNING token

-- name: renew
UPDATE leases SET until = :until
WHERE part = :part AND name = :name AND owner = :owner AND token = :token AND until > :now
RETURNING token

-- name: release
UPDATE leases SET until = 0
WHERE part = :part AND name = :name AND owner = :owner AND token = :token

-- name: drop
-- The same where there are many names, and each is wanted seldom.
DELETE FROM leases WHERE part = :part AND name = :name AND owner = :owner AND token = :token
RETURNING token

-- name: find
SELECT owner, token, until FROM leases WHERE part = :part AND name = :name
