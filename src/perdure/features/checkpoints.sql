-- Checkpoints by (part, ns, id), in the order of their puts by (part, ns, number). Who puts holds
-- the row of the namespace; who removes holds that of the lineage, and then those of all its
-- namespaces.

-- name: place
-- The next number of a namespace that is there.
UPDATE checkpoint_namespaces SET last = last + :step, updated_at = :now
WHERE part = :part AND ns = :ns
RETURNING last, epoch

-- name: found_lineage
-- The lineage, made if it is not there, and for this transaction alone.
INSERT INTO checkpoint_lineages (part, tenant, lineage, created_at, deleted_at)
VALUES (:part, :tenant, :lineage, :now, NULL)
ON CONFLICT (part) DO UPDATE
SET tenant = excluded.tenant, lineage = excluded.lineage, deleted_at = NULL

-- name: found_namespace
INSERT INTO checkpoint_namespaces (part, ns, namespace, last, epoch, updated_at)
VALUES (:part, :ns, :namespace, :step, :epoch, :now)
ON CONFLICT (part, ns) DO UPDATE
SET last = checkpoint_namespaces.last + 1, updated_at = excluded.updated_at
RETURNING last, epoch

-- name: renew
-- What processes remember of the namespace counts no more.
UPDATE checkpoint_namespaces SET epoch = epoch + 1 WHERE part = :part AND ns = :ns

-- name: bodies
-- Where the bodies of two checkpoints are: that of the one that is put, if there is one, and that
-- of the one it is written as a change of.
SELECT c.id, c.digest, c.chain, c.depth, c.checksum FROM checkpoints c
WHERE c.part = :part AND c.ns = :ns AND c.id IN (:id, :base_id)

-- name: first_named
-- Where the first value of a channel at a version is.
SELECT v.chain, v.depth, v.checksum FROM checkpoint_values v
WHERE v.part = :part AND v.named = :named ORDER BY v.number, v.chain LIMIT 1

-- name: add_value
INSERT INTO checkpoint_values
    (part, chain, depth, named, number, head, tail, form, checksum, codec, data)
VALUES (:part, :chain, :depth, :named, :number, :head, :tail, :form, :checksum, :codec, :data)
ON CONFLICT (part, chain, depth) DO NOTHING
RETURNING depth

-- name: add
INSERT INTO checkpoints
    (part, ns, id, number, parent_ns, parent_id, digest, run, chain, depth, checksum, created_at)
VALUES (:part, :ns, :id, :number, :parent_ns, :parent, :digest, :run, :chain, :depth, :checksum, :now)
ON CONFLICT (part, ns, id) DO UPDATE
SET number = excluded.number, parent_ns = excluded.parent_ns, parent_id = excluded.parent_id,
    digest = excluded.digest, run = excluded.run, chain = excluded.chain, depth = excluded.depth,
    checksum = excluded.checksum, created_at = excluded.created_at

-- name: write
-- A regular write stays as it was first; a special one, and any with :replacing, is replaced.
INSERT INTO checkpoint_writes (part, ns, id, task, idx, path, channel, value, codec, data)
VALUES (:part, :ns, :id, :task, :idx, :path, :channel, :value, :codec, :data)
ON CONFLICT (part, ns, id, task, idx) DO UPDATE
SET path = excluded.path, channel = excluded.channel, value = excluded.value,
    codec = excluded.codec, data = excluded.data
WHERE excluded.idx < 0 OR CAST(:replacing AS BIGINT) = 1

-- define: written_at_once
    INSERT INTO checkpoint_writes (part, ns, id, task, idx, path, channel, value, codec, data)
    SELECT CAST(:part AS TEXT), CAST(:ns AS TEXT), CAST(:id AS TEXT), CAST(:task AS TEXT), w.idx,
        CAST(:path AS TEXT), w.channel, w.value, w.codec, w.data
    FROM place, unnest(CAST(:idx AS BIGINT[]), CAST(:channel AS TEXT[]), CAST(:value AS TEXT[]),
        CAST(:codec AS TEXT[]), CAST(:data AS BYTEA[])) AS w (idx, channel, value, codec, data)
    ON CONFLICT (part, ns, id, task, idx) DO UPDATE
    SET path = excluded.path, channel = excluded.channel, value = excluded.value,
        codec = excluded.codec, data = excluded.data
    WHERE excluded.idx < 0 OR CAST(:replacing AS BIGINT) = 1

-- define: rest_at_once
-- What follows the place: the values, the checkpoint, the writes, and what is given back.
valued AS (
    INSERT INTO checkpoint_values
        (part, chain, depth, named, number, head, tail, form, checksum, codec, data)
    SELECT CAST(:part AS TEXT), v.chain, v.depth, v.named, place.last, v.head, v.tail, v.form,
        v.checksum, v.codec, v.data
    FROM place, unnest(
        CAST(:v_chain AS BIGINT[]), CAST(:v_depth AS BIGINT[]), CAST(:v_named AS BIGINT[]),
        CAST(:v_head AS BIGINT[]), CAST(:v_tail AS BIGINT[]), CAST(:v_form AS BIGINT[]),
        CAST(:v_checksum AS BIGINT[]), CAST(:v_codec AS TEXT[]), CAST(:v_data AS BYTEA[])
    ) AS v (chain, depth, named, head, tail, form, checksum, codec, data)
), stored AS (
    INSERT INTO checkpoints
        (part, ns, id, number, parent_ns, parent_id, digest, run, chain, depth, checksum, created_at)
    SELECT CAST(:part AS TEXT), CAST(:ns AS TEXT), CAST(:id AS TEXT), place.last,
        CAST(:parent_ns AS TEXT), CAST(:parent AS TEXT), CAST(:digest AS TEXT),
        CAST(:run AS TEXT), CAST(:chain AS BIGINT), CAST(:depth AS BIGINT),
        CAST(:checksum AS BIGINT), CAST(:now AS BIGINT)
    FROM place
), written AS (
{written_at_once}
)
SELECT place.last, place.epoch FROM (VALUES (1)) AS always (one) LEFT JOIN place ON TRUE

-- define: is_new
    NOT EXISTS (SELECT FROM checkpoints c WHERE c.part = :part AND c.ns = :ns AND c.id = :id)
    AND NOT EXISTS (SELECT FROM checkpoint_values v
        WHERE v.part = :part AND v.named = ANY(CAST(:absent AS BIGINT[])))

-- define: place_known
    UPDATE checkpoint_namespaces SET last = last + 1, updated_at = :now
    WHERE part = :part AND ns = :ns AND epoch = :epoch
      AND EXISTS (SELECT FROM checkpoints b
          WHERE b.part = :part AND b.ns = :ns AND b.id = :base_id AND b.chain = :base_chain
            AND b.depth = :base_depth AND b.checksum = :base_checksum)
      AND (CAST(:owner AS TEXT) IS NULL OR EXISTS (SELECT FROM checkpoint_owners o
          WHERE o.part = :part AND o.owner_part = :owner AND o.uid = ''))
      AND {is_new}
    RETURNING last, epoch

-- name: put_known[postgres]
-- The whole put beside a checkpoint that this process knows: NULLs, and no change, where the
-- namespace is not as it was, or where something has to be looked up.
WITH place AS (
{place_known}
), {rest_at_once}

-- name: put_new[postgres]
-- The same beside nothing that is known: every value whole, the namespace made if need be.
WITH lineage AS (
    INSERT INTO checkpoint_lineages (part, tenant, lineage, created_at, deleted_at)
    SELECT CAST(:part AS TEXT), CAST(:tenant AS TEXT), CAST(:lineage AS TEXT),
        CAST(:now AS BIGINT), CAST(NULL AS BIGINT)
    WHERE {is_new}
    ON CONFLICT (part) DO UPDATE
    SET tenant = excluded.tenant, lineage = excluded.lineage, deleted_at = NULL
    RETURNING part
), place AS (
    INSERT INTO checkpoint_namespaces (part, ns, namespace, last, epoch, updated_at)
    SELECT CAST(:part AS TEXT), CAST(:ns AS TEXT), CAST(:namespace AS TEXT), 1, CAST(:epoch AS BIGINT),
        CAST(:now AS BIGINT)
    FROM lineage
    ON CONFLICT (part, ns) DO UPDATE
    SET last = checkpoint_namespaces.last + 1, updated_at = excluded.updated_at
    RETURNING last, epoch
), {rest_at_once}

-- name: put_writes[postgres]
-- The writes of a task into a namespace that is there.
WITH place AS (
    UPDATE checkpoint_namespaces SET updated_at = :now WHERE part = :part AND ns = :ns
      AND (CAST(:owner AS TEXT) IS NULL OR EXISTS (SELECT FROM checkpoint_owners o
          WHERE o.part = :part AND o.owner_part = :owner AND o.uid = ''))
    RETURNING last
), written AS (
{written_at_once}
)
SELECT place.last FROM (VALUES (1)) AS always (one) LEFT JOIN place ON TRUE

-- define: of_one
FROM checkpoints c
JOIN checkpoint_namespaces n ON n.part = c.part AND n.ns = c.ns
JOIN checkpoint_lineages l ON l.part = c.part

-- define: by_id
{of_one} WHERE c.part = :part AND c.ns = :ns AND c.id = :id

-- define: one_put
{of_one} WHERE c.part = :part AND c.ns = :ns AND c.number < :below ORDER BY c.number DESC

-- define: one_id
{of_one} WHERE c.part = :part AND c.ns = :ns AND c.id < :below_id ORDER BY c.id DESC

-- define: lineage_put
{of_one} WHERE c.part = :part
  AND (n.namespace > :after OR (n.namespace = :after AND c.number < :below))
ORDER BY n.namespace, c.number DESC

-- define: lineage_id
{of_one} WHERE c.part = :part
  AND (c.id < :below_id OR (c.id = :below_id AND n.namespace > :after))
ORDER BY c.id DESC, n.namespace

-- define: tenant_put
{of_one} WHERE l.tenant = :tenant AND l.deleted_at IS NULL
  AND (l.lineage > :after_lineage OR (l.lineage = :after_lineage
       AND (n.namespace > :after OR (n.namespace = :after AND c.number < :below))))
ORDER BY l.lineage, n.namespace, c.number DESC

-- define: tenant_id
{of_one} WHERE l.tenant = :tenant AND l.deleted_at IS NULL
  AND (c.id < :below_id OR (c.id = :below_id
       AND (l.lineage > :after_lineage OR (l.lineage = :after_lineage AND n.namespace > :after))))
ORDER BY c.id DESC, l.lineage, n.namespace

-- define: same_put
{of_one} WHERE l.tenant = :tenant AND l.deleted_at IS NULL AND c.ns = :ns
  AND (l.lineage > :after_lineage OR (l.lineage = :after_lineage AND c.number < :below))
ORDER BY l.lineage, c.number DESC

-- define: same_id
{of_one} WHERE l.tenant = :tenant AND l.deleted_at IS NULL AND c.ns = :ns
  AND (c.id < :below_id OR (c.id = :below_id AND l.lineage > :after_lineage))
ORDER BY c.id DESC, l.lineage

-- define: columns_of_page
    SELECT c.part, c.ns, c.id, n.namespace, l.lineage, c.parent_id, c.parent_ns, c.number, c.chain,
        c.depth, c.checksum, c.created_at, n.epoch

-- define: rows_of_page
SELECT 0, p.part, p.ns, p.id, p.namespace, p.lineage, p.parent_id, p.parent_ns,
    CAST(NULL AS TEXT), p.number, p.chain, p.depth, p.checksum, p.created_at, p.epoch,
    CAST(NULL AS BYTEA)
FROM page p

-- define: columns_of_body
SELECT 1, v.part, v.codec, NULL, NULL, NULL, NULL, NULL, NULL, v.chain, v.depth, v.head, v.tail,
    v.form, v.checksum, v.data

-- define: columns_of_write
SELECT 2, w.part, w.ns, w.id, w.task, w.path, w.channel, w.codec, w.value, w.idx, 0, 0, 0, 0, 0,
    w.data

-- define: writes_of_one
UNION ALL
{columns_of_write}
FROM page p CROSS JOIN checkpoint_writes w
WHERE w.part = :part AND w.ns = p.ns AND w.id = p.id

-- name: one
-- for: found = by_id: {by_id} | one_put: {one_put} | one_id: {one_id}
-- for: with_writes = plain: | written: {writes_of_one}
-- The same as a page of one. With a limit that is no parameter the server knows that it is one
-- when it plans: else it joins all of the lineage, and plans it anew for each call.
WITH page AS MATERIALIZED (
{columns_of_page}
    {found} LIMIT 1
)
{rows_of_page}
UNION ALL
{columns_of_body}
FROM page p CROSS JOIN checkpoint_values v
WHERE v.part = :part AND v.chain = p.chain AND p.chain <> :known
{with_writes}

-- define: bodies_of_page
{columns_of_body}
FROM checkpoint_values v
WHERE {of_values}
  AND (v.part, v.chain) IN (SELECT p.part, p.chain FROM page p)

-- define: writes_of_page
UNION ALL
{columns_of_write}
FROM checkpoint_writes w
WHERE {of_writes} AND (w.part, w.ns, w.id) IN (SELECT p.part, p.ns, p.id FROM page p)

-- name: page
-- for: found, of_values, of_writes = one_put: {one_put}, v.part = :part, w.part = :part | one_id: {one_id}, v.part = :part, w.part = :part | lineage_put: {lineage_put}, v.part = :part, w.part = :part | lineage_id: {lineage_id}, v.part = :part, w.part = :part | same_put: {same_put}, 1 = 1, 1 = 1 | same_id: {same_id}, 1 = 1, 1 = 1 | tenant_put: {tenant_put}, 1 = 1, 1 = 1 | tenant_id: {tenant_id}, 1 = 1, 1 = 1
-- for: with_writes = plain: | written: {writes_of_page}
-- Checkpoints, the chains that their bodies are in, and their writes.
WITH page AS MATERIALIZED (
{columns_of_page}
    {found} LIMIT :limit
)
{rows_of_page}
UNION ALL
{bodies_of_page}
{with_writes}

-- name: chains[sqlite]
-- The chains of these numbers, each of 19 digits and a comma.
WITH RECURSIVE wanted (place, chain) AS (
    SELECT 0, CAST(substr(:chains, 1, 19) AS INTEGER)
    UNION ALL
    SELECT place + 1, CAST(substr(:chains, (place + 1) * 20 + 1, 19) AS INTEGER) FROM wanted
    WHERE (place + 1) * 20 < length(:chains)
)
SELECT v.chain, v.depth, v.head, v.tail, v.form, v.checksum, v.codec, v.data
FROM wanted w CROSS JOIN checkpoint_values v
WHERE v.part = :part AND v.chain = w.chain

-- name: chains[postgres]
SELECT v.chain, v.depth, v.head, v.tail, v.form, v.checksum, v.codec, v.data
FROM checkpoint_values v
WHERE v.part = :part
  AND v.chain = ANY(CAST(string_to_array(CAST(:chains AS TEXT), ',') AS BIGINT[]))

-- name: link
INSERT INTO checkpoint_links (part, uid, lineage_part, lineage, created_at)
VALUES (:owner, :uid, :lineage_part, :lineage, :now)
ON CONFLICT (part, uid, lineage_part) DO UPDATE SET lineage = excluded.lineage

-- name: own
INSERT INTO checkpoint_owners (part, owner_part, uid, app, user_id)
VALUES (:part, :owner, :uid, :app, :user)
ON CONFLICT (part, owner_part, uid) DO NOTHING

-- name: owned
SELECT 1 FROM checkpoint_owners o
WHERE o.part = :part AND o.owner_part = :owner AND o.uid = :uid

-- name: hold_lineage
-- For this transaction alone; a deleted one, too.
UPDATE checkpoint_lineages SET created_at = created_at WHERE part = :part
RETURNING deleted_at, lineage, fence

-- name: end_leases
DELETE FROM leases WHERE part = :part

-- name: raise_fence
-- Above the token of the lease, which begins with the time, and above all that was before.
UPDATE checkpoint_lineages SET fence = CASE WHEN fence >= :token THEN fence + 1 ELSE :token END
WHERE part = :part
RETURNING fence

-- name: latest_id
SELECT c.id FROM checkpoints c
WHERE c.part = :part AND c.ns = :ns ORDER BY c.number DESC LIMIT 1

-- name: where
-- for: scope = one: c.part = :part AND c.ns = :ns | lineage: c.part = :part | same: l.tenant = :tenant AND l.deleted_at IS NULL AND c.ns = :ns | tenant: l.tenant = :tenant AND l.deleted_at IS NULL
-- The first place of an id in a list.
SELECT l.lineage, n.namespace, c.number, c.id
{of_one} WHERE {scope} AND c.id = :id ORDER BY l.lineage, n.namespace LIMIT :limit

-- name: renew_all
-- Every namespace for this transaction alone; what processes remember of them counts no more.
UPDATE checkpoint_namespaces SET epoch = epoch + 1 WHERE part = :part

-- name: hold_namespaces
UPDATE checkpoint_namespaces SET last = last WHERE part = :part

-- name: owners
SELECT o.owner_part, o.uid FROM checkpoint_owners o WHERE o.part = :part
ORDER BY o.owner_part, o.uid

-- name: unlink
DELETE FROM checkpoint_links
WHERE part = :owner AND uid = :uid AND lineage_part = :lineage_part

-- name: links
SELECT k.uid, k.lineage_part, k.lineage FROM checkpoint_links k
WHERE k.part = :owner AND (CAST(:uid AS TEXT) IS NULL OR k.uid = :uid)
ORDER BY k.lineage_part, k.uid

-- name: counted
-- for: table = @lineage
SELECT COUNT(*) FROM {table} WHERE part = :part

-- name: remove
-- for: table = @lineage
DELETE FROM {table} WHERE part = :part

-- name: bury
-- The lineage is deleted; its row stays, without a name.
UPDATE checkpoint_lineages SET tenant = '', lineage = '', deleted_at = :now WHERE part = :part

-- name: outline
-- Every checkpoint of a lineage, without its body.
SELECT c.ns, n.namespace, c.id, c.number, c.parent_ns, c.parent_id, c.chain, c.depth, c.checksum,
    c.created_at, c.run
FROM checkpoints c JOIN checkpoint_namespaces n ON n.part = c.part AND n.ns = c.ns
WHERE c.part = :part ORDER BY n.namespace, c.number

-- name: sizes_of_values
SELECT v.chain, v.depth, OCTET_LENGTH(v.data) FROM checkpoint_values v WHERE v.part = :part

-- name: size_of_writes
SELECT COUNT(*), CAST(COALESCE(SUM(
    COALESCE(OCTET_LENGTH(w.value), 0) + COALESCE(OCTET_LENGTH(w.data), 0)), 0) AS BIGINT)
FROM checkpoint_writes w WHERE w.part = :part AND w.ns = :ns AND w.id = :id

-- name: drop_checkpoint
DELETE FROM checkpoints WHERE part = :part AND ns = :ns AND id = :id

-- name: drop_writes
DELETE FROM checkpoint_writes WHERE part = :part AND ns = :ns AND id = :id

-- name: drop_values
DELETE FROM checkpoint_values WHERE part = :part AND chain = :chain AND depth > :depth

-- name: relink
UPDATE checkpoints SET parent_ns = :parent_ns, parent_id = :parent
WHERE part = :part AND ns = :ns AND id = :id

-- name: of_run
-- In every lineage of a tenant: a sharded database asks all its machines.
SELECT c.part, l.lineage, c.ns, c.id
FROM checkpoints c JOIN checkpoint_lineages l ON l.part = c.part
WHERE c.run = :run ORDER BY c.part, c.ns, c.id

-- name: any
SELECT 1 FROM checkpoints c WHERE c.part = :part LIMIT 1

-- name: copy_namespaces
INSERT INTO checkpoint_namespaces (part, ns, namespace, last, epoch, updated_at)
SELECT CAST(:target AS TEXT), ns, namespace, last, CAST(:epoch AS BIGINT), CAST(:now AS BIGINT)
FROM checkpoint_namespaces WHERE part = :part
ON CONFLICT (part, ns) DO UPDATE
SET last = excluded.last, epoch = excluded.epoch, updated_at = excluded.updated_at

-- name: copy_checkpoints
INSERT INTO checkpoints
    (part, ns, id, number, parent_ns, parent_id, digest, run, chain, depth, checksum, created_at)
SELECT CAST(:target AS TEXT), ns, id, number, parent_ns, parent_id, digest, run, chain, depth,
    checksum, created_at
FROM checkpoints WHERE part = :part

-- name: copy_values
INSERT INTO checkpoint_values
    (part, chain, depth, named, number, head, tail, form, checksum, codec, data)
SELECT CAST(:target AS TEXT), chain, depth, named, number, head, tail, form, checksum, codec, data
FROM checkpoint_values WHERE part = :part

-- name: copy_writes
INSERT INTO checkpoint_writes (part, ns, id, task, idx, path, channel, value, codec, data)
SELECT CAST(:target AS TEXT), ns, id, task, idx, path, channel, value, codec, data
FROM checkpoint_writes WHERE part = :part

-- define: about_lineage
SELECT l.part, l.lineage, l.created_at,
    (SELECT COUNT(*) FROM checkpoint_namespaces n WHERE n.part = l.part),
    (SELECT MAX(n.updated_at) FROM checkpoint_namespaces n WHERE n.part = l.part),
    (SELECT COUNT(*) FROM checkpoints c WHERE c.part = l.part),
    (SELECT CAST(COALESCE(SUM(OCTET_LENGTH(v.data)), 0) AS BIGINT)
     FROM checkpoint_values v WHERE v.part = l.part)
FROM checkpoint_lineages l

-- name: lineages
{about_lineage}
WHERE l.tenant = :tenant AND l.lineage > :after AND l.deleted_at IS NULL
ORDER BY l.lineage LIMIT :limit

-- name: lineage
{about_lineage} WHERE l.part = :part AND l.deleted_at IS NULL

-- name: worth_pruning
-- The next lineages in which there may be something to remove.
SELECT l.part, l.lineage FROM checkpoint_lineages l
WHERE l.tenant = :tenant AND l.lineage > :after AND l.deleted_at IS NULL
  AND EXISTS (SELECT 1 FROM checkpoints c WHERE c.part = l.part AND c.created_at < :before)
ORDER BY l.lineage LIMIT :limit
