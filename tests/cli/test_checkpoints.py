"""The steps of graphs at a prompt: `perdure checkpoints`."""

from __future__ import annotations

import json
import sys

import msgspec
import pytest

import perdure as library
from perdure import NewWrite, Opaque
from tests.cli.command import Perdure, on_terminal


@pytest.fixture
def graph(shop: Perdure, filled: str) -> Perdure:
    """A line of three with a fork behind the first, and one in a namespace."""
    with library.open_sync(filled) as store:
        put = store.checkpoints.put
        put("thread", {"n": 0}, id="c0", values={"m": ["a"], "raw": Opaque("x", b"\0")})
        put(
            "thread", {"n": 1}, id="c1", parent="c0", versions={"m": 2}, values={"m": ["a", "b"]},
            metadata={"source": "loop", "step": 1},
        )  # fmt: skip
        put("thread", {"n": 2}, id="c2", parent="c1", versions={"m": 2})
        put("thread", {"n": 9}, id="fork", parent="c0")
        put("thread", id="sub", namespace="node")
        store.checkpoints.put_writes("thread", "c2", "task", [NewWrite("m", "w")])
        put("other", id="x")
    return shop


def test_lineages_and_their_checkpoints_are_listed(graph: Perdure) -> None:
    assert [row[:2] for row in graph("checkpoints", "ls").rows] == [["other", "1"], ["thread", "5"]]
    rows = graph("checkpoints", "ls", "thread").rows
    assert [row[:5] for row in rows] == [
        ["fork", "4", "", "update", "0"], ["c2", "3", "", "update", "0"],
        ["c1", "2", "", "loop", "1"], ["c0", "1", "", "update", "0"],
        ["sub", "1", "node", "update", "0"],
    ]  # fmt: skip
    assert len(graph("checkpoints", "ls", "thread", "-n", "2").rows) == 2


def test_a_list_of_checkpoints_that_is_cut_says_so(graph: Perdure) -> None:
    for of, count in ((["thread"], 5), ([], 2)):
        cut = graph("checkpoints", "ls", *of, "-n", "1")
        whole = graph("checkpoints", "ls", *of, "--limit", "0")

        assert (len(cut.rows), "the first 1; --limit 0 gives all" in cut.err) == (1, True)
        assert (len(whole.rows), "the first" in whole.err) == (count, False)
    assert '"other"' in graph("checkpoints", "ls", "--json").out


def test_the_tree_shows_where_a_line_divides(graph: Perdure) -> None:
    out = graph("checkpoints", "tree", "thread").out

    assert out.splitlines() == [
        "c0  update 0", "├─ c1  loop 1", "│  c2  update 0  head", "└─ fork  update 0  head",
        "sub [node]  update 0  head",
    ]  # fmt: skip


def test_branches_of_branches_hang_on_strokes_of_their_own(url: str, perdure: Perdure) -> None:
    with library.open_sync(url) as store:
        store.checkpoints.put("t", id="a")
        for pair in ("ba", "cb", "da", "ed", "fe", "ge", "hd"):
            store.checkpoints.put("t", id=pair[0], parent=pair[1])
    drawn = [line.replace("  update 0", "") for line in tree(perdure)]
    perdure("checkpoints", "prune", "t", "--keep-last", "4", "--yes")
    pruned = [line.replace("  update 0", "") for line in tree(perdure)]

    assert drawn == [
        "a", "├─ b", "│  c  head", "└─ d", "   ├─ e", "   │  ├─ f  head", "   │  └─ g  head",
        "   └─ h  head",
    ]  # fmt: skip
    assert pruned == ["e", "├─ f  head", "└─ g  head", "h  head"]


def tree(perdure: Perdure) -> list[str]:
    return perdure("checkpoints", "tree", "t").out.splitlines()


@pytest.mark.parametrize(
    "arguments", [["ls"], ["tree"], ["show"], ["prune", "--keep-last", "1", "--yes"]]
)
def test_a_lineage_that_is_not_there_is_said_so(graph: Perdure, arguments: list[str]) -> None:
    verb, *more = arguments
    refused = graph("checkpoints", verb, "nothing", *more)

    assert (refused.code, refused.out) == (3, "")
    assert "nothing" in refused.err


def test_one_is_shown_with_channels_and_writes(graph: Perdure) -> None:
    latest = json.loads(graph("checkpoints", "show", "thread", "c2", "--json").out)
    some = graph("checkpoints", "show", "thread", "c0", "--channels", "m").out

    assert (latest["payload"], latest["values"]) == ({"n": 2}, {"m": ["a", "b"]})
    assert latest["writes"][0]["value"] == "w"
    assert 'payload: {"n": 0}' in some
    assert '["a"]' in some
    assert "base64" not in some
    assert graph("checkpoints", "show", "thread", "sub", "--namespace", "node").code == 0
    assert graph("checkpoints", "show", "thread", "nope").code == 3


def test_a_diff_tells_which_channels_changed(graph: Perdure) -> None:
    out = graph("checkpoints", "diff", "thread", "c0", "c1").out

    assert "channel m" in out
    assert '+  "b"' in out
    assert "channel raw" in out
    assert "payload" in out
    same = graph("checkpoints", "diff", "thread", "c1", "c1")
    assert (same.code, same.out) == (0, "")


def test_a_prune_asks_and_can_be_tried(graph: Perdure) -> None:
    dry = graph("checkpoints", "prune", "thread", "--keep-last", "2", "--dry-run")
    assert "2 checkpoints" in dry.err
    assert len(graph("checkpoints", "ls", "thread").rows) == 5
    done = json.loads(
        graph("checkpoints", "prune", "thread", "--keep-last", "2", "--yes", "--json").out
    )

    assert done["checkpoints"] == 2
    assert [row[0] for row in graph("checkpoints", "ls", "thread").rows] == ["fork", "c2", "sub"]
    assert graph("checkpoints", "prune", "thread").code == 2


def spelled(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


@pytest.fixture
def framework(url: str, perdure: Perdure) -> Perdure:
    """What LangGraph's serializer writes: an object is an extension that names its class."""
    said = spelled(["langchain_core.messages.human", "HumanMessage", {"content": "Hi \x9b \u202e"}])
    when = spelled(["datetime", "datetime", "2026-03-02T09:14:03+00:00", "fromisoformat"])
    values = {
        "messages": [msgspec.msgpack.Ext(5, said)],
        "state": {"at": msgspec.msgpack.Ext(3, when), "raw": b"\0", 7: None},
    }
    with library.open_sync(url) as store:
        packed = {name: Opaque("msgpack", spelled(value)) for name, value in values.items()}
        put = store.checkpoints.put
        put("t", Opaque("msgpack", spelled([{"v": 4}])), id="a", values=packed)
        others = {
            "none": Opaque("null", b""),
            "secret": Opaque("msgpack+aes", b"\1"),
            "cut": BROKEN,
        }
        put("t", id="b", parent="a", values=others)
    return perdure


BROKEN = Opaque("msgpack", b"\x93\x01")
SAID = "langchain_core.messages.human.HumanMessage"


def test_what_a_framework_has_packed_is_shown_as_data(framework: Perdure) -> None:
    out = framework("checkpoints", "show", "t", "a").out

    assert 'payload: [{"v": 4}]' in out
    assert f'[{{"{SAID}": {{"content": "Hi \\x9b \\u202e"}}}}]' in out
    at = '{"datetime.datetime": "2026-03-02T09:14:03+00:00"}'
    assert f'{{"at": {at}, "raw": {{"base64": "AA=="}}, "7": null}}' in out


def test_what_nobody_here_can_read_is_shown_by_its_codec(framework: Perdure) -> None:
    lines = framework("checkpoints", "show", "t", "b").out.splitlines()

    told = [line.split(": ", 1)[1] for line in lines if line.startswith("channel")]
    assert told == [
        "null",
        '{"codec": "msgpack+aes", "base64": "AQ=="}',
        '{"codec": "msgpack", "base64": "kwE="}',
    ]


def test_programs_get_the_bytes_and_what_they_spell(framework: Perdure) -> None:
    found = json.loads(framework("checkpoints", "show", "t", "a", "--json").out)["values"]
    changed = json.loads(framework("checkpoints", "diff", "t", "a", "b", "--json").out)

    assert list(found["messages"]) == ["codec", "base64", "value"]
    assert found["messages"]["value"][0][SAID]["content"] == "Hi \x9b \u202e"
    assert [one["after"]["value"] for one in changed if one.get("channel") == "none"] == [
        {"codec": "null", "base64": "", "value": None}
    ]
    assert f'+   "{SAID}": {{' in framework("checkpoints", "diff", "t", "b", "a").out


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_on_a_terminal_channels_are_laid_out_and_empty_ones_named(
    framework: Perdure, url: str
) -> None:
    del framework
    with library.open_sync(url) as store:
        versions: dict[str, int | str] = {"__start__": 2, "answer": 3}
        store.checkpoints.put("x", {"n": 1}, id="c", versions=versions, values={"answer": "yes"})
    out = on_terminal(url, "checkpoints", "show", "x", more={"NO_COLOR": "1"}).out

    assert out.splitlines()[-3:] == [
        'channels: {"answer": "yes"}', 'not shown, or empty: ["__start__"]', 'payload: {"n": 1}',
    ]  # fmt: skip


def test_who_looks_for_a_thread_among_sessions_is_told_where_it_is(
    framework: Perdure, filled: str
) -> None:
    del filled
    said = framework("ls", "--app", "nowhere")

    assert (said.code, said.out) == (0, "")
    assert "`perdure checkpoints ls`" in said.err
    assert framework("ls").err == ""
