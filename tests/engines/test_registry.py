"""The registry of tables is the schema, the statements fit it, and the hot ones use an index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files

import apsw
import pytest

import perdure
from perdure.engines.sqlite import SqliteEngine
from perdure.features import (
    approval_rows,
    line,
    lookup,
    memory_rows,
    outbox,
    scopes,
    storing,
    sweeping,
    upkeep,
)
from perdure.migrations import migrations
from perdure.operation import Query
from perdure.sql import Statements, load
from perdure.tables import TABLES

FILES = sorted(
    file.name for file in files("perdure.features").iterdir() if file.name.endswith(".sql")
)
NO_ROWS = "EXPLAIN QUERY PLAN "


@pytest.fixture(scope="module")
def database() -> Iterator[apsw.Connection]:
    """The schema as the migrations make it, without rows."""
    connection = apsw.Connection(":memory:")
    # What sqlite-vec has, which need not be here.
    connection.create_scalar_function("vec_distance_cosine", lambda *_: 0.0, 2)
    for migration in migrations():
        for statement in migration.statements("sqlite"):
            connection.execute(statement)
    yield connection
    connection.close()


def statements() -> list[Query]:
    found = [query for name in FILES for query in load("perdure.features", name)]
    return [query for query in found if "sqlite" in query.texts]


def plan(database: apsw.Connection, query: Query) -> list[str]:
    text = query.texts["sqlite"]
    rows = database.execute(NO_ROWS + text, [1] * len(query.params)).fetchall()
    return [str(row[3]) for row in rows]


def test_the_registry_has_the_columns_of_the_schema_in_its_order(
    database: apsw.Connection,
) -> None:
    real = {
        name: tuple(str(column) for _, column, *_ in database.execute(f"PRAGMA table_info({name})"))
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }

    assert {table.name: table.columns for table in TABLES} == real


def test_the_registry_has_every_column_of_json_and_no_other(database: apsw.Connection) -> None:
    # JSON is what these columns hold by the comments of the schema; a column that is new in the
    # schema has to be sorted into one of the two.
    plain = {
        "part", "uid", "id", "tenant", "app", "user_id", "app_part", "title", "author",
        "agent_type", "preview", "run_id", "branch", "filter_key", "kind", "role", "format",
        "codec", "text", "name", "digest", "event_id", "token", "owner", "reason",
        "released_by", "namespace", "key", "same_by", "agent", "session_id",
        "superseded_by", "heir", "sha256", "mime_type", "hook", "failure", "lease",
        "block", "low_key", "high_key", "words", "model", "doc", "question", "context",
        "sender_context", "status", "answer", "answered_by", "thread_id", "tool_name",
        "tool_call_id", "args_sha256", "edited_sha256", "call_key", "request",
        "created_by", "resolved_by", "feedback", "rule", "from_status", "to_status",
        "approval_id", "lineage", "lineage_part", "owner_part", "ns", "parent_id",
        "parent_ns", "run", "task", "path", "channel", "run_key", "name_key",
        "expression", "timezone", "paused_by", "source", "misfire", "overlap",
        "task_id", "task_name", "cause", "session_part", "session_uid",
    }  # fmt: skip

    for table in TABLES:
        texts = {
            str(column)
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info({table.name})")
            if kind == "TEXT"
        }
        # The delta of an event and of the log are JSON; `calls` is a list.
        assert texts - plain == table.json, table.name


def test_the_registry_knows_which_columns_hold_bytes(database: apsw.Connection) -> None:
    for table in TABLES:
        found = {
            str(column)
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info({table.name})")
            if kind == "BLOB"
        }
        # Numbers, and bytes on SQLite alone: its length is counted in its own way.
        found.discard("vector")
        assert found == table.bytes & set(table.columns), table.name


def indexed(database: apsw.Connection, table: str) -> list[list[str]]:
    """The columns of each index, in their order."""
    names = [str(row[1]) for row in database.execute(f"PRAGMA index_list({table})")]
    return [
        [str(row[2]) for row in database.execute(f"PRAGMA index_info({name})")] for name in names
    ]


def test_what_hangs_on_a_session_or_a_person_leads_with_its_part(
    database: apsw.Connection,
) -> None:
    for table in TABLES:
        keys = [
            str(column)
            for _, column, _, _, _, key in database.execute(f"PRAGMA table_info({table.name})")
            if key
        ]
        assert keys[0] == "part", table.name
        leading = [keys, *indexed(database, table.name)]
        assert any(columns[:2] == ["part", "uid"] for columns in leading) == table.session


def test_upkeep_goes_through_every_table_of_the_registry() -> None:
    source = files("perdure.features").joinpath("upkeep.sql").read_text(encoding="utf-8")
    named = dict(re.findall(r"-- name: (\w+)\n-- for: table = (.+)", source))

    assert named == {
        "rows_of": "@person",
        "erase": "@person",
        "purge": "@session",
        "export": "@session",
        "export_all": "@person",
    }


def test_the_key_that_the_registry_names_is_that_of_the_schema(
    database: apsw.Connection,
) -> None:
    for table in TABLES:
        rows = database.execute(f"PRAGMA table_info({table.name})").fetchall()
        real = tuple(
            str(row[1]) for row in sorted(rows, key=lambda row: int(str(row[5]))) if row[5]
        )
        # What a sweep removes row by row, it removes by this key.
        assert table.key in {(), real}, table.name
        assert table.key or not (table.session or table.expires), table.name
        assert table.expires is None or table.expires in table.columns, table.name


def test_rows_go_before_those_that_they_hang_on(database: apsw.Connection) -> None:
    order = [table.name for table in TABLES]

    for name in order:
        for row in database.execute(f"PRAGMA foreign_key_list({name})"):
            assert order.index(name) < order.index(row[2]), f"{name} hangs on {row[2]}"


@pytest.mark.parametrize("name", FILES)
def test_every_statement_prepares(database: apsw.Connection, name: str) -> None:
    prepared = 0

    for query in load("perdure.features", name):
        if "sqlite" in query.texts:
            plan(database, query)
            prepared += 1

    assert prepared > 0


def test_every_statement_has_one_heading_of_its_own() -> None:
    for name in FILES:
        source = files("perdure.features").joinpath(name).read_text(encoding="utf-8")
        headings = re.findall(r"^-- (?:name|define): *(.+?) *$", source, re.MULTILINE)

        assert sorted(set(headings)) == sorted(headings), name


def test_every_statement_is_used() -> None:
    folders = (files("perdure.features"), files("perdure"))
    sources = "".join(
        file.read_text(encoding="utf-8")
        for folder in folders
        for file in folder.iterdir()
        if file.name.endswith(".py")
    )
    unused = {
        query.name.split()[0]
        for query in statements()
        if not re.search(rf"\.{query.name.split()[0]}\b|\"{query.name.split()[0]}\"", sources)
    }

    assert unused == set()


def pick(source: Statements, name: str, *labels: str) -> Query:
    return source.pick(name, *labels)


HOT = {
    "find": pick(lookup.SESSIONS, "find"),
    "find_uid": pick(lookup.SESSIONS, "find_uid"),
    "claim": pick(lookup.SESSIONS, "claim"),
    "claim_append": pick(lookup.SESSIONS, "claim_append"),
    "stored": pick(line.EVENTS, "stored"),
    "by_id": pick(line.EVENTS, "by_id"),
    "jumps": pick(line.EVENTS, "jumps"),
    "first_from": pick(line.EVENTS, "first_from"),
    "read up": pick(line.EVENTS, "read", "up", "events"),
    "read down": pick(line.EVENTS, "read", "down", "events"),
    "last contents": pick(line.EVENTS, "last", "contents"),
    "outline": pick(line.EVENTS, "outline"),
    "tail": pick(line.EVENTS, "tail"),
    "rewrites_after": pick(line.EVENTS, "rewrites_after"),
    "last_message": pick(line.EVENTS, "last_message"),
    "merged state": pick(scopes.STATE, "merged"),
    "state of a key": pick(scopes.STATE, "find"),
    "a memory": pick(memory_rows.MEMORY, "find"),
    "the same memory": pick(memory_rows.MEMORY, "same"),
    "memories of a search": pick(memory_rows.MEMORY, "some"),
    **{f"memories {start}": pick(memory_rows.MEMORY, "page", start) for start in ("first", "next")},
    "list of state": pick(scopes.STATE, "list"),
    "state_log": pick(scopes.STATE, "logged"),
    **{
        f"list {scope} {way} {start}": pick(
            lookup.SESSIONS, "list", scope, "live", "updated_at", way, start
        )
        for scope in ("user", "app")
        for way in ("up", "down")
        for start in ("first", "next")
    },
    **{
        f"list created {way} {start}": pick(
            lookup.SESSIONS, "list", "user", "live", "created_at", way, start
        )
        for way in ("up", "down")
        for start in ("first", "next")
    },
    **{f"key-values {way}": pick(storing.KEYVALUES, "list", way) for way in ("up", "down")},
    "a key-value": pick(storing.KEYVALUES, "find"),
    "expired key-values": pick(storing.KEYVALUES, "expired"),
    "sweep of key-values": pick(storing.KEYVALUES, "sweep"),
    "what a sweep finds deleted": pick(sweeping.SWEEPING, "doomed", "deleted"),
    "what a sweep finds expired": pick(sweeping.SWEEPING, "doomed", "expired"),
    "what webhooks are to be told": pick(outbox.OUTBOX, "next"),
    **{
        f"approvals {name}": pick(approval_rows.APPROVALS, name)
        for name in ("find", "of_call", "resolve", "consume", "audit", "covering")
    },
    **{
        f"approvals {owner} {what} {start}": pick(
            approval_rows.APPROVALS, "list", owner, what, start
        )
        for owner, what in (("user", "every"), ("app", "every"), ("tenant", "pending"))
        for start in ("first", "next")
    },
    "count of a user": pick(lookup.SESSIONS, "count", "user", "live"),
    "tombstone": pick(upkeep.UPKEEP, "admitted"),
    "uids": pick(upkeep.UPKEEP, "uids"),
}


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_searches_by_an_index_and_sorts_nothing(
    database: apsw.Connection, name: str
) -> None:
    steps = plan(database, HOT[name])

    assert steps != []
    assert [step for step in steps if step.startswith("SCAN") and "CONSTANT" not in step] == []
    assert [step for step in steps if "TEMP B-TREE" in step] == []


@pytest.mark.parametrize("name", ["list user down next", "list app down next"])
def test_the_next_page_starts_where_the_last_one_ended(
    database: apsw.Connection, name: str
) -> None:
    [search] = [step for step in plan(database, HOT[name]) if step.startswith("SEARCH s ")]

    # Not only by the part: else a page costs what all pages before it cost.
    assert re.search(r"\(\w*part=\? AND \(?updated_at", search), search


@pytest.mark.parametrize("table", [table.name for table in TABLES if table.session])
def test_a_session_is_purged_by_the_key_of_each_table(
    database: apsw.Connection, table: str
) -> None:
    [step] = plan(database, pick(upkeep.UPKEEP, "purge", table))

    assert "part=? AND uid=?" in step


def test_inserting_an_event_scans_nothing(database: apsw.Connection) -> None:
    assert [
        step for step in plan(database, pick(line.EVENTS, "insert")) if step.startswith("SCAN")
    ] == []


def test_an_append_runs_no_statement_more_than_it_needs() -> None:
    store = perdure.open_sync("memory:")
    key = store.sessions.create("support", "ada").key
    engine = store._engine
    assert isinstance(engine, SqliteEngine)
    assert engine._connection is not None
    seen: list[str] = []

    def note(_: object, text: str, __: object) -> bool:
        seen.append(text.split(maxsplit=1)[0])
        return True

    engine._connection.set_exec_trace(note)
    store.events.append(key, perdure.NewEvent("hi", id="e1", state_delta={"a": 1}))
    engine._connection.set_exec_trace(None)
    store.close()

    assert seen == ["BEGIN", "SELECT", "UPDATE", "INSERT", "INSERT", "COMMIT"]
