"""``perdure status``, ``sweep``, ``migrate``, ``export``, ``erase``."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

import perdure as library
from perdure import ALL
from tests.cli.command import Perdure

if TYPE_CHECKING:
    import pytest


def test_status_tells_where_and_how_much(shop: Perdure, url: str) -> None:
    shop("sessions", "rm", "empty", "--yes")

    told = dict(line.split(maxsplit=1) for line in shop("status").out.splitlines())
    document = json.loads(shop("status", "--json").out)

    assert told["url"] == url
    assert told["schema"] == "up to date"
    assert (told["sessions"], told["deleted"], told["events"]) == ("2", "1", "6")
    assert (document["sessions"], document["deleted"], document["events"]) == (2, 1, 6)
    assert document["bytes"] > 0


def test_status_of_a_store_that_is_behind_says_so_and_changes_nothing(
    perdure: Perdure, url: str
) -> None:
    apsw.Connection(url.removeprefix("sqlite:///")).close()
    Path(url.removeprefix("sqlite:///")).touch()

    result = perdure("status")

    assert result.code == 0
    assert "behind, lacks spine" in result.out
    assert perdure("migrate", "--check").code == 8


def test_migrate_makes_the_schema_and_says_so_once(perdure: Perdure, url: str) -> None:
    Path(url.removeprefix("sqlite:///")).touch()

    missing = perdure("migrate", "--check")
    applied = perdure("migrate")
    again = perdure("migrate")
    checked = perdure("migrate", "--check")

    assert (missing.code, missing.out.splitlines()[0]) == (8, "missing spine")
    assert (applied.code, applied.out.splitlines()[0]) == (0, "applied spine")
    assert (again.code, again.out, again.err) == (0, "", "the schema is up to date\n")
    assert checked.code == 0
    assert json.loads(perdure("migrate", "--check", "--json").out) == {"missing": []}


def test_migrate_works_where_opening_must_not(
    perdure: Perdure, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(url.removeprefix("sqlite:///")).touch()
    monkeypatch.setenv("PERDURE_AUTO_MIGRATE", "off")

    refused = perdure("ls")
    applied = perdure("migrate")

    assert refused.code == 1
    assert "run `perdure migrate`" in refused.err
    assert applied.code == 0
    assert perdure("ls").code == 0


def test_the_printed_sql_makes_a_store_that_needs_nothing_more(perdure: Perdure, url: str) -> None:
    script = perdure("migrate", "--print")
    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    connection.execute(script.out)
    connection.close()

    assert perdure("migrate", "--check").code == 0
    assert perdure("migrate", "--print").out == ""
    with library.open_sync(url, auto_migrate=False) as store:
        store.sessions.create("app", "user", "one")


def test_printing_makes_no_file(perdure: Perdure, tmp_path: Path) -> None:
    assert perdure("migrate", "--print").out.startswith("BEGIN;\n")
    assert list(tmp_path.iterdir()) == []


def test_checking_and_printing_are_two_things(perdure: Perdure) -> None:
    assert perdure("migrate", "--check", "--print").code == 2


def test_sweeping_purges_what_has_had_its_time(perdure: Perdure, url: str) -> None:
    with library.open_sync(url, clock=lambda: datetime(2020, 1, 1, tzinfo=UTC)) as store:
        store.sessions.create("app", "user", "short", ttl=timedelta(days=1))
        gone = store.sessions.create("app", "user", "gone")
        store.sessions.delete(gone.key)

    tried = perdure("sweep", "--dry-run")
    done = perdure("sweep")

    assert tried.out == "would purge 1 expired and 1 deleted sessions\n"
    assert done.out == "purged 1 expired and 1 deleted sessions\n"
    assert json.loads(perdure("sweep", "--json").out) == {"expired": 0, "deleted": 0}
    with library.open_sync(url) as store:
        assert store.sessions.count(ALL, include_deleted=True) == 0


def test_an_export_is_everything_of_one_person(shop: Perdure, url: str) -> None:
    result = shop("export", "shop", "ada")

    lines = [json.loads(line) for line in result.out.splitlines()]
    with library.open_sync(url) as store:
        assert lines == [json.loads(line) for line in store.export_user("shop", "ada")]
    assert result.err == f"{len(lines)} rows of user 'ada' in app 'shop'\n"
    assert shop("export", "shop", "nobody").out == ""


def test_an_erasure_prints_its_receipt(shop: Perdure) -> None:
    result = shop("erase", "shop", "ada", "--yes")

    assert result.code == 0
    assert result.out.startswith("erased user 'ada' in app 'shop' at ")
    assert "5 events" in " ".join(result.out.split())
    assert [row[0] for row in shop("ls", "--order", "id").rows] == ["empty", "late-again"]
    receipt = json.loads(shop("erase", "shop", "ada", "--yes", "--json").out)
    assert set(receipt["removed"].values()) == {0}
