"""``perdure memory``: what is remembered of a user, from the command line."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

import perdure as library
from tests.cli.command import Perdure, on_terminal

WHOSE = ("shop", "ada")


@pytest.fixture
def known(url: str, perdure: Perdure) -> Perdure:
    """A store in which three things are known of a user, and one was."""
    with library.open_sync(url) as store:
        tea = store.memory.add(*WHOSE, "Likes green tea.", ["drink", "taste"])
        store.memory.add(*WHOSE, "Lives in Paris.", ["home"], pinned=True)
        bonn = store.memory.add(*WHOSE, "Lives in Bonn.", ["home"])
        paris = store.memory.add(*WHOSE, "Lives in Lyon.", ["home"])
        store.memory.supersede(*WHOSE, bonn.id, paris.id)
        store.memory.update(*WHOSE, tea.id, content="Likes black tea.")
        store.memory.add("shop", "", "Closed on Sundays.")
    return perdure


def id_of(perdure: Perdure, content: str) -> str:
    rows = perdure("memory", "ls", *WHOSE, "--all").rows
    [found] = [row[0] for row in rows if row[2] == content]
    return found


def contents(perdure: Perdure, *arguments: str) -> list[str]:
    return [row[2] for row in perdure("memory", "ls", *WHOSE, *arguments).rows]


def test_a_list_has_what_holds_the_last_changed_first(known: Perdure) -> None:
    rows = known("memory", "ls", *WHOSE).rows

    assert [row[2] for row in rows] == ["Likes black tea.", "Lives in Lyon.", "Lives in Paris."]
    assert [row[3] for row in rows] == ["drink,taste", "home", "home"]
    assert rows[0][0].startswith("mem_")
    assert [row[2] for row in known("memory", "ls", "shop", "").rows] == ["Closed on Sundays."]


def test_a_list_can_be_narrowed_or_be_of_another_time(known: Perdure) -> None:
    assert contents(known, "--topic", "drink") == ["Likes black tea."]
    assert contents(known, "--session", "s") == []
    assert len(contents(known, "--all")) == 4
    assert contents(known, "--as-of", "2000-01-01T00:00:00Z") == [
        "Likes black tea.", "Lives in Bonn.", "Lives in Paris.",
    ]  # fmt: skip
    limited = known("memory", "ls", *WHOSE, "--limit", "1")
    assert (len(limited.rows), limited.err) == (1, "the first 1; --limit 0 gives all\n")
    assert known("memory", "ls", *WHOSE, "--all", "--as-of", "1h").code == 2


def test_a_search_gives_the_best_first_with_its_score(known: Perdure) -> None:
    result = known("memory", "search", *WHOSE, "living", "lyon")

    assert [row[2] for row in result.rows] == ["Lives in Lyon.", "Lives in Paris."]
    assert float(result.rows[0][-1]) > float(result.rows[1][-1]) > 0
    [hit] = json.loads(known("memory", "search", *WHOSE, "tea", "--json").out)
    assert (hit["content"], hit["score"] > 0) == ("Likes black tea.", True)


def test_one_memory_is_shown_by_a_part_of_its_id(known: Perdure) -> None:
    whole = id_of(known, "Lives in Bonn.")

    for given in (whole, whole[-12:]):
        shown = json.loads(known("memory", "show", *WHOSE, given, "--json").out)
        assert (shown["id"], shown["content"]) == (whole, "Lives in Bonn.")
        assert shown["superseded_by"] == id_of(known, "Lives in Lyon.")
    text = known("memory", "show", *WHOSE, whole).out
    assert "content       Lives in Bonn.\n" in text
    assert known("memory", "show", *WHOSE, "mem_").code == 2
    assert known("memory", "show", *WHOSE, "nothing").code == 3
    assert known("memory", "show", "shop", "bob", whole).code == 3


def test_the_history_has_every_version(known: Perdure) -> None:
    tea = id_of(known, "Likes black tea.")

    rows = known("memory", "history", *WHOSE, tea).rows
    documents = json.loads(known("memory", "history", *WHOSE, tea, "--json").out)

    assert [(row[0], row[2]) for row in rows] == [
        ("1", "Likes green tea."), ("2", "Likes black tea."),
    ]  # fmt: skip
    assert [document["version"] for document in documents] == [1, 2]


def test_a_memory_is_added_once_and_edited(known: Perdure) -> None:
    first = known("memory", "add", *WHOSE, "Has a dog.", "--topic", "pets")
    again = known("memory", "add", *WHOSE, "Has a dog.", "--topic", "animals", "--pin")
    whole = first.out.strip()
    edited = known(
        "memory", "edit", *WHOSE, whole, "--content", "Has a cat.", "--topic", "cats", "--no-pin",
        "--json",
    )  # fmt: skip

    assert (first.code, again.out) == (0, first.out)
    document = json.loads(edited.out)
    assert (document["id"], document["content"], document["topics"], document["pinned"]) == (
        whole, "Has a cat.", ["cats"], False,
    )  # fmt: skip
    assert known("memory", "edit", *WHOSE, whole).code == 2
    assert known("memory", "edit", *WHOSE, whole, "--content", "Lives in Lyon.").code == 4


def test_removing_needs_a_yes_where_nobody_can_be_asked(known: Perdure) -> None:
    tea = id_of(known, "Likes black tea.")

    for arguments in (("rm", *WHOSE, tea), ("clear", *WHOSE)):
        result = known("memory", *arguments)
        assert result.code == 2
        assert "say --yes" in result.err
    assert known("memory", "rm", *WHOSE, tea, "--dry-run").err == (
        f"{tea} would be removed: Likes black tea.\n"
    )
    assert known("memory", "clear", *WHOSE, "--dry-run").err == "4 memories would be removed\n"
    assert len(contents(known, "--all")) == 4


def test_memories_are_removed(known: Perdure) -> None:
    tea = id_of(known, "Likes black tea.")

    removed = known("memory", "rm", *WHOSE, tea, tea, "--yes", "--json")
    cleared = known("memory", "clear", *WHOSE, "--yes", "--json")

    assert [document["id"] for document in json.loads(removed.out)] == [tea]
    assert json.loads(cleared.out) == {"app": "shop", "user": "ada", "memories": 3}
    assert contents(known, "--all") == []
    assert len(known("memory", "ls", "shop", "").rows) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_a_terminal_gets_a_table_and_is_asked(known: Perdure, url: str) -> None:
    table = on_terminal(url, "memory", "ls", *WHOSE, columns=100).out
    kept = on_terminal(url, "memory", "clear", *WHOSE, typed="n\n")

    assert "CONTENT" in table
    assert "Lives in Lyon." in table
    assert "4 memories of user 'ada'" in kept.out
    assert kept.code == 1
    assert len(contents(known, "--all")) == 4


def test_hostile_text_is_only_shown(perdure: Perdure, url: str) -> None:
    with library.open_sync(url) as store:
        store.memory.add(*WHOSE, "\x1b[31mred\x07", ["\x1b]0;t\x07"])

    for arguments in (("ls", *WHOSE), ("ls", *WHOSE, "--json"), ("search", *WHOSE, "31mred")):
        out = perdure("memory", *arguments).out
        assert "\x1b" not in out
        assert "red" in out


def test_a_time_may_be_an_age(perdure: Perdure, url: str) -> None:
    now = datetime.now(UTC)
    with library.open_sync(url) as store:
        store.memory.add(*WHOSE, "old", valid_until=now - timedelta(hours=1))
        store.memory.add(*WHOSE, "new", valid_from=now - timedelta(hours=1))

    assert contents(perdure) == ["new"]
    assert contents(perdure, "--as-of", "2h") == ["old"]
