"""`store.history`: messages and a summary a key, in the manner of PicoClaw's store."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    ClosedError,
    History,
    HistoryView,
    InvalidError,
    NewEvent,
    SessionKey,
    Store,
    TooLargeError,
)
from perdure.operation import Async
from perdure.testing.clocks import FixedClock
from perdure.testing.databases import Dump, OpenStore, Reopen

START = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "telegram:42/general"
WHOLE: list[dict[str, Any]] = [
    {"role": "user", "content": "What is in the picture?", "media": ["media://1"]},
    {
        "role": "assistant",
        "content": "",
        "reasoning_content": "I have to look.",
        "tool_calls": [
            {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"n": 1}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "t1", "content": "a cat", "system_parts": [{"type": "x"}]},
    {"role": "assistant", "content": "A cat.", "unknown": {"kept": None}},
]


@pytest.fixture
def view(store: Store) -> HistoryView[Async]:
    return store.history()


async def add(view: HistoryView[Async], *texts: str, key: str = KEY) -> list[int]:
    return [await view.add_message(key, "user", text) for text in texts]


async def told(view: HistoryView[Async], key: str = KEY) -> list[Any]:
    return [message["content"] for message in await view.get_history(key)]


async def test_reading_an_unknown_key_gives_nothing_and_makes_nothing(
    view: HistoryView[Async], dump: Dump
) -> None:
    before = await dump()

    assert await view.get_history(KEY) == []
    assert await view.get_summary(KEY) == ""
    await view.truncate_history(KEY, 0)
    await view.save(KEY)
    assert await view.compact(KEY) == 0
    assert await dump() == before


async def test_writing_makes_the_session_under_the_views_app_and_user(store: Store) -> None:
    views = [store.history(), store.history("app", "ada"), store.history("app", "eve")]
    for number, view in enumerate(views):
        await add(view, str(number))

    assert [await told(view) for view in views] == [["0"], ["1"], ["2"]]
    assert await store.sessions.find(SessionKey("", "", KEY)) is not None
    assert await store.sessions.find(SessionKey("app", "eve", KEY)) is not None


async def test_a_full_message_comes_back_as_it_was_with_its_calls_and_ids(
    view: HistoryView[Async], reopen: Reopen
) -> None:
    for message in WHOLE:
        await view.add_full_message(KEY, message)

    assert await view.get_history(KEY) == WHOLE
    view = (await reopen()).history()
    assert await view.get_history(KEY) == WHOLE


async def test_keys_that_look_alike_are_different_sessions(view: HistoryView[Async]) -> None:
    keys = ["a:b", "a/b", "a_b", "A:b", "..", "a\\b"]
    for key in keys:
        await add(view, key, key=key)

    assert [await told(view, key) for key in keys] == [[key] for key in keys]


@pytest.mark.parametrize("key", ["", "  ", "nul \0", None, 5])
async def test_what_is_no_key_is_refused(view: HistoryView[Async], key: Any) -> None:
    with pytest.raises(InvalidError):
        await view.get_history(key)
    with pytest.raises(InvalidError):
        await view.add_message(key, "user", "a")


@pytest.mark.parametrize("message", [{}, {"content": "a"}, {"role": 5}, "text", None])
async def test_what_is_no_message_is_refused_and_nothing_made(
    view: HistoryView[Async], message: Any, dump: Dump
) -> None:
    before = await dump()

    with pytest.raises(InvalidError):
        await view.add_full_message(KEY, message)
    with pytest.raises(InvalidError):
        await view.set_history(KEY, [{"role": "user", "content": "a"}, message])
    with pytest.raises(InvalidError):
        await view.set_history(KEY, "text")  # type: ignore[arg-type]
    assert await dump() == before


async def test_get_or_create_gives_the_whole_conversation(
    view: HistoryView[Async], clock: FixedClock
) -> None:
    clock.step = timedelta(0)
    clock.set(START)
    fresh = await view.get_or_create(KEY)
    clock.set(START + timedelta(hours=1))
    await add(view, "a")
    await view.set_summary(KEY, "the story")

    assert fresh == History(
        key=KEY, messages=[], summary="", created=START, updated=START, head_seq=0
    )
    assert await view.get_or_create(KEY) == History(
        key=KEY,
        messages=[{"role": "user", "content": "a"}],
        summary="the story",
        created=START,
        updated=START + timedelta(hours=1),
        head_seq=1,
    )


async def test_what_other_writers_stored_is_shown_as_chat_messages(
    store: Store, view: HistoryView[Async]
) -> None:
    await add(view, "a")
    await store.events.append(
        SessionKey("", "", KEY),
        NewEvent(state_delta={"k": 1}),
        NewEvent({"role": "assistant", "content": [{"type": "text", "text": "b"}]}),
        NewEvent("c", author="user"),
        NewEvent(error="broken"),
    )

    shown = await view.get_history(KEY)
    assert [message["role"] for message in shown] == ["user", "assistant", "user"]
    assert shown[-1] == {"role": "user", "content": "c"}


# -- summary ---------------------------------------------------------------------------------------


async def test_a_summary_is_set_read_and_removed(store: Store, view: HistoryView[Async]) -> None:
    await view.set_summary(KEY, "first")
    await add(view, "a", "b")
    await view.set_summary(KEY, "second", covers_seq=1)

    assert await view.get_summary(KEY) == "second"
    assert (await store.summaries.get(SessionKey("", "", KEY))).covers_seq == 1
    await view.set_summary(KEY, "")
    assert await view.get_summary(KEY) == ""


async def test_summarising_while_others_add_loses_nothing_unsummarised(
    store: Store, view: HistoryView[Async]
) -> None:
    await add(view, *"abcdef")
    before = await view.get_or_create(KEY)
    await add(view, "late")
    summary = " ".join(message["content"] for message in before.messages[:-2])

    await view.set_summary(KEY, summary, covers_seq=4)
    await view.truncate_history(KEY, 2, up_to_seq=before.head_seq)

    assert await view.get_summary(KEY) == "a b c d"
    assert await told(view) == ["e", "f", "late"]
    context = await store.events.context(SessionKey("", "", KEY))
    assert [m["content"] for m in context.messages] == ["a b c d", "e", "f", "late"]


# -- truncating ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "left"), [(2, ["c", "d"]), (0, []), (-1, []), (4, list("abcd")), (9, list("abcd"))]
)
async def test_truncating_keeps_the_last_and_hides_the_rest(
    store: Store, view: HistoryView[Async], keep: int, left: list[str]
) -> None:
    await add(view, *"abcd")

    await view.truncate_history(KEY, keep)

    assert await told(view) == left
    await add(view, "e")
    assert await told(view) == [*left, "e"]
    assert await store.events.count(SessionKey("", "", KEY)) == 5


async def test_what_is_hidden_stays_hidden(store: Store, view: HistoryView[Async]) -> None:
    await add(view, *"abcd")
    await view.truncate_history(KEY, 2)
    await view.truncate_history(KEY, 3)
    assert await told(view) == ["c", "d"]
    await view.truncate_history(KEY, 1)

    assert await told(view) == ["d"]
    assert await told(store.history()) == ["d"]


async def test_only_messages_are_counted(store: Store, view: HistoryView[Async]) -> None:
    for name in "abcd":
        await add(view, name)
        await store.events.append(
            SessionKey("", "", KEY), *[NewEvent(state_delta={"k": n}) for n in range(5)]
        )

    await view.truncate_history(KEY, 2)

    assert await told(view) == ["c", "d"]


async def test_a_call_is_not_hidden_from_its_result(view: HistoryView[Async]) -> None:
    for message in WHOLE:
        await view.add_full_message(KEY, message)

    await view.truncate_history(KEY, 2)

    assert await view.get_history(KEY) == WHOLE[1:]


async def test_up_to_a_seq_counts_from_there(view: HistoryView[Async]) -> None:
    seqs = await add(view, *"abcdef")

    await view.truncate_history(KEY, 0, up_to_seq=seqs[1])
    assert await told(view) == ["c", "d", "e", "f"]
    await view.truncate_history(KEY, 1, up_to_seq=seqs[3])

    assert await told(view) == ["d", "e", "f"]
    with pytest.raises(InvalidError):
        await view.truncate_history(KEY, 1, up_to_seq=-1)
    with pytest.raises(InvalidError):
        await view.truncate_history(KEY, "1")  # type: ignore[arg-type]


async def test_a_fork_hides_what_was_hidden(store: Store, view: HistoryView[Async]) -> None:
    await add(view, *"abcd")
    await view.truncate_history(KEY, 2)

    await store.sessions.fork(SessionKey("", "", KEY), id="fork")

    assert await told(view, "fork") == ["c", "d"]


# -- replacing -------------------------------------------------------------------------------------


async def test_the_history_is_replaced_at_once_and_is_shown_whole(
    view: HistoryView[Async],
) -> None:
    await add(view, *"abcd")
    await view.truncate_history(KEY, 1)
    await view.set_summary(KEY, "the story", covers_seq=3)

    await view.set_history(KEY, WHOLE)

    assert await view.get_history(KEY) == WHOLE
    assert await view.get_summary(KEY) == "the story"
    await view.set_history(KEY, [])
    assert await view.get_history(KEY) == []
    await view.set_history("new", WHOLE)
    assert await view.get_history("new") == WHOLE


async def test_a_history_that_cannot_be_stored_whole_changes_nothing(
    open_store: OpenStore, dump: Dump
) -> None:
    view = (await open_store()).history()
    await add(view, "a")
    before = await dump()

    with pytest.raises(TooLargeError):
        await view.set_history(KEY, [WHOLE[0]] * 10_001)
    assert await dump() == before


async def test_concurrent_adds_are_all_there(view: HistoryView[Async]) -> None:
    await asyncio.gather(*(add(view, f"{n}") for n in range(30)))

    assert sorted(await told(view), key=int) == [f"{n}" for n in range(30)]


# -- saving ----------------------------------------------------------------------------------------


async def test_saving_removes_nothing_unless_the_view_is_opened_so(
    store: Store, view: HistoryView[Async]
) -> None:
    key = SessionKey("", "", KEY)
    await add(view, *"abcd")
    await view.truncate_history(KEY, 1)

    await view.save(KEY)
    assert await store.events.count(key) == 4
    await store.history(compact_on_save=True).save(KEY)

    assert await store.events.count(key, all_lines=True) == 1
    assert await told(view) == ["d"]


async def test_compacting_removes_what_is_not_shown_for_good(
    store: Store, view: HistoryView[Async]
) -> None:
    key = SessionKey("", "", KEY)
    await add(view, *"ab")
    await view.set_history(KEY, [{"role": "user", "content": name} for name in "cdef"])
    await view.truncate_history(KEY, 2)

    assert await view.compact(KEY) == 4
    assert [event.text for event in await store.events.read(key, all_lines=True)] == ["e", "f"]
    assert await view.compact(KEY) == 0
    await add(view, "g")

    assert await told(view) == ["e", "f", "g"]


async def test_a_closed_view_refuses_and_the_store_goes_on(store: Store) -> None:
    view = store.history()
    await add(view, "a")

    await view.close()
    await view.close()

    with pytest.raises(ClosedError):
        await view.get_history(KEY)
    with pytest.raises(ClosedError):
        await add(view, "b")
    assert await told(store.history()) == ["a"]


# -- fire and forget -------------------------------------------------------------------------------


async def test_errors_can_be_logged_instead_of_raised(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store()
    view = store.history(on_error="log")
    await add(view, "a")

    with caplog.at_level(logging.WARNING, "perdure.history"):
        assert await view.add_full_message(KEY, {"content": "no role"}) == 0
        assert await view.get_history("") == []
        assert await view.get_summary("") == ""
        assert (await view.get_or_create("")).messages == []
        await view.truncate_history(KEY, 1, up_to_seq=-1)
        await view.set_history(KEY, [{}])
        await view.save("")

    told_of = [record for record in caplog.records if record.name == "perdure.history"]
    assert len(told_of) == 6
    assert await told(view) == ["a"]
    with pytest.raises(InvalidError, match="on_error"):
        store.history(on_error="ignore")


@pytest.mark.own_engine
async def test_the_views_of_a_closed_store_log_it_too(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store()
    view = store.history(on_error="log")
    async with store:
        await add(view, "a")

    assert await add(view, "b") == [0]
    assert await view.get_history(KEY) == []
    assert "closed" in caplog.text
