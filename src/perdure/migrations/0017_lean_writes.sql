-- What a write costs, made less. Sessions are kept ready in one order, that of their last change;
-- whoever asks for another one has them sorted.
DROP INDEX sessions_created;

-- PostgreSQL makes a new entry in each index for each change of a row: short ones. It sorts by id
-- what changed in the same microsecond, SQLite would sort with a tree for each row of a page.
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
ALTER TABLE events DROP CONSTRAINT events_part_uid_fkey;

-- No statement chooses rows by these, and sampling long values is what autovacuum's ANALYZE costs.
-- only: postgres
ALTER TABLE events
    ALTER COLUMN digest SET STATISTICS 0,
    ALTER COLUMN calls SET STATISTICS 0,
    ALTER COLUMN results SET STATISTICS 0,
    ALTER COLUMN error SET STATISTICS 0,
    ALTER COLUMN metadata SET STATISTICS 0,
    ALTER COLUMN extra SET STATISTICS 0,
    ALTER COLUMN content SET STATISTICS 0,
    ALTER COLUMN codec SET STATISTICS 0,
    ALTER COLUMN data SET STATISTICS 0,
    ALTER COLUMN text SET STATISTICS 0;

-- only: postgres
ALTER TABLE checkpoint_values ALTER COLUMN data SET STATISTICS 0;

-- only: postgres
ALTER TABLE checkpoint_writes
    ALTER COLUMN value SET STATISTICS 0,
    ALTER COLUMN data SET STATISTICS 0;
