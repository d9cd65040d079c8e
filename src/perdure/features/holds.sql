-- Holds by (part, uid); uid '' is the whole person.

-- name: of
SELECT h.uid, h.author, h.reason, h.held_at FROM holds h
WHERE h.part = :part AND h.uid IN ('', :uid) AND h.released_at IS NULL
ORDER BY h.uid DESC LIMIT 1

-- name: any
-- Of a person, on whatever it is.
SELECT h.uid, h.author, h.reason, h.held_at FROM holds h
WHERE h.part = :part AND h.released_at IS NULL
ORDER BY h.uid LIMIT 1

-- name: put
INSERT INTO holds (part, uid, author, reason, held_at, released_at, released_by)
VALUES (:part, :uid, :author, :reason, :now, NULL, '')
ON CONFLICT (part, uid) DO UPDATE
SET author = excluded.author, reason = excluded.reason, held_at = excluded.held_at,
    released_at = excluded.released_at, released_by = excluded.released_by

-- name: release
UPDATE holds SET released_at = :now, released_by = :author
WHERE part = :part AND uid = :uid AND released_at IS NULL
RETURNING uid
