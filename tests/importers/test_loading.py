"""Storing what was read: again, grown, changed, refused, and in both colours."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import ALL, NewEvent, SessionKey
from perdure.importers import Changed, ImportReport, Skipped, load_sync
from tests.importers.importing import Load, assistant, read, talk, user

KEY = SessionKey("app", "ada", "c-1")
HELLO, REPLY, MORE = user("Where is my parcel?"), assistant("On its way."), user("Thanks!")
OWNER = {"app": "app", "user": "ada"}


def contents(url: str, key: SessionKey = KEY) -> list[Any]:
    with perdure.open_sync(url) as store:
        return [event.content for event in store.events.read(key)]


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return (
        report.sessions_new,
        report.sessions_known,
        report.events_new,
        report.events_known,
    )


def test_a_conversation_becomes_a_session_of_that_user(url: str, load: Load) -> None:
    made = "2024-05-20T12:00:00Z"

    report = load(url, read(talk("c-1", HELLO, REPLY, created_at=made, task=7)), **OWNER)

    assert counts(report) == (1, 0, 2, 0)
    assert report.complete
    with perdure.open_sync(url) as store:
        session = store.sessions.get(KEY)
        events = store.events.read(KEY)
    assert (session.title, session.metadata) == ("Where is my parcel?", {"task": 7})
    assert session.created_at == datetime(2024, 5, 20, 12, 0, tzinfo=UTC)
    assert [event.id for event in events] == ["c-1#1", "c-1#2"]
    assert [event.content for event in events] == [HELLO, REPLY]
    assert {event.timestamp for event in events} == {session.created_at}
    assert {event.format for event in events} == {"openai.chat"}


def test_importing_again_stores_nothing(url: str, load: Load) -> None:
    load(url, read(talk("c-1", HELLO, REPLY, system="Be brief.")), **OWNER)
    with perdure.open_sync(url) as store:
        before = store.sessions.get(KEY)

    report = load(url, read(talk("c-1", HELLO, REPLY, system="Be brief.")), **OWNER)

    assert counts(report) == (0, 1, 0, 3)
    with perdure.open_sync(url) as store:
        assert store.sessions.get(KEY) == before


def test_a_file_that_has_grown_adds_only_the_new_messages(url: str, load: Load) -> None:
    load(url, read(talk("c-1", HELLO, REPLY)), **OWNER)

    report = load(url, read(talk("c-1", HELLO, REPLY, MORE), talk("c-2", HELLO)), **OWNER)

    assert counts(report) == (1, 1, 2, 2)
    assert contents(url) == [HELLO, REPLY, MORE]


def test_the_same_conversation_twice_in_a_file_is_stored_once(url: str, load: Load) -> None:
    report = load(url, read(talk("c-1", HELLO), talk("c-1", HELLO, REPLY)), **OWNER)

    assert counts(report) == (1, 1, 2, 1)
    assert contents(url) == [HELLO, REPLY]


def test_equal_json_is_no_change_whatever_its_spelling(url: str, load: Load) -> None:
    load(url, read('{"id": "c-1", "messages": [{"role": "user", "content": "a", "n": 1.0}]}'))

    report = load(url, read('{"id":"c-1","messages":[{"n":1,"content":"\\u0061","role":"user"}]}'))

    assert report.complete
    assert report.events_known == 1


@pytest.mark.parametrize(
    "now",
    [
        user("Where is it?"),
        user("Where is my parcel?", n=True),
        user("Where is my parcel?", ts="2024-05-20T12:00:00Z"),
    ],
)
def test_a_changed_message_is_reported_and_its_conversation_left_alone(
    url: str, load: Load, now: dict[str, Any]
) -> None:
    first = user("Where is my parcel?", n=1) if "n" in now else HELLO
    load(url, read(talk("c-1", first, REPLY)), **OWNER)

    report = load(url, read(talk("c-1", now, REPLY, MORE), talk("c-2", HELLO)), **OWNER)

    assert report.changed == [Changed("chats.jsonl", 1, "c-1", (1,), held_back=1)]
    assert "message 1 changed" in str(report.changed[0])
    assert report.events_changed == 1
    assert counts(report) == (1, 0, 1, 1)
    assert contents(url) == [first, REPLY]


def test_a_conversation_that_was_continued_in_the_store_is_not_mixed(url: str, load: Load) -> None:
    load(url, read(talk("c-1", HELLO)), **OWNER)
    with perdure.open_sync(url) as store:
        store.events.append(KEY, assistant("Another answer"))

    same = load(url, read(talk("c-1", HELLO)), **OWNER)
    grown = load(url, read(talk("c-1", HELLO, REPLY)), **OWNER)

    assert same.complete
    assert grown.changed == [Changed("chats.jsonl", 1, "c-1", (), held_back=1)]
    assert contents(url) == [HELLO, assistant("Another answer")]


def test_state_set_beside_an_import_does_not_end_it(url: str, load: Load) -> None:
    load(url, read(talk("c-1", HELLO)), **OWNER)
    with perdure.open_sync(url) as store:
        store.events.append(KEY, NewEvent(state_delta={"seen": True}))

    report = load(url, read(talk("c-1", HELLO, REPLY)), **OWNER)

    assert report.complete
    assert report.events_new == 1


def test_a_session_of_the_same_id_with_another_conversation_is_left_alone(
    url: str, load: Load
) -> None:
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)
        store.events.append(KEY, "I was here before")

    report = load(url, read(talk("c-1", HELLO)), **OWNER)

    assert [str(one) for one in report.skipped] == [
        "chats.jsonl:1: conversation 'c-1': the session of this id holds another conversation"
    ]
    assert contents(url) == ["I was here before"]


def test_an_empty_session_of_the_same_id_is_filled(url: str, load: Load) -> None:
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY, title="Mine")

    report = load(url, read(talk("c-1", HELLO)), **OWNER)

    assert counts(report) == (0, 1, 1, 0)
    with perdure.open_sync(url) as store:
        assert store.sessions.get(KEY).title == "Mine"


def test_a_redacted_message_is_no_change(url: str, load: Load) -> None:
    load(url, read(talk("c-1", HELLO, REPLY)), **OWNER)
    with perdure.open_sync(url) as store:
        store.events.redact(KEY, "c-1#1")

    report = load(url, read(talk("c-1", HELLO, REPLY, MORE)), **OWNER)

    assert report.complete
    assert contents(url) == ["[redacted]", REPLY, MORE]


def test_a_removed_message_is_not_brought_back(url: str, load: Load) -> None:
    load(url, read(talk("c-1", HELLO, REPLY, MORE)), **OWNER)
    with perdure.open_sync(url) as store:
        store.events.delete(KEY, ["c-1#1"])

    report = load(url, read(talk("c-1", HELLO, REPLY, MORE, user("Hello?"))), **OWNER)

    assert report.events_removed == 1
    assert contents(url) == [REPLY, MORE, user("Hello?")]


def test_messages_that_were_popped_are_known(url: str, load: Load) -> None:
    load(url, read(talk("c-1", HELLO, REPLY)), **OWNER)
    with perdure.open_sync(url) as store:
        store.events.pop(KEY)

    report = load(url, read(talk("c-1", HELLO, REPLY)), **OWNER)

    assert counts(report) == (0, 1, 0, 2)
    assert contents(url) == [HELLO]


def test_an_erased_user_is_not_brought_back(url: str, load: Load) -> None:
    many = [talk(f"c-{number}", HELLO, REPLY) for number in range(600)]
    load(url, read(*many), **OWNER)
    with perdure.open_sync(url) as store:
        store.erase_user("app", "ada")

    report = load(url, read(*many), **OWNER)

    assert report.denied == 600
    assert counts(report) == (0, 0, 0, 0)
    with perdure.open_sync(url) as store:
        assert store.sessions.count(ALL, include_deleted=True) == 0


def test_who_came_back_after_an_erasure_keeps_what_is_theirs(url: str, load: Load) -> None:
    with perdure.open_sync(url) as store:
        store.erase_user("app", "ada")
        store.sessions.create(*KEY)

    report = load(url, read(talk("c-0", HELLO), talk("c-1", HELLO)), **OWNER)

    assert report.denied == 1
    assert contents(url) == [HELLO]


def test_what_the_store_refuses_is_skipped_and_the_rest_goes_on(url: str, load: Load) -> None:
    report = load(
        url,
        read(
            talk("c-1", HELLO),
            talk("x" * 600, HELLO),
            talk("nul\0", HELLO),
            talk("name", assistant("hi", name="y" * 600), HELLO),
            talk("c-2", HELLO),
        ),
        **OWNER,
    )

    assert report.sessions_new == 2
    assert [one.conversation[:4] for one in report.skipped] == ["xxxx", "nul\0", "name"]
    assert [one.line for one in report.skipped] == [2, 3, 4]
    assert "the limit is 512" in report.skipped[0].reason
    with perdure.open_sync(url) as store:
        assert store.sessions.count(ALL) == 2


def test_an_id_that_leaves_no_room_for_a_position_is_shortened(url: str, load: Load) -> None:
    long = "x" * 512

    report = load(url, read(talk(long, HELLO)), **OWNER)
    again = load(url, read(talk(long, HELLO)), **OWNER)

    assert (report.events_new, again.events_known) == (1, 1)


def test_what_was_skipped_while_reading_is_in_the_report(url: str, load: Load) -> None:
    report = load(url, read("{", talk("c-1", HELLO), talk("c-2", {"role": "x"})), **OWNER)

    assert [one.line for one in report.skipped] == [1, 3]
    assert not report.complete
    assert report.sessions_new == 1


def test_a_dry_run_tells_the_same_and_stores_nothing(url: str, load: Load) -> None:
    load(url, read(talk("c-1", HELLO), talk("c-9", HELLO)), **OWNER)
    now = read(
        talk("c-1", HELLO, REPLY), talk("c-2", HELLO), talk("c-9", MORE), talk("x" * 600, HELLO)
    )

    tried = load(url, now, **OWNER, dry_run=True)
    done = load(url, now, **OWNER)

    assert tried.dry_run
    assert counts(tried) == counts(done) == (1, 1, 2, 1)
    assert tried.changed == done.changed
    assert tried.skipped == done.skipped
    assert done.complete is False


def test_a_dry_run_knows_who_was_erased(url: str, load: Load) -> None:
    with perdure.open_sync(url) as store:
        store.erase_user("app", "ada")

    assert load(url, read(talk("c-1", HELLO)), **OWNER, dry_run=True).denied == 1


def test_a_dry_run_alone_leaves_an_empty_store(url: str, load: Load) -> None:
    report = load(url, read(talk("c-1", HELLO), talk("c-2", HELLO)), **OWNER, dry_run=True)

    assert counts(report) == (2, 0, 2, 0)
    with perdure.open_sync(url) as store:
        assert store.sessions.count(ALL, include_deleted=True) == 0


def test_a_conversation_of_more_messages_than_an_append_takes_is_stored_whole(
    url: str, load: Load
) -> None:
    messages = [user(f"message {number}") for number in range(10_500)]

    report = load(url, read(talk("c-1", *messages)), **OWNER)

    assert report.events_new == 10_500
    assert contents(url) == messages


def test_progress_is_told_of_every_byte_and_message(url: str, load: Load) -> None:
    told: list[tuple[int, int]] = []
    found = read("{", *(talk(f"c-{number}", HELLO, REPLY) for number in range(700)))

    load(url, found, **OWNER, progress=lambda size, messages: told.append((size, messages)))

    assert len(told) > 1
    assert sum(size for size, _ in told) == sum(one.size for one in found)
    assert sum(messages for _, messages in told) == 1_400


def test_a_user_that_cannot_be_one_is_refused(url: str, load: Load) -> None:
    with pytest.raises(perdure.TooLargeError, match="user is 600 bytes"):
        load(url, read(talk("c-1", HELLO)), app="app", user="u" * 600)


def test_errors_of_the_store_are_raised(url: str, load: Load) -> None:
    def broken() -> Any:
        yield from read(talk("c-1", HELLO))
        raise perdure.BusyError("another program holds it")

    with pytest.raises(perdure.BusyError):
        load(url, broken(), **OWNER)


def test_a_skipped_one_says_where_it_stands() -> None:
    assert str(Skipped("a.jsonl", 3, "not JSON")) == "a.jsonl:3: not JSON"


def _without_numbers(record: Any) -> Any:
    if isinstance(record, perdure.NewSession):
        return replace(record, title=re.sub(r"\d", "#", record.title or ""))
    content = {**record.content, "content": re.sub(r"\d", "#", record.content["content"])}
    return replace(record, content=content)


def test_what_is_imported_goes_through_on_write_and_is_known_when_it_comes_again(
    tmp_path: Path,
) -> None:
    given = read(talk("c-1", user("My card is 4711."), assistant("Thanks for 4711.")))
    path = tmp_path / "hooked.db"
    with perdure.open_sync(f"sqlite:///{path}", on_write=_without_numbers) as store:
        first = load_sync(store, given, app="app", user="ada")
        again = load_sync(store, given, app="app", user="ada")
        session = store.sessions.get(KEY)
        contents = [event.content["content"] for event in store.events.read(KEY)]

    assert (counts(first), counts(again)) == ((1, 0, 2, 0), (0, 1, 0, 2))
    assert (session.title, contents) == (
        "My card is ####.",
        ["My card is ####.", "Thanks for ####."],
    )
    assert b"4711" not in path.read_bytes()
