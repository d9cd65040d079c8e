"""The rules of one schema for PostgreSQL and for PostgreSQL in shards, over every statement.

They are those of docs/architecture.md: what breaks one may well work here, and not there.
"""

from __future__ import annotations

import re

import pytest

from perdure.engines import postgres, postgres_connection, postgres_transactions
from perdure.migrations import migrations
from perdure.operation import Query
from perdure.tables import TABLES
from tests.postgres.scopes import scopes, unbound
from tests.postgres.statements import BY_MANY_PARTS, BY_TWO_PARTS, EVERY, FEATURES, POSTGRES, is_of

DDL = {
    f"{migration.name}: {text.partition('(')[0].strip()}": text
    for migration in migrations()
    for text in migration.statements("postgres")
}
TEXTS = {name: query.texts["postgres"] for name, query in POSTGRES.items()}
#: What the engine says for itself.
ENGINE = {
    f"{module.__name__}.{name}": text
    for module in (postgres, postgres_connection, postgres_transactions)
    for name, text in vars(module).items()
    if isinstance(text, str) and re.search(r"\b(SELECT|INSERT|UPDATE|DELETE)\b", text)
}
EVERYTHING = {**TEXTS, **DDL, **ENGINE}
TABLE_NAMES = "|".join(table.name for table in TABLES)


def breaking(pattern: str, texts: dict[str, str]) -> list[str]:
    """The names of those that match."""
    return [name for name, text in texts.items() if re.search(pattern, text, re.IGNORECASE)]


# -- keys ------------------------------------------------------------------------------------------


def test_every_key_begins_with_the_part() -> None:
    key = r"(?:PRIMARY KEY|UNIQUE|FOREIGN KEY|REFERENCES \w+|UNIQUE INDEX \w+ ON \w+)"
    keys = [
        (name, columns)
        for name, text in DDL.items()
        for columns in re.findall(rf"{key} \(([^)]+)\)", text)
    ]

    assert len(keys) > len(TABLES)
    assert [one for one in keys if not re.match(r"part\b", one[1])] == []


def test_every_table_has_a_part_that_is_never_null_and_a_primary_key() -> None:
    tables = {name: text for name, text in DDL.items() if text.startswith("CREATE TABLE")}

    assert {text.split()[2] for text in tables.values()} == {table.name for table in TABLES}
    for text in tables.values():
        assert re.search(r'^CREATE TABLE \w+ \(\s+part\s+TEXT COLLATE "C"\s+NOT NULL,', text)
        assert "PRIMARY KEY (part" in text
        assert "REFERENCES" not in re.sub(r"FOREIGN KEY \(part[^)]*\) REFERENCES", "", text)


def test_no_part_is_ever_changed() -> None:
    for text in TEXTS.values():
        for changes in re.findall(r"\bSET\s(.*?)(?:\bWHERE\b|\bRETURNING\b|$)", text, re.DOTALL):
            assert not re.search(r"(?<![\w.])part =", changes)


# -- what a statement may say ----------------------------------------------------------------------


def upserts(text: str) -> list[str]:
    """What stands behind each DO UPDATE SET, up to its condition or its end."""
    end = r"(?:\bWHERE\b|\bRETURNING\b|\n\)|\)\s*$|\)\s*SELECT\b|$)"
    return re.findall(rf"DO UPDATE\s+SET\s(.*?){end}", text, re.DOTALL)


PLAIN = re.compile(r"(\w+) = (excluded\.\w+|\$\d+|\d+|'[^']*'|NULL|\w+\.\1( \+ 1)?)")


def test_an_upsert_sets_constants_what_was_excluded_or_one_more() -> None:
    found = [(name, changes) for name, text in TEXTS.items() for changes in upserts(text)]

    assert len(found) > 5
    for name, changes in found:
        for change in changes.split(","):
            assert PLAIN.fullmatch(" ".join(change.split())), (name, change)


@pytest.mark.parametrize(
    "change", ["a = now()", "a = lower(excluded.a)", "a = t.b + 1", "a = t.a || 'x'", "a = (b)"]
)
def test_the_check_of_upserts_refuses_what_shards_refuse(change: str) -> None:
    insert = "INSERT INTO t (part, a) VALUES ($1, $2) ON CONFLICT (part) DO UPDATE"

    assert upserts(f"{insert} SET a = excluded.a WHERE t.a = 1") == ["a = excluded.a "]
    assert not PLAIN.fullmatch(upserts(f"{insert} SET {change}")[0])


def test_an_upsert_names_the_primary_key_or_the_live_id_or_the_name_of_a_task() -> None:
    keys = {
        text.split()[2]: re.search(r"PRIMARY KEY \(([^)]+)\)", text)[1]  # type: ignore[index]
        for text in DDL.values()
        if text.startswith("CREATE TABLE")
    }
    for name, text in TEXTS.items():
        for table, target in re.findall(
            r"INSERT INTO (\w+)(?:(?!INSERT).)*?ON CONFLICT \(([^)]+)\)", text, re.DOTALL
        ):
            named = {("sessions", "part, id"), ("cron_tasks", "part, name")}
            assert target == keys[table] or (table, target) in named, name


@pytest.mark.parametrize(
    "pattern",
    [
        r"\bTRIGGER\b",
        r"\bCREATE (OR REPLACE )?RULE\b",
        r"\bSEQUENCE\b",
        r"\bnextval\b",
        r"\bIDENTITY\b",
        r"\b(BIG|SMALL)?SERIAL\b",
        r"\bDEFAULT\b",
        r"\bGENERATED\b",
        r"\bNOTIFY\b|\bpg_notify\b|\bLISTEN\b",
        r"\bjsonb?_?|\bto_json",
        r"\b(now|random|timeofday|(clock|statement|transaction)_timestamp)\s*\(",
        r"\b(gen_random_uuid|uuidv\d|uuid_generate_\w+)\s*\(",
        r"\bCURRENT_(TIMESTAMP|TIME|DATE)\b|\bLOCALTIME(STAMP)?\b",
        r"\bMERGE\b",
        r"\bTEMP(ORARY)?\b",
    ],
)
def test_the_clock_ids_order_and_json_are_the_clients(pattern: str) -> None:
    assert breaking(pattern, EVERYTHING) == []


def test_advisory_locks_are_for_migrations_alone() -> None:
    assert breaking(r"\bpg_(try_)?advisory", EVERYTHING) == ["ledger.lock"]


def test_a_statement_changes_a_table_at_most_once() -> None:
    for name, text in TEXTS.items():
        changed = re.findall(
            rf"(?:\bINSERT INTO|\bDELETE FROM|(?<!DO )(?<!FOR )\bUPDATE)\s+({TABLE_NAMES})\b", text
        )
        assert len(changed) == len(set(changed)), name


def test_rows_are_locked_only_where_the_part_is_known() -> None:
    assert [
        name
        for name in breaking(r"\bFOR (NO KEY )?(UPDATE|SHARE)\b|SKIP LOCKED", TEXTS)
        if is_of(name, BY_MANY_PARTS)
    ] == []


def test_few_statements_have_a_text_for_one_dialect() -> None:
    def base(name: str) -> str:
        return name.partition(" ")[0]

    own = {base(name) for name, query in EVERY.items() if _is_of_a_dialect(query)}
    every = {base(name) for name in EVERY}

    assert 0 < len(own) <= 0.15 * len(every), sorted(own)


def _is_of_a_dialect(query: Query) -> bool:
    if len(query.texts) == 1:
        return True
    return query.texts["sqlite"].replace("?", "$") != query.texts["postgres"]


# -- one part --------------------------------------------------------------------------------------


def test_every_statement_asks_each_of_its_tables_for_one_part() -> None:
    asking_more = {
        name
        for name in FEATURES
        if name in POSTGRES
        and not is_of(name, BY_MANY_PARTS)
        and not is_of(name, BY_TWO_PARTS)
        and unbound(POSTGRES[name])
    }

    assert asking_more == set()


def test_what_the_engine_says_for_itself_asks_one_part_but_for_a_sweep() -> None:
    of_tables = {
        name.rpartition(".")[2]: re.sub(r"'\{\w+\}'|\{\w+\}", "$1", text)
        for name, text in ENGINE.items()
        if re.search(rf"(FROM|INTO|UPDATE) ({TABLE_NAMES})\b", text)
    }

    assert len(of_tables) >= 3
    assert [
        name
        for name, text in of_tables.items()
        if unbound(Query(name, {"postgres": text}, ("part", *"abcdef")))
    ] == ["_FORGET"]


def test_the_list_of_those_that_ask_more_has_none_that_does_not() -> None:
    for listed in BY_MANY_PARTS:
        names = [name for name in FEATURES if is_of(name, [listed])]
        assert names, listed
        assert all(unbound(FEATURES[name]) for name in names), listed
    for listed in BY_TWO_PARTS:
        assert [name for name in FEATURES if is_of(name, [listed])], listed


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("SELECT 1 FROM events WHERE part = $1", []),
        ("SELECT 1 FROM events WHERE uid = $1", ["events"]),
        ("SELECT 1 FROM events e JOIN sessions s ON s.part = e.part WHERE s.part = $1", []),
        ("SELECT 1 FROM events e JOIN sessions s ON s.uid = e.uid WHERE s.part = $1", ["events"]),
        ("SELECT 1 FROM events e, state WHERE e.part = $1", ["state"]),
        ("UPDATE events SET seq = 1 WHERE uid = $1", ["events"]),
        ("DELETE FROM refs WHERE part = $1 AND uid IN (SELECT uid FROM state)", ["state"]),
        ("DELETE FROM refs WHERE part = $1 AND uid IN (SELECT uid FROM state WHERE part = $1)", []),
        ("SELECT 1 FROM state WHERE part = $1 UNION ALL SELECT 1 FROM state", ["state"]),
        ("SELECT 1 FROM state WHERE part = $1 OR part = $1", ["state"]),
        ("INSERT INTO refs (part, uid) VALUES ($1, $2)", []),
        ("INSERT INTO refs (part, uid) SELECT part, uid FROM refs WHERE part = $1", []),
        ("INSERT INTO refs (part, uid) SELECT part, uid FROM refs", ["refs", "refs"]),
        ("WITH a AS (SELECT uid FROM refs) SELECT 1 FROM a", ["refs"]),
    ],
)
def test_the_check_of_parts_sees_what_it_should(text: str, tables: list[str]) -> None:
    assert len(scopes(text)) > 0
    assert unbound(Query("of a test", {"postgres": text}, ("part", "uid"))) == tables
