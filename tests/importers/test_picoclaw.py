"""What comes in of PicoClaw's directories: messages, truncation, summary, times."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure.importers import load_sync, read_picoclaw
from perdure.importers.picoclaw import LONGEST_LINE
from tests.importers.claw import (
    CALL,
    KEY,
    RESULT,
    Claw,
    Import,
    counts,
    everything,
    history,
    problems,
    said,
    summary,
)


def test_a_session_comes_in_with_its_raw_key_its_times_and_every_field(
    url: str, bring: Import, claw: Claw
) -> None:
    media = {"role": "user", "content": "Where is it?", "media": ["media://7"]}
    parts = {"role": "system", "content": "Be brief.", "system_parts": [{"type": "text"}]}
    messages = [parts, media, CALL, RESULT, *said("Thanks")]
    claw.describe(scope={"channel": "telegram"}, aliases=["tg_42"]).add(*messages)

    report = bring()

    assert counts(report) == (1, 0, 5, 0)
    assert report.complete
    assert problems(report) == []
    assert history(url) == everything(url) == messages
    with perdure.open_sync(url) as store:
        session = store.sessions.get(KEY)
    assert session.created_at == datetime(2026, 3, 11, 2, 0, 0, 123456, tzinfo=UTC)
    assert session.title == "Where is it?"
    noted: Any = session.metadata["picoclaw"]
    assert noted["updated_at"] == "2026-03-12T09:30:01+08:00"
    assert (noted["scope"], noted["aliases"]) == ({"channel": "telegram"}, ["tg_42"])


def test_the_time_of_a_message_becomes_that_of_its_event(
    url: str, bring: Import, claw: Claw
) -> None:
    [first, second, third] = said("a", "b", "c")
    when = "2026-03-11T11:00:00.000000001Z"
    nothing = "0001-01-01T00:00:00Z"
    claw.add(first, {**second, "created_at": when}, {**third, "created_at": nothing})

    assert bring().complete

    assert history(url) == [first, second, third]
    with perdure.open_sync(url) as store:
        times = [event.timestamp for event in store.events.read(KEY)]
        made = store.sessions.get(KEY).created_at
    eleven = datetime(2026, 3, 11, 11, 0, tzinfo=UTC)
    assert times == [made, eleven, eleven]


def test_what_is_truncated_is_hidden_from_the_history_and_still_listed(
    url: str, bring: Import, claw: Claw
) -> None:
    messages = said("1", "2", "3", "4", "5", "6")
    claw.add(*messages).truncate(2, summary="They counted.")

    bring()

    assert history(url) == messages[4:]
    assert everything(url) == messages
    assert summary(url) == "They counted."
    with perdure.open_sync(url) as store:
        assert [event.content for event in store.events.context(KEY).events] == messages[4:]


@pytest.mark.parametrize("keep", [0, -1, 6, 9])
def test_a_truncation_of_all_or_of_nothing_shows_what_it_showed_there(
    url: str, bring: Import, claw: Claw, keep: int
) -> None:
    messages = said("1", "2", "3", "4", "5", "6")
    claw.add(*messages).truncate(keep)

    bring()

    assert history(url) == (messages if keep > 0 else [])


def test_damaged_lines_count_as_truncated_lines_as_they_do_there(
    url: str, bring: Import, claw: Claw
) -> None:
    messages = said("1", "2", "3", "4")
    claw.add(messages[0], "{damaged}\n", "\n", *messages[1:]).describe(skip=3)

    report = bring()

    assert problems(report)[0].startswith("telegram_42.jsonl:2: not JSON")
    assert history(url) == messages[2:]
    assert everything(url) == messages


def test_a_torn_last_line_is_named_and_the_rest_comes_in(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("a", "b"), '{"role": "user", "cont')

    report = bring()

    [problem] = problems(report)
    assert problem.startswith("telegram_42.jsonl:3: the last line is torn: not JSON")
    assert everything(url) == said("a", "b")
    assert not report.complete


def test_a_last_line_that_lacks_only_its_end_is_a_message(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("a"), json.dumps(said("b")[0]))

    assert bring().complete
    assert len(everything(url)) == 2


@pytest.mark.parametrize("line", ["7", "[]", "{}", '{"role": "human", "content": ""}', "  "])
def test_a_line_that_is_no_message_is_named_and_the_rest_comes_in(
    url: str, bring: Import, claw: Claw, line: str
) -> None:
    claw.add(*said("a"), line + "\n", *said("b"))

    report = bring()

    assert [one.line for one in report.skipped] == [2]
    assert everything(url) == [*said("a"), *said("b")]


def test_a_line_of_more_than_ten_mebibytes_is_named_and_the_rest_comes_in(
    url: str, bring: Import, claw: Claw
) -> None:
    frame = len('{"role": "user", "content": ""}')
    [most, more] = said("x" * (LONGEST_LINE - frame), "")
    more = {"role": "user", "content": "y" * (LONGEST_LINE - frame + 1)}
    claw.add(*said("a"), more, most, *said("b")).describe(skip=2)

    report = bring()

    assert problems(report) == ["telegram_42.jsonl:2: the line is longer than 10,485,760 bytes"]
    assert everything(url) == [*said("a"), most, *said("b")]
    assert history(url) == [most, *said("b")]


def test_a_truncation_between_a_call_and_its_result_shows_both_and_says_so(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("a"), CALL, RESULT, *said("b")).truncate(2)

    report = bring()

    assert report.complete
    assert problems(report) == [
        (
            "telegram_42.jsonl: conversation 'telegram:42': truncated between a tool call and its "
            "result: both are shown"
        )
    ]
    assert history(url) == [CALL, RESULT, *said("b")]


def test_messages_that_repeat_each_other_stay_distinct(url: str, bring: Import, claw: Claw) -> None:
    same = said("ok")[0]
    claw.add(same, same, same)

    assert counts(bring()) == (1, 0, 3, 0)
    assert counts(bring()) == (0, 1, 0, 3)
    assert everything(url) == [same, same, same]


def test_a_session_of_a_summary_alone_comes_in(url: str, bring: Import, claw: Claw) -> None:
    claw.describe(summary="Nothing was said.")

    assert counts(bring()) == (1, 0, 0, 0)
    assert counts(bring()) == (0, 1, 0, 0)
    assert summary(url) == "Nothing was said."


def test_no_directory_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_picoclaw(tmp_path / "none")


def test_the_folder_above_is_told_from_that_of_the_sessions(
    url: str, bring: Import, claw: Claw, folder: Path
) -> None:
    claw.add(*said("a"))

    [remark] = read_picoclaw(folder.parent)

    assert str(remark).endswith(f"no sessions of PicoClaw here: did you mean {folder}?")
    del url, bring


def test_it_comes_into_memory_too(claw: Claw, folder: Path) -> None:
    messages = said("1", "2", "3", "4")
    claw.add(*messages).truncate(1, summary="They counted.")
    with perdure.open_sync("memory:") as store:
        load_sync(store, read_picoclaw(folder))
        again = load_sync(store, read_picoclaw(folder))
        view = store.history()
        assert counts(again) == (0, 1, 0, 4)
        assert view.get_history(KEY.id) == messages[3:]
        assert view.get_summary(KEY.id) == "They counted."
