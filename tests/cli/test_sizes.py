"""`perdure du`: how much is stored."""

from __future__ import annotations

import json

from tests.cli.command import Perdure, on_terminal


def test_a_pipe_gets_groups_rows_and_bytes(shop: Perdure) -> None:
    rows = shop("du").rows

    counted = {(app, table): int(number) for app, table, number, _ in rows}
    assert (counted["shop", "events"], counted["shop", "sessions"]) == (6, 2)
    sizes = [int(row[3]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    [[number, whole]] = shop("du", "--by", "").rows
    assert (int(number), int(whole)) == (sum(counted.values()), sum(sizes))


def test_json_has_the_growth_and_the_disk_as_well(shop: Perdure) -> None:
    told = json.loads(shop("du", "--by", "user", "--json").out)

    assert {one["user"] for one in told["sizes"]} == {"ada", "bob"}
    assert told["bytes"] == sum(one["bytes"] for one in told["sizes"])
    assert told["stored"] > told["bytes"]
    assert sum(one["rows"] for one in told["growth"]) > 6
    assert json.loads(shop("du", "--days", "0", "--json").out)["growth"] == []


def test_an_unknown_group_is_refused(shop: Perdure) -> None:
    assert shop("du", "--by", "day").code == 5


def test_a_terminal_gets_a_table_with_its_sum(filled: str) -> None:
    shown = on_terminal(filled, "du", more={"NO_COLOR": "1"}).out.splitlines()

    assert shown[0].split() == ["APP", "TABLE", "ROWS", "BYTES"]
    assert shown[-1].endswith("on the disk of the database")
