"""PicoClaw's directories: each rule of what comes in, and what happens the second time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import ALL, SessionKey
from perdure.importers import ImportReport, load_sync, read_picoclaw
from perdure.importers.picoclaw import LONGEST_LINE
from tests.importers.claw import Claw, contents_of, old, said
from tests.importers.importing import Load

KEY = SessionKey("app", "ada", "telegram:42")
OWNER = {"app": "app", "user": "ada"}
CALL = {
    "role": "assistant",
    "content": "",
    "reasoning_content": "It must be somewhere.",
    "tool_calls": [
        {"id": "t1", "type": "function", "function": {"name": "track", "arguments": "{}"}}
    ],
}
RESULT = {"role": "tool", "content": "York", "tool_call_id": "t1"}

Import = Callable[..., ImportReport]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
def claw(folder: Path) -> Claw:
    return Claw(folder, KEY.id)


@pytest.fixture
def bring(url: str, load: Load, folder: Path) -> Import:
    """Import the directory, and see that it is as it was."""

    def importing(**options: Any) -> ImportReport:
        before = contents_of(folder)
        report = load(url, read_picoclaw(folder), **OWNER, **options)
        assert contents_of(folder) == before
        return report

    return importing


def history(url: str, key: SessionKey = KEY) -> list[Any]:
    with perdure.open_sync(url) as store:
        return store.history(key.app, key.user).get_history(key.id)


def everything(url: str, key: SessionKey = KEY) -> list[Any]:
    with perdure.open_sync(url) as store:
        return [event.content for event in store.events.read(key)]


def summary(url: str) -> str:
    with perdure.open_sync(url) as store:
        return store.history(KEY.app, KEY.user).get_summary(KEY.id)


def ids(url: str) -> list[str]:
    with perdure.open_sync(url) as store:
        return sorted(session.id for session in store.sessions.list(ALL).items)


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return (
        report.sessions_new,
        report.sessions_known,
        report.events_new,
        report.events_known,
    )


def problems(report: ImportReport) -> list[str]:
    found = [*report.skipped, *report.changed, *report.remarks]
    return [str(one).rpartition("/")[2] for one in found]


# -- what comes in -------------------------------------------------------------------------------


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


# -- keys and files ------------------------------------------------------------------------------


def test_keys_that_share_a_name_in_two_directories_stay_two_sessions(
    url: str, tmp_path: Path, load: Load
) -> None:
    for name, key in (("1", "a:b"), ("2", "a/b"), ("3", "a_b")):
        Claw(tmp_path / name, key).add(*said(f"I am {key}"))
        assert load(url, read_picoclaw(tmp_path / name), **OWNER).complete

    assert ids(url) == ["a/b", "a:b", "a_b"]
    assert history(url, KEY._replace(id="a/b")) == said("I am a/b")


def test_a_log_that_was_of_two_keys_comes_in_once_and_is_named(
    url: str, bring: Import, folder: Path
) -> None:
    Claw(folder, "a:b").add(*said("from a:b", "from a/b"))
    old(folder, "a_b.json.migrated", *said("from a/b"), key="a/b")

    report = bring()

    assert problems(report) == [
        "b', of which a_b.json.migrated is: all its messages are here",
    ]
    assert str(report.remarks[0]).startswith(
        f"{folder}/a_b.jsonl: conversation 'a:b': also the log of 'a/b'"
    )
    assert ids(url) == ["a/b", "a:b"]
    assert len(everything(url, KEY._replace(id="a:b"))) == 2
    assert counts(bring()) == (0, 2, 0, 3)


def test_without_metadata_the_key_is_the_name_of_the_file(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("a"))
    claw.file.unlink()

    assert bring().complete
    assert ids(url) == ["telegram_42"]


def test_without_metadata_the_key_is_that_of_the_old_file_it_was_made_from(
    url: str, bring: Import, claw: Claw, folder: Path
) -> None:
    claw.add(*said("a", "b"))
    claw.file.unlink()
    old(folder, "telegram_42.json.migrated", *said("a"), key=KEY.id)

    assert bring().complete
    assert ids(url) == [KEY.id]
    assert history(url) == said("a", "b")


def test_damaged_metadata_are_named_and_the_messages_come_in(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("a"))
    claw.file.write_text('{"key": "tele')

    [problem] = problems(bring())

    assert problem.startswith("telegram_42.meta.json:1: not JSON")
    assert ids(url) == ["telegram_42"]


def test_a_field_of_the_metadata_that_is_wrong_is_left_out_and_named(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.describe(skip="two", created_at="soon").add(*said("a", "b"))

    report = bring()

    assert problems(report) == [
        "telegram_42.meta.json:1: skip is 'two': left out",
        "telegram_42.meta.json:1: created_at: the time 'soon' is not ISO 8601: left out",
    ]
    assert history(url) == said("a", "b")


def test_of_two_logs_of_a_key_that_of_its_name_comes_in(
    url: str, bring: Import, claw: Claw, folder: Path
) -> None:
    Claw(folder, KEY.id, file="a copy").add(*said("older"))
    claw.add(*said("a"))

    report = bring()

    assert problems(report) == [
        (
            "a copy.jsonl:1: conversation 'telegram:42': its key is that of telegram_42.jsonl, "
            "which is imported"
        )
    ]
    assert history(url) == said("a")


def test_a_log_of_another_name_than_its_key_comes_in_and_is_named(
    url: str, bring: Import, folder: Path
) -> None:
    Claw(folder, KEY.id, file="a copy").add(*said("a"))

    report = bring()

    assert "PicoClaw would call the file of this key telegram_42.jsonl" in problems(report)[0]
    assert history(url) == said("a")


@pytest.mark.parametrize("key", ["", "x" * 600, "nul\0"])
def test_a_key_that_no_session_can_have_is_skipped_and_the_rest_comes_in(
    url: str, bring: Import, claw: Claw, folder: Path, key: str
) -> None:
    Claw(folder, key, file="" if not key else "other").add(*said("b"))
    claw.add(*said("a"))

    report = bring()

    assert len(report.skipped) == 1
    assert ids(url) == [KEY.id]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_is_no_text_is_skipped_and_the_rest_comes_in(
    url: str, bring: Import, claw: Claw, folder: Path
) -> None:
    claw.add(*said("a"))
    Path(os.fsdecode(bytes(folder) + b"/\xff.jsonl")).write_text(json.dumps(said("b")[0]))

    report = bring()

    assert len(report.skipped) == 1
    assert ids(url) == [KEY.id]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_file_that_may_not_be_read_is_named_and_the_rest_comes_in(
    url: str, load: Load, claw: Claw, folder: Path
) -> None:
    claw.add(*said("a"))
    other = Claw(folder, "other").add(*said("b"))
    other.log.chmod(0)

    report = load(url, read_picoclaw(folder), **OWNER)

    assert problems(report) == [
        "other.jsonl:1: conversation 'other': it cannot be read: Permission denied"
    ]
    assert ids(url) == [KEY.id]


# -- old files -----------------------------------------------------------------------------------


def test_an_old_file_comes_in_with_its_key_summary_and_times(
    url: str, bring: Import, folder: Path
) -> None:
    old(folder, "telegram_42.json", *said("a", "b"), key=KEY.id, summary="Two letters.")

    report = bring()

    assert counts(report) == (1, 0, 2, 0)
    assert report.complete
    assert history(url) == said("a", "b")
    assert summary(url) == "Two letters."
    with perdure.open_sync(url) as store:
        assert store.sessions.get(KEY).created_at.year == 2026
    assert counts(bring()) == (0, 1, 0, 2)


def test_an_old_file_without_a_key_has_that_of_its_name(
    url: str, bring: Import, folder: Path
) -> None:
    old(folder, "one.json", *said("a"), key="")
    old(folder, "two.json.migrated", *said("a"))
    old(folder, "three.json", key="three", messages=None)

    assert bring().complete
    assert ids(url) == ["one", "three", "two"]


def test_an_old_key_that_ends_in_meta_is_a_session(url: str, bring: Import, folder: Path) -> None:
    old(folder, "notes.meta.json", *said("a"), key="notes.meta")
    Claw(folder, "notes").log.write_text(json.dumps(said("b")[0]) + "\n")

    assert bring().complete
    assert ids(url) == ["notes", "notes.meta"]
    assert history(url, KEY._replace(id="notes.meta")) == said("a")


def test_a_migrated_file_is_taken_only_if_there_is_no_log_of_its_key(
    url: str, bring: Import, claw: Claw, folder: Path
) -> None:
    claw.add(*said("newer"))
    old(folder, "telegram_42.json.migrated", *said("older"), key=KEY.id)
    old(folder, "other.json.migrated", *said("kept"), key="other")

    assert bring().complete
    assert history(url) == said("newer")
    assert history(url, KEY._replace(id="other")) == said("kept")


def test_an_old_file_beside_its_log_is_named_only_if_it_has_more(
    url: str, bring: Import, claw: Claw, folder: Path
) -> None:
    claw.add(*said("a", "b", "c"))
    old(folder, "telegram_42.json", *said("a", "b"), key=KEY.id)
    assert bring().complete

    old(folder, "telegram_42.json", *said("a", "b", "x"), key=KEY.id)

    assert problems(bring()) == [
        (
            "telegram_42.json:1: conversation 'telegram:42': its session is imported from "
            "telegram_42.jsonl, which has not all that this has"
        )
    ]
    assert history(url) == said("a", "b", "c")


def test_metadata_whose_log_was_never_written_leave_the_session_to_the_old_file(
    url: str, bring: Import, claw: Claw, folder: Path
) -> None:
    claw.describe(summary="Two letters.", count=2)
    old(folder, "telegram_42.json", *said("a", "b"), key=KEY.id)

    assert counts(bring()) == (1, 0, 2, 0)
    assert summary(url) == "Two letters."


@pytest.mark.parametrize("text", ["{", "[]", '{"messages": 5}', '{"version": 1}', "\xff"])
def test_an_old_file_that_is_none_is_named_and_the_rest_comes_in(
    url: str, bring: Import, claw: Claw, folder: Path, text: str
) -> None:
    claw.add(*said("a"))
    (folder / "bad.json").write_bytes(text.encode("latin-1"))

    report = bring()

    assert [Path(one.source).name for one in report.skipped] == ["bad.json"]
    assert ids(url) == [KEY.id]


def test_a_bad_message_of_an_old_file_is_named_and_the_rest_comes_in(
    url: str, bring: Import, folder: Path
) -> None:
    old(folder, "one.json", *said("a"), {"role": "x"}, *said("b"), key=KEY.id)

    assert "message 2: the role is 'x'" in problems(bring())[0]
    assert everything(url) == [*said("a"), *said("b")]


def test_a_session_that_was_migrated_since_is_known(
    url: str, bring: Import, claw: Claw, folder: Path
) -> None:
    file = old(folder, "telegram_42.json", *said("a", "b"), key=KEY.id)
    bring()
    file.rename(f"{file}.migrated")
    claw.add(*said("a", "b", "c"))

    assert counts(bring()) == (0, 1, 1, 2)
    assert history(url) == said("a", "b", "c")


# -- again ---------------------------------------------------------------------------------------


def test_importing_again_changes_nothing(url: str, bring: Import, claw: Claw) -> None:
    claw.add(*said("1", "2", "3", "4")).truncate(2, summary="They counted.")
    bring()
    with perdure.open_sync(url) as store:
        before = store.sessions.get(KEY), store.summaries.get(KEY)

    report = bring()

    assert counts(report) == (0, 1, 0, 4)
    assert report.complete
    with perdure.open_sync(url) as store:
        assert (store.sessions.get(KEY), store.summaries.get(KEY)) == before


def test_what_was_said_since_is_added(url: str, bring: Import, claw: Claw) -> None:
    messages = said("1", "2", "3", "4", "5", "6")
    claw.add(*messages[:4])
    bring()
    claw.add(*messages[4:]).truncate(2, summary="They counted.")

    assert counts(bring()) == (0, 1, 2, 4)
    assert everything(url) == messages
    assert history(url) == messages[4:]
    assert summary(url) == "They counted."


def test_a_log_that_was_compacted_since_goes_on_and_nothing_is_removed_here(
    url: str, bring: Import, claw: Claw
) -> None:
    messages = said(*"123456789")
    claw.add(*messages[:6]).truncate(4, summary="One.")
    bring()
    claw.add(messages[6]).truncate(3, summary="Two.").compact().add(*messages[7:])

    report = bring()

    assert report.complete
    assert counts(report) == (0, 1, 3, 2)
    assert everything(url) == messages
    assert history(url) == messages[4:]
    assert summary(url) == "Two."
    assert counts(bring()) == (0, 1, 0, 5)


def test_a_log_that_has_nothing_left_of_what_was_imported_goes_on_after_it(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("1", "2", "3"))
    bring()
    claw.add(*said("4", "5", "6")).truncate(2, summary="Four.").compact()

    report = bring()

    assert report.complete
    assert counts(report) == (0, 1, 2, 0)
    assert problems(report) == [
        (
            "telegram_42.jsonl: conversation 'telegram:42': all that was imported before is removed "
            "there: messages between may be missing"
        )
    ]
    assert history(url) == said("4", "5", "6")[1:]
    assert everything(url) == [*said("1", "2", "3"), *said("4", "5", "6")[1:]]
    assert (counts(bring()), problems(bring())) == ((0, 1, 0, 2), [])


def test_an_older_log_that_has_nothing_of_what_was_imported_is_left_and_named(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("3", "4"))
    bring()
    claw.replace(*said("1", "2")).describe(updated_at="2026-03-11T00:00:00Z")

    assert "it does not go on from the messages" in problems(bring())[0]
    assert everything(url) == said("3", "4")


def test_a_session_that_went_on_here_is_left_also_if_nothing_is_left_of_it_there(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("1", "2"))
    bring()
    with perdure.open_sync(url) as store:
        store.history(KEY.app, KEY.user).add_message(KEY.id, "user", "here")
    claw.replace(*said("3", "4"))

    assert "newer here: it was continued" in problems(bring())[0]
    assert len(everything(url)) == 3


def test_a_log_that_was_only_compacted_since_hides_what_it_has_removed(
    url: str, bring: Import, claw: Claw
) -> None:
    messages = said(*"123456")
    claw.add(*messages)
    bring()
    claw.truncate(2).compact()

    assert counts(bring()) == (0, 1, 0, 2)
    assert history(url) == messages[4:]
    assert everything(url) == messages


def test_a_rewritten_log_removes_nothing_and_is_named(url: str, bring: Import, claw: Claw) -> None:
    claw.add(*said("1", "2", "3"))
    bring()
    claw.replace(*said("1", "another", "3", "4"))

    report = bring()

    assert problems(report) == [
        (
            "telegram_42.jsonl:1: conversation 'telegram:42': it does not go on from the messages "
            "that are stored: they are kept as stored; 1 new not added"
        )
    ]
    assert everything(url) == said("1", "2", "3")


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_log_whose_last_messages_were_removed_removes_nothing_and_is_named(
    url: str, bring: Import, claw: Claw, left: int
) -> None:
    messages = said("1", "2", "3")
    claw.add(*messages)
    bring()
    claw.replace(*messages[:left])

    report = bring()

    assert len(report.changed) == 1
    assert everything(url) == messages


def test_a_log_that_could_go_on_at_two_places_is_left_and_named(
    url: str, bring: Import, claw: Claw
) -> None:
    [ok] = said("ok")
    claw.add(*said("1", "2"), ok, ok)
    bring()
    claw.replace(ok, ok, ok)

    report = bring()

    assert "where it goes on cannot be told" in problems(report)[0]
    assert everything(url) == [*said("1", "2"), ok, ok]


def test_a_session_that_went_on_here_is_left_and_named_as_newer(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("1", "2"))
    bring()
    with perdure.open_sync(url) as store:
        store.history(KEY.app, KEY.user).add_message(KEY.id, "user", "here")
    assert bring().complete

    claw.add(*said("3")).truncate(1, summary="They counted.")

    assert problems(bring()) == [
        (
            "telegram_42.jsonl:1: conversation 'telegram:42': newer here: it was continued in the "
            "store; 1 new not added"
        )
    ]
    assert history(url) == [*said("1", "2"), *said("here")]
    assert summary(url) == ""


def test_a_history_that_was_replaced_here_is_left(url: str, bring: Import, claw: Claw) -> None:
    claw.add(*said("1", "2"))
    bring()
    with perdure.open_sync(url) as store:
        store.history(KEY.app, KEY.user).set_history(KEY.id, said("mine"))
    assert bring().complete

    claw.add(*said("3"))

    assert "newer here" in problems(bring())[0]
    assert history(url) == said("mine")


def test_a_summary_that_was_written_here_is_kept_and_named_once(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.describe(summary="One.").add(*said("1", "2"))
    bring()
    with perdure.open_sync(url) as store:
        store.history(KEY.app, KEY.user).set_summary(KEY.id, "Mine.")
    assert problems(bring()) == []

    claw.describe(summary="Two.").add(*said("3"))
    report = bring()

    assert "newer here: its summary was changed in the store and is kept" in problems(report)[0]
    assert report.complete
    assert summary(url) == "Mine."
    assert everything(url) == [*said("1", "2"), *said("3")]
    assert problems(bring()) == []


def test_a_summary_that_was_removed_here_is_not_brought_back(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.describe(summary="One.").add(*said("1", "2"))
    bring()
    with perdure.open_sync(url) as store:
        store.history(KEY.app, KEY.user).set_summary(KEY.id, "")

    bring()

    assert summary(url) == ""


def test_a_summary_that_is_gone_there_is_kept_here(url: str, bring: Import, claw: Claw) -> None:
    claw.describe(summary="One.").add(*said("1", "2"))
    bring()
    claw.describe(summary="")
    bring()
    assert summary(url) == "One."

    claw.describe(summary="Two.")
    bring()

    assert summary(url) == "Two."


def test_messages_that_show_again_there_stay_hidden_here_and_are_named(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("1", "2", "3", "4")).truncate(2)
    bring()
    claw.describe(skip=0)

    assert "they stay hidden here" in problems(bring())[0]
    assert history(url) == said("1", "2", "3", "4")[2:]
    assert problems(bring()) == []


def test_a_redacted_and_a_removed_message_are_no_change(
    url: str, bring: Import, claw: Claw
) -> None:
    messages = said(*"123456")
    claw.add(*messages[:4])
    bring()
    with perdure.open_sync(url) as store:
        store.events.redact(KEY, f"{KEY.id}#3")
        store.events.delete(KEY, [f"{KEY.id}#1"])
    claw.add(messages[4])
    report = bring()
    assert (report.complete, report.events_removed) == (True, 1)

    claw.truncate(3).compact().add(messages[5])

    assert bring().complete
    assert everything(url) == [messages[1], "[redacted]", *messages[3:]]
    assert len(history(url)) == 4


def test_an_erased_user_is_not_brought_back(url: str, bring: Import, claw: Claw) -> None:
    claw.add(*said("1", "2")).truncate(1, summary="They counted.")
    bring()
    with perdure.open_sync(url) as store:
        store.erase_user("app", "ada")

    report = bring()

    assert report.denied == 1
    assert ids(url) == []


def test_a_session_of_that_key_with_another_talk_is_left_and_named(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("1"))
    with perdure.open_sync(url) as store:
        store.history(KEY.app, KEY.user).add_message(KEY.id, "user", "mine")

    assert "the session of this id holds another conversation" in problems(bring())[0]
    assert history(url) == said("mine")


def test_what_is_written_during_the_import_is_newer(url: str, claw: Claw, folder: Path) -> None:
    Claw(folder, "other").add(*said("a"))
    claw.add(*said("1"))
    with perdure.open_sync(url) as store:
        load_sync(store, read_picoclaw(folder), app="app", user="ada")
        claw.add(*said("2"))

        def meanwhile() -> Any:
            store.history(KEY.app, KEY.user).add_message(KEY.id, "user", "here")

        busy: Any = _Busy(store, meanwhile)
        report = load_sync(busy, read_picoclaw(folder), app="app", user="ada")

    assert "newer here: it was written in the store during the import" in problems(report)[0]
    assert history(url) == [*said("1"), *said("here")]


class _Busy:
    """A store to which somebody else writes just before the first turn."""

    def __init__(self, store: perdure.SyncStore, meanwhile: Callable[[], Any]) -> None:
        self._store = store
        self._meanwhile = meanwhile

    def turn(self) -> Any:
        self._meanwhile()
        self._meanwhile = lambda: None
        return self._store.turn()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_dry_run_tells_the_same_and_stores_nothing(
    url: str, bring: Import, claw: Claw, folder: Path
) -> None:
    claw.add(*said("1", "2"))
    bring()
    claw.add(*said("3"), "{torn").truncate(1, summary="They counted.")
    Claw(folder, "other").add(CALL, RESULT).truncate(1)
    with perdure.open_sync(url) as store:
        before = store.sessions.get(KEY)

    tried = bring(dry_run=True)

    with perdure.open_sync(url) as store:
        assert store.sessions.get(KEY) == before
    assert ids(url) == [KEY.id]
    assert history(url) == said("1", "2")
    done = bring()
    assert counts(tried) == counts(done) == (1, 1, 3, 2)
    assert problems(tried) == problems(done)


def test_many_sessions_come_in_and_again(url: str, bring: Import, folder: Path) -> None:
    for number in range(120):
        claw = Claw(folder, f"chat:{number}").add(*said(*(str(n) for n in range(20))))
        claw.truncate(4, summary=f"They counted {number} times.")

    assert counts(bring()) == (120, 0, 2_400, 0)
    assert counts(bring()) == (0, 120, 0, 2_400)
    assert len(history(url, KEY._replace(id="chat:77"))) == 4
