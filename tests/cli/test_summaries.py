"""``perdure summaries``: listing, showing, writing, making and removing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import perdure as library
from perdure import SessionKey
from tests.cli.command import Perdure, on_terminal

LATE = SessionKey("shop", "ada", "late-parcel")
MODULE = """
def joined(so_far, events):
    return f"{so_far or ''}<{len(events)}>", ["parcel"]

def fails(so_far, events):
    raise RuntimeError("no answer")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder, with summarisers."""
    name = f"told_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


def test_a_summary_is_written_shown_listed_and_removed(shop: Perdure) -> None:
    written = shop("summaries", "set", "late-p", "Ada waits.\nStill.", "--covers", "4")
    shop("summaries", "set", "late-p", "Of sales.", "--filter", "sales", "--topic", "money")

    assert written.err == "version 1, covers events up to 4\n"
    assert shop("summaries", "show", "late-p").out == "Ada waits.\nStill.\n"
    assert shop("summaries", "show", "late-p", "--filter", "sales").out == "Of sales.\n"
    rows = shop("summaries", "ls", "late-p").rows
    assert [row[:3] + row[4:] for row in rows] == [
        ["", "4", "1", "", "Ada waits.\\nStill."],
        ["sales", "0", "1", "money", "Of sales."],
    ]
    [_, document] = json.loads(shop("summaries", "ls", "late-p", "--json").out)
    assert (document["id"], document["filter_key"]) == ("late-parcel", "sales")
    assert (document["topics"], document["text"]) == (["money"], "Of sales.")

    assert shop("summaries", "rm", "late-p", "--dry-run").err == "late-parcel: would be removed\n"
    assert shop("summaries", "rm", "late-p").code == 2
    assert shop("summaries", "rm", "late-p", "--yes").err == "late-parcel: removed\n"
    assert shop("summaries", "rm", "late-p", "--yes").code == 3
    assert shop("summaries", "show", "late-p").code == 3


def test_a_text_may_come_from_standard_input(
    shop: Perdure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "read", lambda: "From a file.")

    made = json.loads(shop("summaries", "set", "late-p", "-", "--json").out)

    assert (made["text"], made["covers_seq"]) == ("From a file.", 0)


def test_a_session_is_summarised_by_a_function_of_yours(shop: Perdure, module: str) -> None:
    place = f"--summariser={module}:joined"
    assert shop("summaries", "run", "late-p", place).out == "<5>\n"
    again = shop("summaries", "run", "late-p", place)
    assert (again.out, again.err) == ("", "nothing to summarise\n")

    assert shop("summaries", "run", "late-p", place, "--force").out == "<5><0>\n"


def test_the_queue_is_shown_and_done(shop: Perdure, url: str, module: str) -> None:
    with library.open_sync(url) as store:
        store.summaries.enqueue_summary(LATE)
    assert [row[:6] for row in shop("summaries", "ls", "--jobs").rows] == [
        ["late-parcel", "shop", "ada", "", "queued", "0"]
    ]

    failed = shop("summaries", "run", f"--summariser={module}:fails")
    assert (failed.code, failed.out) == (1, "0 done, 1 failed\n")
    [job] = json.loads(shop("summaries", "ls", "late-p", "--jobs", "--json").out)
    assert (job["attempts"], job["error"]) == (1, "RuntimeError: no answer")

    with library.open_sync(url) as store:
        store.summaries.enqueue_summary(LATE)
    done = shop("summaries", "run", f"--summariser={module}:joined", "--json")
    assert json.loads(done.out) == {"done": 1, "failed": 0}
    assert shop("summaries", "ls", "--jobs").out == ""


@pytest.mark.parametrize("place", ["nowhere:f", "json:nothing", "json", ":f", "json:"])
def test_a_place_without_a_function_is_refused(shop: Perdure, place: str) -> None:
    result = shop("summaries", "run", "late-p", "--summariser", place)

    assert result.code == 5
    assert place in result.err


def test_a_list_needs_a_session_or_the_queue(shop: Perdure) -> None:
    assert shop("summaries", "ls").code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of this kind")
def test_a_terminal_gets_tables(filled: str) -> None:
    assert "no summaries" in on_terminal(filled, "summaries", "ls", "late-p").out
    assert "nothing is to be" in on_terminal(filled, "summaries", "ls", "--jobs").out
    with library.open_sync(filled) as store:
        store.summaries.set(LATE, "Ada waits.", covers_seq=4)
        store.summaries.enqueue_summary(LATE, "sales")

    listed = on_terminal(filled, "summaries", "ls", "late-p").out
    assert "COVERS" in listed
    assert "Ada waits." in listed
    assert "queued" in on_terminal(filled, "summaries", "ls", "--jobs").out
