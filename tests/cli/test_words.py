"""Times, widths, tables and values as a person sees them."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from perdure import InvalidError
from perdure.cli import when
from perdure.cli.drawing import Row, cut, cut_spans, draw, wrap
from perdure.cli.outline import outline
from perdure.cli.tables import Column, table
from perdure.cli.terminal import Look, look_of

NOW = datetime(2024, 5, 20, 12, 0, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(minutes=59), "59 minutes ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=29), "29 days ago"),
        (timedelta(days=65), "2 months ago"),
        (timedelta(days=800), "2 years ago"),
        (timedelta(days=-2), "in 2 days"),
    ],
)
def test_a_time_is_said_by_its_distance(age: timedelta, words: str) -> None:
    assert when.ago(NOW - age, NOW) == words


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("15m", NOW - timedelta(minutes=15)),
        ("2h", NOW - timedelta(hours=2)),
        ("3D", NOW - timedelta(days=3)),
        ("1w", NOW - timedelta(weeks=1)),
        ("today", datetime(2024, 5, 20, tzinfo=PARIS)),
        ("yesterday", datetime(2024, 5, 19, tzinfo=PARIS)),
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=PARIS)),
        ("2024-05-01T10:00Z", datetime(2024, 5, 1, 10, tzinfo=UTC)),
    ],
)
def test_a_time_is_typed_as_people_say_it(typed: str, meant: datetime) -> None:
    assert when.since(typed, NOW, PARIS) == meant


@pytest.mark.parametrize("typed", ["", "soon", "2x", "-2h", "99999999h", "2024-13-01"])
def test_what_is_no_time_is_refused(typed: str) -> None:
    with pytest.raises(InvalidError, match="is no time"):
        when.since(typed, NOW, PARIS)


def test_a_time_further_back_than_time_goes_is_refused() -> None:
    with pytest.raises(InvalidError, match="is no time"):
        when.since("999999w", NOW, PARIS)


def test_times_at_the_ends_of_the_calendar_are_shown() -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)

    assert when.second(first, ZoneInfo("America/New_York")) == "00:00:00"
    assert when.iso(first) == "0001-01-01T00:00:00Z"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "look"),
    [
        (io.StringIO(), {}, Look()),
        (io.StringIO(), {"COLUMNS": "70"}, Look(width=70)),
        (io.StringIO(), {"FORCE_COLOR": "1"}, Look(True, True, 80)),
        (io.StringIO(), {"FORCE_COLOR": "0"}, Look()),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, Look()),
        (_Terminal(), {}, Look(True, True, 80)),
        (_Terminal(), {"COLUMNS": "132"}, Look(True, True, 132)),
        (_Terminal(), {"COLUMNS": "5"}, Look(True, True, 20)),
        (_Terminal(), {"COLUMNS": "wide"}, Look(True, True, 80)),
        (_Terminal(), {"NO_COLOR": "1"}, Look(True, False, 80)),
        (_Terminal(), {"NO_COLOR": ""}, Look(True, True, 80)),
        (_Terminal(), {"TERM": "dumb"}, Look(True, False, 80)),
    ],
)
def test_a_look_is_what_stream_and_environment_allow(
    stream: io.StringIO, environment: dict[str, str], look: Look
) -> None:
    assert look_of(stream, environment) == look


def lines(text: str, width: int, hang: int = 0) -> list[str]:
    return ["".join(words for words, _ in line) for line in wrap([(text, "")], width, hang)]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("", 10, [""]),
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 8, ["one two", "three"]),
        ("onetwothree", 4, ["onet", "woth", "ree"]),
        ("    indented text", 12, ["    indented", "text"]),
        ("      indented", 8, ["      in", "dented"]),
        ("日本語日本語", 5, ["日本", "語日", "本語"]),
        ("ab 日本", 6, ["ab", "日本"]),
    ],
)
def test_text_is_broken_between_words_where_there_are_any(
    text: str, width: int, expected: list[str]
) -> None:
    assert lines(text, width) == expected


def test_what_is_wrapped_keeps_its_styles() -> None:
    spans = [("one ", "bold"), ("two three", "dim")]

    assert list(wrap(spans, 7)) == [[("one ", "bold"), ("two", "dim")], [("three", "dim")]]


def test_an_endless_text_takes_no_endless_time_to_cut() -> None:
    assert cut("x" * 10_000_000, 10) == "x" * 9 + "…"
    assert cut("short", 10) == "short"
    assert cut("日本語", 5) == "日本…"
    assert cut("", 0) == ""
    assert cut_spans([("one ", "a"), ("two", "b"), ("three", "c")], 6) == [
        ("one ", "a"),
        ("t…", "b"),
    ]


def test_rows_share_a_margin_and_have_times_at_the_edge() -> None:
    rows = [
        Row([("user", "user")], "9", "user", right="12:00:00"),
        Row([("hello world", "")], bar="user"),
        Row([("→ x", "call")], "10", "tool", indent=2),
    ]

    assert list(draw(rows, Look(True, False, 24))) == [
        " 9 │ user       12:00:00",
        "   │ hello world",
        "10 │   → x",
    ]
    assert list(draw(rows, Look())) == [" 9   user  12:00:00", "     hello world", "10     → x"]


def test_a_table_gives_way_where_it_is_told_to() -> None:
    columns = [Column("ID"), Column("TITLE", yields=1), Column("N", right=True), Column("EMPTY")]
    rows = [["a", "a long title indeed", "1", ""], ["bb", "short", "100", ""]]

    assert list(table(columns, rows, Look(True, False, 40))) == [
        "ID  TITLE                  N",
        "a   a long title indeed    1",
        "bb  short                100",
    ]
    assert list(table(columns, rows, Look(True, False, 20))) == [
        "ID  TITLE          N",
        "a   a long tit…    1",
        "bb  short        100",
    ]


def shown(value: Any, width: int = 40) -> list[str]:
    return list(draw(outline(value, width), Look()))


def test_a_value_is_laid_out_as_wide_as_it_may_be() -> None:
    value = {"a": 1, "b": {"c": [1, 2]}, "d": [], "e": "text", "f": None, "g": "", "h": "7"}

    assert shown(value) == [
        "a: 1",
        'b: {"c": [1, 2]}',
        "d: []",
        "e: text",
        "f: null",
        'g: ""',
        'h: "7"',
    ]
    assert shown(value, 11)[1:5] == ["b:", "  c: [1, 2]", "d: []", "e: text"]


def test_lists_of_lists_and_texts_of_lines_can_be_read() -> None:
    value = [[{"name": "x" * 30, "text": "one\ntwo"}], "three"]

    assert shown(value) == [
        "- - name: " + "x" * 30,
        "    text:",
        "      one",
        "      two",
        "- three",
    ]


def test_a_deep_value_is_no_danger() -> None:
    value: Any = "bottom"
    for _ in range(200):
        value = {"down": value}

    assert "bottom" in "".join(shown(value))
