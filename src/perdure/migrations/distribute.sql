-- Sharding with Citus: each table in shards by `part`, those of one part on one machine.

-- name: available[postgres]
-- Asks for the function that is called, and not for the extension's row: what is missing, or not
-- to be seen from here, is then known before anything has changed. No version of Citus has been
-- without that function, and it can be stood in for where there is none.
SELECT 1 FROM pg_proc p
WHERE p.proname = 'create_distributed_table' AND pg_function_is_visible(p.oid) LIMIT 1

-- name: distributed[postgres]
-- Of the tables that the search path finds, so of this schema's. 'h' is by hash; 'n' are tables
-- that Citus knows and keeps in one piece.
SELECT c.relname FROM pg_class c
JOIN pg_dist_partition d ON d.logicalrelid = c.oid
WHERE d.partmethod = 'h' AND pg_table_is_visible(c.oid)

-- name: distribute[postgres]
SELECT create_distributed_table(
    CAST(CAST(:table AS TEXT) AS REGCLASS), 'part', colocate_with => CAST(:beside AS TEXT))
