-- How much is stored, by the lengths of the columns: the same numbers on every engine.

-- name: apps
SELECT DISTINCT s.app_part, s.tenant, s.app FROM sessions s

-- name: owners
SELECT s.part, MIN(s.tenant), MIN(s.app), MIN(s.user_id) FROM sessions s
WHERE s.part > :after_part GROUP BY s.part ORDER BY s.part LIMIT :limit

-- name: lineages
-- Whose the parts of lineages are; nobody's have no names.
SELECT l.part, l.tenant, MIN(o.app), MIN(o.user_id)
FROM checkpoint_lineages l LEFT JOIN checkpoint_owners o ON o.part = l.part
WHERE l.part > :after_part AND l.part <= :upto_part GROUP BY l.part, l.tenant

-- name: held
-- for: table, size = @sized
SELECT t.part, COUNT(*), SUM({size}) FROM {table} t
WHERE t.part > :after_part AND t.part <= :upto_part GROUP BY t.part

-- name: grown
-- for: table, moment, size = @dated
SELECT {moment} / 86400000000, COUNT(*), SUM({size}) FROM {table} t
WHERE {moment} >= :since GROUP BY 1

-- name: stored[sqlite]
SELECT c.page_count * s.page_size FROM pragma_page_count() c, pragma_page_size() s

-- name: stored[postgres]
SELECT CAST(SUM(pg_total_relation_size(c.oid)) AS BIGINT)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind = 'r'
