"""``perdure kv``: listed, shown, set and removed, whatever the names are."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from io import StringIO

import pytest

import perdure as library
from tests.cli.command import Perdure, on_terminal


@pytest.fixture
def kv(url: str, perdure: Perdure) -> Perdure:
    """The command on a store with some key-values of an app, and one of a user."""
    with library.open_sync(url) as store:
        store.kv.set("cooldown", "ada", {"until": 5}, ttl=timedelta(days=900))
        store.kv.set("cooldown", "bob", "wait\t\x1b[31m")
        store.kv.set(("users", "ada"), "city", "Ely")
        store.kv.set(("users", "ada", "raw"), "photo", b"\xff")
        store.kv.set('["a"]', "k", 1)
        store.kv.set("notes", "hers", 1, app="shop", user="ada")
    return lambda *arguments: perdure("kv", *arguments)


def test_a_list_in_a_pipe_has_every_field(kv: Perdure) -> None:
    rows = kv("ls").rows

    assert [row[:3] for row in rows] == [
        ['"[\\"a\\"]"', "k", "1"],
        ["cooldown", "ada", '{"until": 5}'],
        ["cooldown", "bob", '"wait\\t\\u001b[31m"'],
        ['["users", "ada"]', "city", '"Ely"'],
        ['["users", "ada", "raw"]', "photo", '{"base64": "/w=="}'],
    ]
    assert [bool(row[5]) for row in rows] == [False, True, False, False, False]


def test_a_list_is_narrowed_down(kv: Perdure) -> None:
    assert [row[1] for row in kv("ls", '["users", "ada"]').rows] == ["city", "photo"]
    assert [row[1] for row in kv("ls", "cooldown", "--prefix", "b").rows] == ["bob"]
    assert [row[1] for row in kv("ls", "--app", "shop", "--user", "ada").rows] == ["hers"]
    assert [row[1] for row in kv("ls", "--order", "-created_at", "--limit", "1").rows] == ["k"]
    assert "--limit 0 gives all" in kv("ls", "--limit", "2").err
    assert kv("ls", "nothing").out == ""


def test_what_is_printed_as_a_namespace_can_be_typed(kv: Perdure) -> None:
    names = kv("namespaces").out.splitlines()

    assert len(names) == 4
    for name in names:
        assert kv("ls", name).rows[0][0] == name
    assert kv("namespaces", '["users"]', "--depth", "2").out == '["users", "ada"]\n'
    assert json.loads(kv("namespaces", '["users"]', "--json").out) == [
        ["users", "ada"],
        ["users", "ada", "raw"],
    ]


def test_a_value_is_printed_as_json_and_with_json_as_a_record(kv: Perdure) -> None:
    record = json.loads(kv("get", '["users", "ada"]', "city", "--json").out)

    assert kv("get", "cooldown", "ada").out == '{"until": 5}\n'
    assert record["value"] == "Ely"
    assert (record["namespace"], record["key"]) == (["users", "ada"], "city")
    assert record["expires_at"] is None
    assert kv("get", "cooldown", "nobody").code == 3


def test_a_value_is_set_as_json_as_text_or_from_standard_input(
    kv: Perdure, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kv("set", "new", "a", '{"n": 1}', "--ttl", "1.5h").err.startswith("a is set, until ")
    kv("set", "new", "b", "plain", "--text")
    monkeypatch.setattr(sys, "stdin", StringIO("[1]"))
    kv("set", "new", "c", "-")

    values = [record["value"] for record in json.loads(kv("ls", "new", "--json").out)]
    assert values == [{"n": 1}, "plain", [1]]
    assert kv("set", "new", "d", "plain").code == 5
    assert kv("set", "new", "d", "NaN").code == 5
    assert kv("set", "new", "d", "1", "--ttl", "0s").code == 5
    assert kv("set", "new", "d", "1", "--ttl", "soon").code == 2
    assert kv("set", "[1]", "d", "1").code == 2


def test_a_value_is_set_once_where_that_is_asked_for(kv: Perdure) -> None:
    assert kv("set", "claims", "job", "1", "--new").code == 0

    again = kv("set", "claims", "job", "2", "--new")

    assert again.code == 4
    assert "key 'job' in claims exists" in again.err
    assert kv("get", "claims", "job").out == "1\n"


def test_removing_needs_a_yes_and_a_dry_run_removes_nothing(kv: Perdure) -> None:
    assert kv("rm", "cooldown", "ada").code == 2
    assert kv("rm", "cooldown", "ada", "--dry-run").err == "ada would be removed\n"
    assert kv("get", "cooldown", "ada").code == 0
    assert kv("rm", "cooldown", "ada", "bob", "--yes").err == "ada removed\nbob removed\n"
    assert kv("ls", "cooldown").out == ""


def test_nothing_is_removed_if_one_of_the_keys_is_not_there(kv: Perdure) -> None:
    result = kv("rm", "cooldown", "ada", "nobody", "--yes")

    assert result.code == 3
    assert "'nobody'" in result.err
    assert kv("get", "cooldown", "ada").code == 0


def test_looking_at_key_values_makes_no_store(perdure: Perdure) -> None:
    assert perdure("kv", "ls").code == 3


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_there_is_a_table_and_a_question(kv: Perdure, url: str) -> None:
    shown = on_terminal(url, "kv", "ls", "cooldown")
    asked = on_terminal(url, "kv", "rm", "cooldown", "ada", typed="n\n")

    assert "NAMESPACE" in shown.out
    assert '"wait\\t\\u001b[31m"' in shown.out
    assert "in 2 years" in shown.out
    assert "Remove key 'ada' of cooldown for good?" in asked.out
    assert asked.code == 1
    assert kv("get", "cooldown", "ada").code == 0


def test_what_was_set_with_an_index_is_found(kv: Perdure) -> None:
    assert kv("set", "docs", "a", '{"title": "About tea"}', "--index", "title").code == 0
    assert kv("set", "docs", "b", '{"title": "About milk"}', "--index", "title").code == 0

    assert [row[:2] for row in kv("search", "tea").rows] == [["docs", "a"]]
    assert [row[1] for row in kv("search", "about", "docs", "--limit", "1").rows] in (["a"], ["b"])
    assert kv("search", "tea", "cooldown").out == ""
    [found] = json.loads(kv("search", "milk", "--json").out)
    assert found["key"] == "b"
    assert found["score"] > 0


@pytest.mark.parametrize("broken", ['["users"', '"users', "[1]"])
def test_what_begins_like_a_list_and_is_none_is_refused(kv: Perdure, broken: str) -> None:
    ran = kv("ls", broken)

    assert ran.code == 2
    assert "list of texts" in ran.err
