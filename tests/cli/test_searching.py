"""``perdure search``."""

from __future__ import annotations

import json

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
