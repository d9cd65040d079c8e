"""Stand-ins for what `perdure distribute` uses of Citus, for there is none to install here.

They have the names, the signatures and the refusals of the real ones, and keep no shards.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.postgres.servers import fetch

_STAND_INS = [
    "CREATE TYPE {s}.distribution_type AS ENUM ('hash', 'range', 'append')",
    """
    CREATE TABLE {s}.pg_dist_partition (
        logicalrelid REGCLASS NOT NULL PRIMARY KEY, partmethod "char" NOT NULL, partkey TEXT,
        colocationid INTEGER NOT NULL DEFAULT 0, repmodel "char" NOT NULL DEFAULT 's',
        autoconverted BOOLEAN NOT NULL DEFAULT FALSE)
    """,
    """
    CREATE TABLE {s}.calls (
        number BIGINT GENERATED ALWAYS AS IDENTITY, name TEXT, by TEXT, beside TEXT, xid XID8,
        patience TEXT)
    """,
    """
    CREATE FUNCTION {s}.create_distributed_table(
        table_name REGCLASS, distribution_column TEXT,
        distribution_type {s}.distribution_type DEFAULT 'hash',
        colocate_with TEXT DEFAULT 'default', shard_count INTEGER DEFAULT NULL)
    RETURNS VOID LANGUAGE plpgsql AS $$
    DECLARE
        missing REGCLASS;
    BEGIN
        EXECUTE format('LOCK TABLE %s IN EXCLUSIVE MODE', table_name);
        IF EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = table_name) THEN
            RAISE 'table "%" is already distributed', table_name USING ERRCODE = '42P16';
        END IF;
        SELECT confrelid INTO missing FROM pg_constraint
        WHERE conrelid = table_name AND contype = 'f'
          AND confrelid NOT IN (SELECT logicalrelid FROM pg_dist_partition) LIMIT 1;
        IF missing IS NOT NULL THEN
            RAISE 'referenced table "%" must be a distributed table', missing
            USING ERRCODE = '42P16';
        END IF;
        IF colocate_with NOT IN ('none', 'default') THEN
            PERFORM 1 FROM pg_dist_partition WHERE logicalrelid = colocate_with::REGCLASS;
            IF NOT FOUND THEN
                RAISE 'relation % is not distributed', colocate_with USING ERRCODE = '42809';
            END IF;
        END IF;
        INSERT INTO pg_dist_partition (logicalrelid, partmethod) VALUES (table_name, 'h');
        INSERT INTO calls (name, by, beside, xid, patience)
        VALUES (table_name::TEXT, distribution_column, colocate_with, pg_current_xact_id(),
                current_setting('statement_timeout'));
    END $$
    """,
]


class DistributeCall(NamedTuple):
    """One call that went through."""

    name: str
    by: str
    beside: str
    xid: str
    patience: str


def stand_in(database: str, schema: str = "public") -> None:
    """Put them into that schema, where the store of the same schema finds them."""
    for text in _STAND_INS:
        fetch(database, text.replace("{s}", schema))


def calls(database: str, schema: str = "public") -> list[DistributeCall]:
    """What was distributed, in order."""
    columns = "name, by, beside, xid::TEXT, patience"
    rows = fetch(database, f"SELECT {columns} FROM {schema}.calls ORDER BY number")
    return [DistributeCall(*row) for row in rows]
