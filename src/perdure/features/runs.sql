-- Run leases: rows of `leases`, and the fence in what they are on.

-- name: seize
-- Whoever has it: from the next moment on it is the new owner's.
INSERT INTO leases (part, name, owner, token, until)
VALUES (:part, :name, :owner, CAST(:now AS BIGINT), :until)
ON CONFLICT (part, name) DO UPDATE
SET owner = excluded.owner, token = leases.token + 1, until = excluded.until
RETURNING token

-- name: raise_fence
-- Above the token of the lease, which begins with the time, and above all that was before.
UPDATE sessions SET fence = CASE WHEN fence >= :token THEN fence + 1 ELSE :token END
WHERE part = :part AND uid = :uid
RETURNING fence
