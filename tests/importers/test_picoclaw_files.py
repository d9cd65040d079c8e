"""Which file of PicoClaw's directories is which session, and the files of its older releases."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import perdure
from perdure.importers import read_picoclaw
from tests.importers.claw import (
    KEY,
    OWNER,
    Claw,
    Import,
    counts,
    everything,
    history,
    ids,
    old,
    problems,
    said,
    summary,
)
from tests.importers.importing import Load


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
        "b', as a_b.json.migrated shows: all in it is taken for its own",
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
