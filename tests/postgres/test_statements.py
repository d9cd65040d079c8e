"""Every named statement, with every choice, is good SQL for those who are to run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

import perdure
from tests.postgres.asking import Asked
from tests.postgres.citus import stand_in
from tests.postgres.servers import drop_database, fresh_database, server
from tests.postgres.statements import EVERY, POSTGRES
from tests.postgres.vectors import stand_in_for_pgvector

_BIGINT = {
    "added", "after_time", "at", "base", "before", "created_at", "deleted_at",
    "deleted_before", "doomed", "event_count", "expected", "expires_at", "from_seq", "head",
    "high", "idle_before", "last_event_at", "last_seq", "left_head", "limit", "low", "now",
    "number", "prev", "seq", "since", "step", "timestamp", "ttl", "until", "updated_after",
    "updated_at", "version", "as_of", "dimension", "documents", "length", "pinned", "small",
    "valid_from", "valid_until", "after_version", "size", "anchor", "asked", "covers_seq",
    "due_at", "hidden_upto", "after_seq", "after_at", "fence", "answered_at", "resolved_at",
    "closed_at", "steps", "absent", "base_chain", "base_checksum", "base_depth", "below",
    "chain", "depth", "epoch", "form", "idx", "known", "named", "replacing",
    "tail", "v_chain", "v_checksum", "v_depth", "v_form", "v_head", "v_named", "v_tail",
    "alone", "enabled", "finished_at", "last_triggered_at", "misfire_limit", "next_run_at",
    "scheduled_at", "slot", "started_at", "timeout",
}  # fmt: skip
_OTHERS = {
    "characters": "integer",
    "data": "bytea",
    "state_data": "bytea",
    "v_data": "bytea",
    "vector": "real",
    "state_owns": "boolean",
    "terms": "integer",
}
#: Of lists in any order: the type of what they are ordered by. Tokens of leases are counted, those
#: of outcomes are not.
_ANY = {
    "after": {"bigint", "text"},
    "before": {"bigint", "text"},
    "checksum": {"bigint", "text"},
    "token": {"bigint", "text"},
}

NAMES = sorted({name.partition(" ")[0] for name in EVERY})


@pytest.fixture(scope="module")
def postgres() -> Iterator[Asked]:
    url = fresh_database(server())
    perdure.open_sync(url).close()
    stand_in(url)
    stand_in_for_pgvector(url)
    asked = Asked(url, "public")
    yield asked
    asked.close()
    drop_database(url)


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    path = Path(tmp_path_factory.mktemp("sqlite"), "store.db")
    perdure.open_sync(f"sqlite:///{path}").close()
    connection = apsw.Connection(str(path))
    # What sqlite-vec has, which need not be here.
    connection.create_scalar_function("vec_distance_cosine", lambda *_: 0.0, 2)
    yield connection
    connection.close()


def expected_types(param: str) -> set[str]:
    usual = "bigint" if param in _BIGINT else _OTHERS.get(param, "text")
    return _ANY.get(param, {usual})


@pytest.mark.parametrize("base", sorted({*NAMES} - {"ledger.create", "upkeep.one_snapshot"}))
def test_postgresql_knows_the_statement_and_takes_the_types_that_are_sent(
    postgres: Asked, base: str
) -> None:
    chosen = {name: query for name, query in POSTGRES.items() if name.partition(" ")[0] == base}

    for name, query in chosen.items():
        text = query.texts["postgres"]
        if text.startswith("SET LOCAL"):
            postgres.run(f"BEGIN; {text}; ROLLBACK")
            continue
        with postgres.prepared(text) as types:
            assert len(types) == len(query.params), name
            for param, kind in zip(query.params, types, strict=True):
                assert kind.removesuffix("[]") in expected_types(param), (name, param)

    assert postgres.rows("SELECT name FROM pg_prepared_statements WHERE from_sql") == []


@pytest.mark.parametrize("base", NAMES)
def test_sqlite_knows_the_statement_and_each_of_its_parameters(
    sqlite: apsw.Connection, base: str
) -> None:
    for name, query in EVERY.items():
        if name.partition(" ")[0] == base and "sqlite" in query.texts:
            text = query.texts["sqlite"]
            values = [None] * sum(f"?{n}" in text for n in range(1, len(query.params) + 1))

            assert sqlite.execute(f"EXPLAIN {text}", values).fetchall(), name


def test_the_texts_of_both_dialects_have_the_same_parameters() -> None:
    for name, query in EVERY.items():
        for dialect, sign in (("sqlite", "?"), ("postgres", "$")):
            if dialect in query.texts:
                numbers = range(1, len(query.params) + 1)
                assert all(f"{sign}{n}" in query.texts[dialect] for n in numbers), (name, dialect)
