-- Values by (part, namespace, key). One that has expired is there for nobody, swept or not.
-- `text` is what the index has of a row: what is written over it leaves that to `set_text`.

-- define: columns
k.namespace, k.key, k.value, k.codec, k.data, k.version, k.created_at, k.updated_at, k.ttl,
k.expires_at

-- define: returned
namespace, key, value, codec, data, version, created_at, updated_at, ttl, expires_at

-- define: live
(k.expires_at IS NULL OR k.expires_at > :now)

-- define: insert
INSERT INTO keyvalues (part, namespace, key, value, codec, data, text, version, created_at,
                       updated_at, ttl, expires_at)
VALUES (:part, :namespace, :key, :value, :codec, :data, :text, :version, :now, :now, :ttl,
        :expires_at)

-- define: upsert
{insert}
ON CONFLICT (part, namespace, key) DO UPDATE
SET value = excluded.value, codec = excluded.codec, data = excluded.data,
    version = keyvalues.version + 1, updated_at = excluded.updated_at, ttl = excluded.ttl,
    expires_at = excluded.expires_at
WHERE keyvalues.expires_at IS NULL OR keyvalues.expires_at > :now

-- name: put
-- No row comes back where an expired one is in the way.
{upsert}
RETURNING version, created_at, text

-- name: put_many
{upsert}

-- name: add
-- An expired one is as good as none, but its version goes on.
{insert}
ON CONFLICT (part, namespace, key) DO UPDATE
SET value = excluded.value, codec = excluded.codec, data = excluded.data,
    version = keyvalues.version + 1, created_at = excluded.created_at,
    updated_at = excluded.updated_at, ttl = excluded.ttl, expires_at = excluded.expires_at
WHERE keyvalues.expires_at <= :now
RETURNING version, created_at, text

-- name: put_expected
UPDATE keyvalues
SET value = :value, codec = :codec, data = :data, version = version + 1,
    updated_at = :now, ttl = :ttl, expires_at = :expires_at
WHERE part = :part AND namespace = :namespace AND key = :key AND version = :expected
  AND (expires_at IS NULL OR expires_at > :now)
RETURNING version, created_at, text

-- name: put_beside
-- At the version of another one, whatever stood there, expired or not.
INSERT INTO keyvalues (part, namespace, key, value, codec, data, text, version, created_at,
                       updated_at, ttl, expires_at)
VALUES (:part, :namespace, :key, :value, :codec, :data, :text, :version, :created_at, :now, :ttl,
        :expires_at)
ON CONFLICT (part, namespace, key) DO UPDATE
SET value = excluded.value, codec = excluded.codec, data = excluded.data,
    version = excluded.version, created_at = excluded.created_at,
    updated_at = excluded.updated_at, ttl = excluded.ttl, expires_at = excluded.expires_at
RETURNING version, created_at, text

-- name: renew
UPDATE keyvalues SET expires_at = :now + ttl
WHERE part = :part AND namespace = :namespace AND key = :key
  AND (expires_at IS NULL OR expires_at > :now)
  AND (CAST(:expected AS BIGINT) IS NULL OR version = :expected)
RETURNING {returned}

-- name: renew_many
UPDATE keyvalues SET expires_at = :now + ttl
WHERE part = :part AND namespace = :namespace AND key = :key
  AND (expires_at IS NULL OR expires_at > :now)

-- name: retime
UPDATE keyvalues SET ttl = :ttl, expires_at = :expires_at
WHERE part = :part AND namespace = :namespace AND key = :key
  AND (expires_at IS NULL OR expires_at > :now)
  AND (CAST(:expected AS BIGINT) IS NULL OR version = :expected)
RETURNING {returned}

-- name: delete
DELETE FROM keyvalues
WHERE part = :part AND namespace = :namespace AND key = :key
  AND (CAST(:expected AS BIGINT) IS NULL OR version = :expected)
RETURNING expires_at, text

-- name: drop_expired
DELETE FROM keyvalues
WHERE part = :part AND namespace = :namespace AND key = :key AND expires_at <= :now AND text = ''

-- name: expire
DELETE FROM keyvalues
WHERE part = :part AND namespace = :namespace AND key = :key AND expires_at <= :now
RETURNING text

-- name: set_text
UPDATE keyvalues SET text = :text WHERE part = :part AND namespace = :namespace AND key = :key

-- name: any_indexed
SELECT 1 FROM search_blocks b WHERE b.part = :part AND b.uid = '' AND b.kind = :kind LIMIT 1

-- name: find
SELECT {columns} FROM keyvalues k
WHERE k.part = :part AND k.namespace = :namespace AND k.key = :key AND {live}

-- define: some
:key_a, :key_b, :key_c, :key_d, :key_e, :key_f, :key_g, :key_h,
  :key_i, :key_j, :key_k, :key_l, :key_m, :key_n, :key_o, :key_p

-- name: find_some
-- So many at a time, however many are asked for; the last one is said again where there are fewer.
SELECT {columns} FROM keyvalues k
WHERE k.part = :part AND k.namespace = :namespace AND k.key IN ({some}) AND {live}

-- name: delete_some
DELETE FROM keyvalues WHERE part = :part AND namespace = :namespace AND key IN ({some})
RETURNING key, expires_at, text

-- name: texts_of_some
SELECT k.key, k.text, k.expires_at FROM keyvalues k
WHERE k.part = :part AND k.namespace = :namespace AND k.key IN ({some}) AND k.text <> ''

-- define: wanted
SELECT 0 AS place, CAST(:namespace_a AS TEXT) AS namespace, CAST(:key_a AS TEXT) AS key
UNION ALL SELECT 1, CAST(:namespace_b AS TEXT), CAST(:key_b AS TEXT)
UNION ALL SELECT 2, CAST(:namespace_c AS TEXT), CAST(:key_c AS TEXT)
UNION ALL SELECT 3, CAST(:namespace_d AS TEXT), CAST(:key_d AS TEXT)
UNION ALL SELECT 4, CAST(:namespace_e AS TEXT), CAST(:key_e AS TEXT)
UNION ALL SELECT 5, CAST(:namespace_f AS TEXT), CAST(:key_f AS TEXT)
UNION ALL SELECT 6, CAST(:namespace_g AS TEXT), CAST(:key_g AS TEXT)
UNION ALL SELECT 7, CAST(:namespace_h AS TEXT), CAST(:key_h AS TEXT)

-- name: indexed
SELECT w.place, k.text, {columns}
FROM ({wanted}) w CROSS JOIN keyvalues k
WHERE k.part = :part AND k.namespace = w.namespace AND k.key = w.key AND k.text <> '' AND {live}

-- name: documents
-- What a search over everything shows of them, in the columns that search.sql tells of.
SELECT w.place, o.app, o.user_id, CAST(NULL AS TEXT), k.key, k.updated_at,
    SUBSTR(k.text, 1, :characters), k.namespace
FROM ({wanted}) w CROSS JOIN keyvalues k CROSS JOIN memory_owners o
WHERE k.part = :part AND k.namespace = w.namespace AND k.key = w.key AND k.text <> '' AND {live}
  AND o.part = :part

-- define: within
k.part = :part
  AND (k.namespace, k.key) >= (:first_namespace, :first_key)
  AND (k.namespace, k.key) < (:end_namespace, :end_key)
  AND k.key >= :key_from AND (CAST(:key_to AS TEXT) IS NULL OR k.key < :key_to)
  AND {live}

-- name: list
-- for: way = up: ASC | down: DESC
SELECT {columns} FROM keyvalues k
WHERE {within}
ORDER BY k.namespace {way}, k.key {way}
LIMIT :limit

-- name: list_timed
-- for: by = updated_at: k.updated_at | created_at: k.created_at
-- for: way, beyond = up: ASC, > | down: DESC, <
-- for: start = first: | next: AND ({by}, k.namespace, k.key) {beyond} (:since, :after_namespace, :after_key)
SELECT {columns} FROM keyvalues k
WHERE {within} {start}
ORDER BY {by} {way}, k.namespace {way}, k.key {way}
LIMIT :limit

-- name: count
SELECT COUNT(*) FROM keyvalues k WHERE {within}

-- name: namespaces
-- From each one to the next by the index, however many keys lie between.
WITH RECURSIVE found (namespace) AS (
    SELECT (SELECT k.namespace FROM keyvalues k
            WHERE k.part = :part AND k.namespace >= :first_namespace
              AND k.namespace < :end_namespace AND {live}
            ORDER BY k.namespace LIMIT 1)
    UNION ALL
    SELECT (SELECT k.namespace FROM keyvalues k
            WHERE k.part = :part AND k.namespace > found.namespace
              AND k.namespace < :end_namespace AND {live}
            ORDER BY k.namespace LIMIT 1)
    FROM found WHERE found.namespace IS NOT NULL
)
SELECT namespace FROM found WHERE namespace IS NOT NULL LIMIT :limit

-- name: expired
SELECT k.part, k.expires_at FROM keyvalues k
WHERE k.expires_at <= :now ORDER BY k.expires_at LIMIT :limit

-- name: count_expired
SELECT COUNT(*) FROM keyvalues k WHERE k.expires_at <= :now

-- name: sweep
-- Those of one part up to the moment that `expired` went to: no more than it found.
DELETE FROM keyvalues WHERE part = :part AND expires_at <= :until
RETURNING namespace, key, text

-- name: sweep[sqlite]
-- The sign keeps it off the key, by which it would go through the whole part.
DELETE FROM keyvalues WHERE +part = :part AND expires_at <= :until
RETURNING namespace, key, text
