"""`store.recovery`: whole conversations to load and save, in the manner of DivineSense's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    DELETE,
    ConflictError,
    ConversationContext,
    InvalidError,
    Message,
    NewEvent,
    NotFoundError,
    RecoveryView,
    SessionKey,
    SessionSummary,
    StaleSessionError,
    Store,
)
from perdure.operation import Async
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, Reopen

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CALL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.fixture
def view(store: Store) -> RecoveryView[Async]:
    return store.recovery("memos")


def user(text: str) -> Message:
    return Message("user", text)


async def texts(view: RecoveryView[Async], session_id: str = "s1") -> list[Any]:
    found = await view.load_context(7, session_id)
    return [] if found is None else [message.content for message in found.messages]


async def fill(view: RecoveryView[Async], *said: str, session_id: str = "s1") -> None:
    await view.recover_session(7, session_id)
    for text in said:
        await view.append_message(7, session_id, user(text))


# -- contexts --------------------------------------------------------------------------------------


async def test_what_is_saved_is_loaded(
    view: RecoveryView[Async], clock: FixedClock, reopen: Reopen
) -> None:
    clock.step = timedelta(0)
    clock.set(START)
    given = ConversationContext(
        session_id="s1",
        user_id="7",
        agent_type="memo",
        messages=[user("Hello."), Message("assistant", None, {"tool_calls": [CALL]})],
        metadata={"topic": "cats", "deep": {"a": [1]}},
    )

    saved = await view.save_context(7, "s1", given)

    assert saved == replace(
        given, created_at=START, updated_at=START, version=saved.version, after_seq=0
    )
    assert await view.load_context("7", "s1") == saved
    assert await (await reopen()).recovery("memos").load_context(7, "s1") == saved


async def test_an_unknown_session_is_none_and_another_users_is_another(
    view: RecoveryView[Async], store: Store
) -> None:
    await fill(view, "mine")

    assert await view.load_context(7, "unknown") is None
    assert await view.load_context(8, "s1") is None
    other = await view.recover_session(8, "s1")
    assert (other.messages, other.user_id) == ([], "8")
    assert await texts(view) == ["mine"]
    assert await store.sessions.find(SessionKey("memos", "7", "s1")) is not None


@pytest.mark.parametrize("wrong", [True, None, 1.5, b"7"])
async def test_what_is_no_user_is_refused(view: RecoveryView[Async], wrong: Any) -> None:
    with pytest.raises(InvalidError, match="user"):
        await view.load_context(wrong, "s1")
    with pytest.raises(InvalidError, match="user"):
        await view.append_turn(wrong, "s1", "a", "b")


async def test_a_recovered_session_is_stored_and_can_be_appended_to(
    view: RecoveryView[Async],
) -> None:
    with pytest.raises(NotFoundError):
        await view.append_message(7, "s1", user("too early"))

    fresh = await view.recover_session(7, "s1", "memo")
    await view.append_message(7, "s1", user("now"))

    assert (fresh.agent_type, fresh.messages, fresh.metadata) == ("memo", [], {})
    again = await view.recover_session(7, "s1", "other")
    assert again.agent_type == "memo"
    assert [message.content for message in again.messages] == ["now"]


async def test_the_window_limits_what_is_read_and_not_what_is_kept(
    store: Store, view: RecoveryView[Async]
) -> None:
    await fill(view, *(str(n) for n in range(25)))

    assert await texts(view) == [str(n) for n in range(5, 25)]
    assert await texts(store.recovery("memos", window=3)) == ["22", "23", "24"]
    assert len(await view.get_recent_messages(7, "s1")) == 25
    for wrong in (0, -1, None, "20"):
        with pytest.raises(InvalidError, match="window"):
            store.recovery("memos", window=wrong)  # type: ignore[arg-type]


async def test_a_window_splits_no_call_from_its_result(store: Store) -> None:
    view = store.recovery("memos", window=2)
    await fill(view, "a")
    await view.append_message(7, "s1", {"role": "assistant", "tool_calls": [CALL]})
    await view.append_message(7, "s1", {"role": "tool", "tool_call_id": "t1", "content": "x"})
    await view.append_message(7, "s1", Message("assistant", "b"))

    found = await view.load_context(7, "s1")

    assert found is not None
    assert [message.role for message in found.messages] == ["assistant", "tool", "assistant"]
    assert found.messages[0].fields == {"tool_calls": [CALL]}
    assert found.messages[1].fields == {"tool_call_id": "t1"}


async def test_saving_what_was_loaded_keeps_what_the_window_left_out(
    store: Store, view: RecoveryView[Async], dump: Dump
) -> None:
    key = SessionKey("memos", "7", "s1")
    await fill(view, *(str(n) for n in range(25)))
    loaded = await view.load_context(7, "s1")
    assert loaded is not None
    events = (await dump())["events"]

    await view.save_context(7, "s1", loaded)
    assert (await dump())["events"] == events
    more = replace(loaded, messages=[*loaded.messages, user("25")])
    await view.save_context(7, "s1", more)

    assert [e.text for e in await store.events.read(key)] == [str(n) for n in range(26)]
    assert len(await store.events.branches(key)) == 1


async def test_saving_replaces_from_the_first_message_that_differs(
    store: Store, view: RecoveryView[Async]
) -> None:
    await fill(view, *"abcd")
    loaded = await view.load_context(7, "s1")
    assert loaded is not None

    await view.save_context(
        7, "s1", replace(loaded, messages=[*loaded.messages[:2], user("C"), user("D")])
    )
    assert await texts(view) == ["a", "b", "C", "D"]
    await view.save_context(7, "s1", replace(loaded, messages=loaded.messages[:1]))
    assert await texts(view) == ["a"]
    await view.save_context(7, "s1", replace(loaded, messages=[]))

    assert await texts(view) == []
    seqs = [e.seq for e in await store.events.read(SessionKey("memos", "7", "s1"), all_lines=True)]
    assert seqs == [1, 2, 3, 4, 5, 6]


async def test_saving_replaces_metadata_and_type(view: RecoveryView[Async]) -> None:
    first = ConversationContext(
        session_id="s1", user_id="7", agent_type="memo", metadata={"a": 1, "b": 2}
    )
    await view.save_context(7, "s1", first)

    saved = await view.save_context(7, "s1", replace(first, agent_type="", metadata={"b": 3}))

    assert (saved.agent_type, saved.metadata) == ("", {"b": 3})


async def test_an_expected_version_refuses_a_stale_context_and_changes_nothing(
    view: RecoveryView[Async], dump: Dump
) -> None:
    await fill(view, "a")
    loaded = await view.load_context(7, "s1")
    assert loaded is not None
    await view.append_message(7, "s1", user("b"))
    before = await dump()

    with pytest.raises(StaleSessionError):
        await view.save_context(7, "s1", loaded, expected_version=loaded.version)
    with pytest.raises(NotFoundError):
        await view.save_context(7, "new", loaded, expected_version=1)
    assert await dump() == before

    fresh = await view.load_context(7, "s1")
    assert fresh is not None
    more = replace(fresh, messages=[*fresh.messages, user("c")])
    await view.save_context(7, "s1", more, expected_version=fresh.version)
    assert await texts(view) == ["a", "b", "c"]


async def test_a_context_whose_beginning_is_gone_is_a_conflict(
    store: Store, view: RecoveryView[Async]
) -> None:
    await fill(view, *"abc")
    loaded = await store.recovery("memos", window=1).load_context(7, "s1")
    assert loaded is not None
    assert loaded.after_seq == 2
    await store.events.rewind(SessionKey("memos", "7", "s1"), 1)

    with pytest.raises(ConflictError, match="load the context again"):
        await view.save_context(7, "s1", loaded)


async def test_what_is_no_context_is_refused(view: RecoveryView[Async], dump: Dump) -> None:
    before = await dump()
    good = ConversationContext(session_id="s1", user_id="7")
    wrong: Any
    for wrong in (
        None,
        {"messages": []},
        replace(good, messages=["text"]),  # type: ignore[list-item]
        replace(good, messages=[Message("", "no role")]),
        replace(good, metadata={"a": float("nan")}),
        replace(good, after_seq=-1),
    ):
        with pytest.raises(InvalidError):
            await view.save_context(7, "s1", wrong)
    assert await dump() == before


# -- messages --------------------------------------------------------------------------------------


async def test_a_turn_is_stored_at_once_and_sets_the_type_only_if_there_is_one(
    view: RecoveryView[Async],
) -> None:
    await view.recover_session(7, "s1", "memo")

    assert await view.append_turn(7, "s1", "Hello.", "Good day.") == 2
    assert await view.append_turn(7, "s1", "Bye.", "Bye.", "schedule") == 4

    found = await view.load_context(7, "s1")
    assert found is not None
    assert found.agent_type == "schedule"
    assert [(m.role, m.content) for m in found.messages[:2]] == [
        ("user", "Hello."), ("assistant", "Good day."),
    ]  # fmt: skip
    with pytest.raises(NotFoundError):
        await view.append_turn(7, "unknown", "a", "b")


async def test_two_who_append_at_once_lose_nothing(view: RecoveryView[Async]) -> None:
    await view.recover_session(7, "s1")

    await asyncio.gather(*(view.append_message(7, "s1", user(str(n))) for n in range(20)))

    recent = await view.get_recent_messages(7, "s1")
    assert sorted(int(message.content) for message in recent) == list(range(20))


async def test_recent_messages_are_the_last_oldest_first(
    store: Store, view: RecoveryView[Async]
) -> None:
    await fill(view, *"abc")
    await store.events.append(SessionKey("memos", "7", "s1"), NewEvent(state_delta={"k": 1}))

    async def recent(n: int | None) -> list[Any]:
        return [message.content for message in await view.get_recent_messages(7, "s1", n)]

    assert [await recent(n) for n in (None, 0, 2, 9)] == [
        ["a", "b", "c"], [], ["b", "c"], ["a", "b", "c"],
    ]  # fmt: skip
    assert await view.get_recent_messages(7, "unknown") == []
    with pytest.raises(InvalidError):
        await recent(-1)


async def test_clearing_removes_messages_and_keeps_metadata(view: RecoveryView[Async]) -> None:
    await fill(view, *"abc")
    await view.update_metadata(7, "s1", "topic", {"cats": True})
    await view.update_metadata(7, "s1", "gone", 1)
    await view.update_metadata(7, "s1", "gone", DELETE)

    assert await view.clear_messages(7, "s1") == 3

    found = await view.load_context(7, "s1")
    assert found is not None
    assert (found.messages, found.metadata) == ([], {"topic": {"cats": True}})
    with pytest.raises(NotFoundError):
        await view.clear_messages(7, "unknown")
    with pytest.raises(NotFoundError):
        await view.update_metadata(7, "unknown", "a", 1)


# -- lists and life --------------------------------------------------------------------------------


async def test_sessions_are_listed_the_last_changed_first(
    store: Store, view: RecoveryView[Async], clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    for number, name in enumerate("abc"):
        clock.set(START + number * DAY)
        await view.recover_session(7, name, f"type {name}")
        await view.append_message(7, name, user(f"last {name}"))
    await view.recover_session(8, "other")
    await store.recovery("elsewhere").recover_session(7, "other")

    found = await view.list_sessions(7)

    assert found[0] == SessionSummary("c", "type c", "last c", START + 2 * DAY)
    assert [one.session_id for one in found] == ["c", "b", "a"]
    assert [one.session_id for one in await view.list_sessions(7, 2)] == ["c", "b"]
    assert len(await view.list_sessions("7", None)) == 3
    assert await view.list_sessions(7, 0) == []
    with pytest.raises(InvalidError):
        await view.list_sessions(7, -1)


async def test_a_session_is_deleted_once_and_only_by_its_user(view: RecoveryView[Async]) -> None:
    await fill(view, "a")

    assert await view.delete_session(8, "s1") is False
    assert await view.delete_session(7, "s1") is True
    assert await view.delete_session(7, "s1") is False
    assert await view.load_context(7, "s1") is None


async def test_what_nobody_has_written_to_is_cleaned_up(
    store: Store, view: RecoveryView[Async], clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    clock.set(START)
    for owner in (7, 8):
        await view.recover_session(owner, "old")
    await store.recovery("elsewhere").recover_session(7, "old")
    clock.set(START + 20 * DAY)
    await view.recover_session(7, "young")
    clock.set(START + 31 * DAY)

    assert await view.cleanup_expired(31) == 0
    assert await view.cleanup_expired(30) == 2

    assert [one.session_id for one in await view.list_sessions(7)] == ["young"]
    assert await store.sessions.count() == 2
    assert await view.cleanup_expired(30) == 0
    for wrong in (0, -1, 1.5):
        with pytest.raises(InvalidError, match="retention_days"):
            await view.cleanup_expired(wrong)  # type: ignore[arg-type]


async def test_more_old_sessions_than_a_page_are_cleaned_up(
    store: Store, view: RecoveryView[Async], clock: FixedClock
) -> None:
    async with store.turn() as turn:
        for number in range(450):
            turn.sessions.create("memos", f"user {number % 7}", f"s{number}")
    clock.advance(2 * DAY)

    assert await view.cleanup_expired(1) == 450
    assert await store.sessions.count() == 0


async def test_held_sessions_stay_and_are_looked_at_once_in_a_cleaning_up(
    store: Store, view: RecoveryView[Async], clock: FixedClock
) -> None:
    for name in ("held", "old"):
        await store.sessions.create("memos", "ada", name)
    await store.sessions.hold(SessionKey("memos", "ada", "held"), by="legal", reason="a case")
    clock.advance(2 * DAY)
    async with store.turn() as turn:
        for number in range(250):
            turn.sessions.create("memos", "ada", f"young{number}")

    # More than a page: it is asked for the next one, and not for the same again.
    assert await asyncio.wait_for(view.cleanup_expired(1), 60) == 1
    assert await store.sessions.count() == 251
