"""By which plans PostgreSQL runs the statements: one part at a time, and by an index.

The partitioned schema stands for one in shards: a statement that looks into more than one
partition would ask more than one machine. Generic plans are those of a statement that was run
often; custom ones those of its first five times, and of every time behind a pooler.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from perdure.testing.postgres import empty_schema
from tests.postgres.asking import Asked, asking, literals, nodes
from tests.postgres.statements import BY_MANY_PARTS, BY_TWO_PARTS, FEATURES, is_of

#: SET has no plan, two are of no table of ours, and the last needs pgvector: where it looks is
#: what `search.vectors` has too.
_NO_PLAN = {"upkeep.one_snapshot", "sizes.stored", "search.compares", "search.compared"}
ASKED = {
    name: query
    for name, query in FEATURES.items()
    if "postgres" in query.texts and name not in _NO_PLAN
}
NAMES = sorted({name.partition(" ")[0] for name in ASKED})

EVENTS = 6
#: One who has more sessions than all others together.
_BUSY = """
INSERT INTO sessions
SELECT md5('busy'), 'u' || s, 's' || s, 'tenant', 'app', 'busy', md5('app'), 1, 0, 0, 0, 0, s, s, s,
    NULL, NULL, NULL, 'Title', '', '', '[]', '[]', NULL, NULL, 'hello', NULL
FROM generate_series(1, 4000) s
"""


@pytest.fixture(scope="module")
def partitioned() -> Iterator[Asked]:
    with empty_schema("postgres-partitioned") as url, asking(url) as asked:
        asked.fill(users=20, sessions=4, events=EVENTS)
        yield asked


@pytest.fixture(scope="module")
def plain() -> Iterator[Asked]:
    with empty_schema("postgres") as url, asking(url) as asked:
        asked.fill(users=20, sessions=150, events=EVENTS)
        asked.run(f"{_BUSY}; ANALYZE")
        yield asked


def plans(asked: Asked, name: str) -> Iterator[dict[str, Any]]:
    """How the statement is run, with a generic plan and with one for its values."""
    query = ASKED[name]
    with asked.prepared(query.texts["postgres"]) as types:
        arguments = literals(name, query.params, types)
        for mode in ("force_generic_plan", "force_custom_plan"):
            yield asked.plan(arguments, mode)


def touched(plan: dict[str, Any]) -> dict[str, set[str]]:
    """The partitions, by their table, that were looked into or written."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in nodes(plan):
        partition = re.fullmatch(r"(\w+)_\d+", node.get("Relation Name", ""))
        if partition and node["Actual Loops"] > 0:
            found[partition[1]].add(partition[0])
    return found


@pytest.mark.parametrize(
    "table", ["sessions", "events", "state", "annotations", "refs", "keyvalues"]
)
def test_there_are_rows_in_all_partitions(partitioned: Asked, table: str) -> None:
    for number in range(4):
        assert partitioned.rows(f"SELECT 1 FROM {table}_{number} LIMIT 1")


@pytest.mark.parametrize("base", NAMES)
def test_a_statement_touches_one_partition_of_each_table(partitioned: Asked, base: str) -> None:
    for name, query in ASKED.items():
        if name.partition(" ")[0] == base and not is_of(name, BY_MANY_PARTS):
            inserts = re.match(r"INSERT INTO [^;]*\bVALUES \(", query.texts["postgres"])
            most = 2 if is_of(name, BY_TWO_PARTS) else 1
            for plan in plans(partitioned, name):
                found = touched(plan)
                assert found or inserts, name
                for table, partitions in found.items():
                    assert len(partitions) <= (most if table == "state" else 1), (name, partitions)


@pytest.mark.parametrize("listed", BY_MANY_PARTS)
def test_what_may_touch_them_all_does(partitioned: Asked, listed: str) -> None:
    # Else it would not have to be in the list.
    names = [name for name in ASKED if is_of(name, [listed])]

    assert any(
        len(partitions) > 1
        for name in names
        for plan in plans(partitioned, name)
        for partitions in touched(plan).values()
    )


#: What every conversation asks again and again, and what a person opens first.
HOT = [
    "clarifications.asked",
    "clarifications.find",
    "clarifications.finish",
    "clarifications.list user pending *",
    "approvals.audit",
    "approvals.consume",
    "approvals.covering",
    "approvals.find",
    "approvals.list user * *",
    "approvals.list tenant pending *",
    "approvals.of_call",
    "approvals.resolve",
    "artifacts.add",
    "artifacts.blobs_of",
    "artifacts.drop_blob",
    "artifacts.has_pieces",
    "artifacts.latest",
    "artifacts.list",
    "artifacts.next_version",
    "artifacts.piece",
    "artifacts.put_blob",
    "artifacts.version",
    "artifacts.versions",
    "cron.claim",
    "cron.due",
    "cron.next_due",
    "cron.open_runs",
    "cron.runs task",
    "cron.stale",
    "cron.under_way",
    "cron.waiting",
    "checkpoints.bodies",
    "checkpoints.chains",
    "checkpoints.first_named",
    "checkpoints.one *",
    "checkpoints.page one_id *",
    "checkpoints.page one_put *",
    "checkpoints.place",
    "checkpoints.put_known",
    "checkpoints.put_writes",
    "events.append_many*",
    "events.append_one*",
    "events.by_id",
    "events.first_from",
    "events.followers",
    "events.insert",
    "events.jump*",
    "events.last *",
    "events.last_message",
    "events.outline",
    "events.read*",
    "events.stored",
    "events.tail",
    "keyvalues.add",
    "keyvalues.expired",
    "keyvalues.find",
    "keyvalues.list *",
    "keyvalues.namespaces",
    "keyvalues.put",
    "keyvalues.renew",
    "memory.buried",
    "memory.find",
    "memory.logged",
    "memory.of_session",
    "memory.page",
    "memory.same",
    "memory.some",
    "steps.find",
    "steps.put",
    "fulltext.around",
    "fulltext.newest user",
    "fulltext.take",
    "search.approvals",
    "search.clarifications",
    "search.events",
    "search.fresh",
    "search.lacking user",
    "sessions.claim",
    "sessions.claim_append",
    "sessions.find",
    "sessions.find_uid",
    "sessions.hold",
    "sessions.list user live updated_at * *",
    "sessions.list user live created_at * *",
    "sessions.list_stated user live updated_at * *",
    "state.find",
    "state.list",
    "state.merged",
    "state.put",
    "summaries.every",
    "summaries.mark",
    "summaries.of_filter",
]


@pytest.mark.parametrize("pattern", HOT)
def test_what_is_asked_often_goes_by_an_index(plain: Asked, pattern: str) -> None:
    names = [name for name in ASKED if is_of(name, [pattern])]

    assert names
    for name in names:
        for plan in plans(plain, name):
            scans = [node for node in nodes(plan) if "Scan" in node["Node Type"]]
            whole = [node for node in scans if node["Node Type"] == "Seq Scan"]
            assert [node["Relation Name"] for node in whole] == [], name


def test_the_check_of_indexes_sees_a_whole_table_read(plain: Asked) -> None:
    with plain.prepared("SELECT 1 FROM events WHERE author = $1"):
        plan = plain.plan(["'nobody'"], "auto")

    assert [node["Node Type"] for node in nodes(plan)] == ["Seq Scan"]


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("start", ["first", "next"])
@pytest.mark.parametrize(
    ("order", "index"),
    [
        ("user live updated_at", "sessions_by_user"),
        ("app live updated_at", "sessions_by_app"),
    ],
)
def test_a_page_is_read_in_its_order_and_not_sorted_however_many_there_are(
    plain: Asked, order: str, index: str, start: str, way: str
) -> None:
    name = f"sessions.list {order} {way} {start}"
    query = ASKED[name]
    with plain.prepared(query.texts["postgres"]) as types:
        arguments = literals(name, query.params, types)
        for _ in range(10):
            # As it is after a while: PostgreSQL has by now chosen a plan to keep, or not to.
            plain.plan(arguments, "auto")
        busy = [argument.replace("user7", "busy") for argument in arguments]
        found = list(nodes(plain.plan(busy, "auto")))

    scanned = [node for node in found if node.get("Relation Name") == "sessions"]
    assert [node["Index Name"] for node in scanned] == [index]
    assert "Sort" not in {node["Node Type"] for node in found}
    # The row after the page too: it may have been changed in the same microsecond as the last.
    assert max(node["Actual Rows"] for node in found) <= 21
