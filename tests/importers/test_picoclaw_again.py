"""Importing PicoClaw's directories again: after it went on, and after perdure did."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure.importers import load_sync, read_picoclaw
from tests.importers import processes
from tests.importers.claw import (
    CALL,
    KEY,
    RESULT,
    Claw,
    Import,
    counts,
    everything,
    history,
    ids,
    problems,
    said,
    summary,
)


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
            "telegram_42.jsonl: conversation 'telegram:42': all that was imported before is "
            "removed there: messages between may be missing"
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


def test_last_messages_that_were_removed_here_are_not_brought_back(
    url: str, bring: Import, claw: Claw
) -> None:
    messages = said("1", "2", "3", "4")
    claw.add(*messages)
    bring()
    with perdure.open_sync(url) as store:
        store.events.delete(KEY, [f"{KEY.id}#3", f"{KEY.id}#4"])
    assert counts(bring()) == (0, 1, 0, 2)

    claw.add(*said("5")).truncate(4).compact()

    assert counts(bring()) == (0, 1, 1, 1)
    assert everything(url) == [*messages[:2], *said("5")]


def test_when_all_was_removed_here_nothing_is_brought_back(
    url: str, bring: Import, claw: Claw
) -> None:
    claw.add(*said("1", "2"))
    bring()
    with perdure.open_sync(url) as store:
        view = store.history(KEY.app, KEY.user)
        view.set_history(KEY.id, [])
        view.compact(KEY.id)
    report = bring()
    assert (report.complete, everything(url)) == (True, [])

    claw.add(*said("3"))

    assert "newer here: its messages were removed from the store" in problems(bring())[0]
    assert everything(url) == []


def test_an_import_that_was_interrupted_before_it_hid_what_is_truncated_goes_on(
    url: str, claw: Claw, folder: Path
) -> None:
    claw.add(*said("1", "2", "3")).truncate(1)
    with perdure.open_sync(url) as store:
        busy: Any = _Busy(store, lambda: None, breaks="history")
        with pytest.raises(perdure.BusyError):
            load_sync(busy, read_picoclaw(folder), app="app", user="ada")
    assert len(history(url)) == 3

    with perdure.open_sync(url) as store:
        report = load_sync(store, read_picoclaw(folder), app="app", user="ada")

    assert counts(report) == (0, 1, 0, 3)
    assert history(url) == said("1", "2", "3")[2:]


def test_a_log_that_is_compacted_during_the_import_hides_what_it_hid(
    url: str, claw: Claw, folder: Path
) -> None:
    Claw(folder, "first").add(*said("a"))
    claw.add(*said(*"123456")).truncate(2)

    found = read_picoclaw(folder)
    read = [next(found)]
    claw.compact()
    read.extend(found)

    with perdure.open_sync(url) as store:
        load_sync(store, read, app="app", user="ada")
    assert history(url) == said(*"123456")[4:]


def test_imports_while_it_writes_and_compacts_store_each_message_once_and_in_order(
    url: str, claw: Claw, folder: Path
) -> None:
    def number(first: int) -> list[dict[str, Any]]:
        return [{"role": "user", "content": str(n)} for n in range(first, first + 5)]

    def write() -> None:
        for first in range(0, 900, 5):
            claw.add(*number(first))
            if first % 3 == 0:
                claw.truncate(4, summary=f"up to {first}").compact()

    claw.add(*number(-5))
    writer = threading.Thread(target=write)
    with perdure.open_sync(url) as store:
        writer.start()
        while writer.is_alive():
            load_sync(store, read_picoclaw(folder), app="app", user="ada")
        writer.join()
        report = load_sync(store, read_picoclaw(folder), app="app", user="ada")

    assert report.complete
    stored = [int(content["content"]) for content in everything(url)]
    assert stored == sorted(set(stored))
    assert history(url) == [json.loads(line) for line in claw.log.read_text().splitlines()]


def test_two_processes_store_every_message_once(url: str, folder: Path) -> None:
    processes.every_message_is_stored_once(url, folder)


def test_an_import_that_was_killed_goes_on(url: str, folder: Path) -> None:
    processes.a_killed_import_goes_on(url, folder)


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
    """A store to which somebody else writes just before the first turn, or that breaks."""

    def __init__(
        self, store: perdure.SyncStore, meanwhile: Callable[[], Any], breaks: str = ""
    ) -> None:
        self._store = store
        self._meanwhile = meanwhile
        self._breaks = breaks

    def turn(self) -> Any:
        self._meanwhile()
        self._meanwhile = lambda: None
        return self._store.turn()

    def __getattr__(self, name: str) -> Any:
        if name == self._breaks:
            raise perdure.BusyError("the disk is slow today")
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
