-- What a write costs, made less. PostgreSQL makes a new entry in each index for each change of a row:
-- few indexes, and short ones. Sessions are kept ready in one order, that of their last change; whoever
-- asks for another has them sorted, and so is by id what changed in the same microsecond.
-- only: postgres
DROP INDEX sessions_created;
-- only: postgres
DROP INDEX sessions_by_user;
-- only: postgres
DROP INDEX sessions_by_app;
-- only: postgres
CREATE INDEX sessions_by_user ON sessions (part, updated_at) WHERE deleted_at IS NULL;
-- only: postgres
CREATE INDEX sessions_by_app ON sessions (app_part, updated_at) WHERE deleted_at IS NULL;

-- An append writes to the row of its session anyway, and what removes a session names its events:
-- PostgreSQL spent a tenth of an append on looking that row up once more.
-- only: postgres
ALTER TABLE events DROP CONSTRAINT IF EXISTS events_part_uid_fkey;

-- No statement chooses rows by these, and sampling long values is what autovacuum's ANALYZE costs.
-- Citus does not let it be said of a table in shards, which then is sampled as before.
-- only: postgres
DO $$ BEGIN ALTER TABLE events
    ALTER COLUMN digest SET STATISTICS 0,
    ALTER COLUMN calls SET STATISTICS 0,
    ALTER COLUMN results SET STATISTICS 0,
    ALTER COLUMN error SET STATISTICS 0,
    ALTER COLUMN metadata SET STATISTICS 0,
    ALTER COLUMN extra SET STATISTICS 0,
    ALTER COLUMN content SET STATISTICS 0,
    ALTER COLUMN codec SET STATISTICS 0,
    ALTER COLUMN data SET STATISTICS 0,
    ALTER COLUMN text SET STATISTICS 0
; EXCEPTION WHEN feature_not_supported THEN NULL
; END $$;

-- only: postgres
DO $$ BEGIN ALTER TABLE checkpoint_values
    ALTER COLUMN data SET STATISTICS 0
; EXCEPTION WHEN feature_not_supported THEN NULL
; END $$;

-- only: postgres
DO $$ BEGIN ALTER TABLE checkpoint_writes
    ALTER COLUMN value SET STATISTICS 0,
    ALTER COLUMN data SET STATISTICS 0
; EXCEPTION WHEN feature_not_supported THEN NULL
; END $$;
