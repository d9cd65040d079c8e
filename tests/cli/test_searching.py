"""``perdure search``."""

from __future__ import annotations

import json

import perdure as library
from tests.cli.command import Perdure


def test_a_pipe_gets_the_hits_best_first(shop: Perdure) -> None:
    result = shop("search", "late parcel", "--app", "shop", "--user", "ada")

    assert result.code == 0
    assert result.rows[0][:3] in (["titles", "shop", "ada"], ["events", "shop", "ada"])
    assert {row[3] for row in result.rows} == {"late-parcel"}
    scores = [float(row[6]) for row in result.rows]
    assert scores == sorted(scores, reverse=True)


def test_kinds_and_users_narrow_it_down(shop: Perdure) -> None:
    everywhere = shop("search", "parcel", "--app", "shop").rows
    titles = shop("search", "parcel", "--app", "shop", "--kind", "titles").rows

    assert {row[2] for row in everywhere} >= {"ada"}
    assert titles
    assert {row[0] for row in titles} == {"titles"}
    assert shop("search", "parcel", "--app", "lab").rows == []
    assert len(shop("search", "parcel", "--app", "shop", "--limit", "1").rows) == 1


def test_json_has_the_marks_and_what_the_score_is_made_of(shop: Perdure) -> None:
    documents = json.loads(shop("search", "parcel", "--app", "shop", "--json").out)
    lines = shop("search", "parcel", "--app", "shop", "--jsonl").out.splitlines()

    assert len(lines) == len(documents) > 0
    for document in documents:
        low, high = document["marks"][0]
        assert document["snippet"][low:high].lower().startswith("parcel")
        assert document["score"] == sum(document["parts"].values())


def test_a_terminal_gets_a_table_or_is_told_that_there_is_nothing(shop: Perdure) -> None:
    assert shop("search", "zebra", "--app", "shop").out == ""
    assert shop("search", "x", "--app", "shop", "--kind", "none").code == 5
    assert shop("search", "x").code == 2


def test_what_people_were_asked_and_what_is_scheduled_is_found(url: str, perdure: Perdure) -> None:
    with library.open_sync(url) as store:
        key = store.sessions.create("shop", "ada", "order-7").key
        approval = store.approvals.request("refund", {"why": "zebra\x1b[31m"}, session=key)
        asked = store.clarifications.ask(key, "Which zebra?")
        task = store.cron.create("zebras", "0 3 * * *", app="shop")

    mine = perdure("search", "zebra", "--app", "shop", "--user", "ada").rows
    every = json.loads(perdure("search", "zebra", "--app", "shop", "--json").out)
    tasks = perdure("search", "zebra", "--app", "shop", "--kind", "tasks").rows

    assert sorted(row[:5] for row in mine) == [
        ["approvals", "shop", "ada", "order-7", approval.id],
        ["clarifications", "shop", "ada", "order-7", asked.id],
    ]
    assert "\x1b" not in str(mine)
    assert {hit["key"] for hit in every} == {approval.id, asked.id, task.id}
    assert [row[:5] for row in tasks] == [["tasks", "shop", "", "", task.id]]
