"""What agents change of messages they hold, and what others do to these meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("strands", reason="needs strands-agents: see .ci/adapters")

import perdure
from perdure import NewEvent, SessionKey
from perdure.adapters.strands import PerdureSessionManager, PerdureSessionRepository
from tests.adapters.strands.making import agent, texts

pytestmark = pytest.mark.filterwarnings("default")
KEY = SessionKey("", "", "s")
Opening = Callable[..., PerdureSessionManager]


@pytest.fixture
def store(url: str) -> Iterator[perdure.SyncStore]:
    with perdure.open_sync(url) as opened:
        yield opened


@pytest.fixture
def opening(store: perdure.SyncStore) -> Opening:
    """Managers of one store: each call is another process as far as they know."""
    return lambda name="s": PerdureSessionManager(name, store)


def user(text: str) -> Any:
    return {"role": "user", "content": [{"text": text}]}


def seen(manager: PerdureSessionManager) -> list[str]:
    """What an agent that begins now has in its memory."""
    return texts(agent(manager).messages)


# -- redacted and shortened ------------------------------------------------------------------


def test_what_one_has_redacted_another_does_not_bring_back_by_shortening_it(
    store: perdure.SyncStore, opening: Opening
) -> None:
    first = opening()
    one = agent(first)
    first.append_message(user("the password is hunter2, said at length"), one)
    second = opening()
    two = agent(second)

    first.redact_latest_message(user("[redacted]"), one)
    two.messages[0]["content"][0]["text"] = "the password is hunter2 …"
    second.sync_changes(two)

    assert seen(opening()) == ["[redacted]"]
    assert not [line for line in store.export_user("", "") if "hunter2" in line]


def test_a_fork_does_not_show_what_was_shortened_of_what_is_redacted(opening: Opening) -> None:
    first = opening()
    one = agent(first)
    one.messages.append(user("the password is hunter2, said at length"))
    first.append_message(one.messages[0], one)
    one.messages[0]["content"][0]["text"] = "the password is hunter2 …"
    first.sync_changes(one)
    repository: Any = first.session_repository
    repository.store.sessions.fork(KEY, id="fork")
    assert seen(opening("fork")) == ["the password is hunter2 …"]

    first.redact_latest_message(user("[redacted]"), one)

    assert seen(opening("fork")) == ["[redacted]"]


def test_what_is_shortened_again_by_two_stays_short(opening: Opening) -> None:
    first = opening()
    one = agent(first)
    first.append_message(user("long " * 10), one)
    second, third = opening(), opening()
    two, three = agent(second), agent(third)

    two.messages[0]["content"][0]["text"] = "shorter"
    second.sync_changes(two)
    three.messages[0]["content"][0]["text"] = "short"
    third.sync_changes(three)
    fourth = opening()
    four = agent(fourth)
    assert texts(four.messages) == ["short"]
    four.messages[0]["content"][0]["text"] = "s"
    fourth.sync_changes(four)

    assert seen(opening()) == ["s"]


def test_what_is_no_longer_held_is_no_longer_remembered(opening: Opening) -> None:
    manager = opening()
    one = agent(manager)
    for number in range(3):
        one.messages.append(user(f"{number}"))
        manager.append_message(one.messages[-1], one)
    del one.messages[:2]

    manager.sync_agent(one)
    manager.sync_changes(one)

    assert len(manager._known["a"]) == 1


# -- messages of another framework -----------------------------------------------------------


def test_a_message_of_another_framework_is_redacted_where_it_stands(
    store: perdure.SyncStore, opening: Opening
) -> None:
    store.sessions.create(*KEY)
    said = [("user", "secret"), ("assistant", "Yes?"), ("user", "Nothing.")]
    store.events.append(KEY, *({"role": role, "content": text} for role, text in said))
    repository = opening().session_repository
    agent(opening())
    gone = repository.list_messages("s", "a")[0]
    gone.redact_message = user("[redacted]")

    repository.update_message("s", "a", gone)

    assert seen(opening()) == ["[redacted]", "Yes?", "Nothing."]
    assert [event.text for event in store.events.read(KEY)] == ["[redacted]", "Yes?", "Nothing."]


def test_a_message_made_from_several_events_is_redacted_in_all_of_them(
    store: perdure.SyncStore, opening: Opening
) -> None:
    store.sessions.create(*KEY)
    calls = [
        {"id": one, "type": "function", "function": {"name": "look", "arguments": "{}"}}
        for one in ("c1", "c2")
    ]
    store.events.append(
        KEY,
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "secret one"},
        {"role": "tool", "tool_call_id": "c2", "content": "secret two"},
    )
    manager = opening()
    one = agent(manager)
    assert len(one.messages) == 3

    manager.redact_latest_message(user("[redacted]"), one)

    messages = manager.session_repository.list_messages("s", "a")
    assert [one.message_id for one in messages] == [0, 1, 2]
    assert texts([messages[2].to_message()]) == ["[redacted]"]
    assert "secret" not in str(store.events.read(KEY))


def test_two_messages_of_one_number_are_changed_each_for_itself(
    store: perdure.SyncStore, opening: Opening
) -> None:
    store.sessions.create(*KEY)
    first = opening()
    one = agent(first)
    store.events.append(KEY, NewEvent({"role": "user", "content": "Said elsewhere, at length."}))
    # It does not know of that one, and counts from its own memory.
    first.append_message(user("Said here."), one)
    second = opening()
    two = agent(second)
    numbers = [one.message_id for one in second.session_repository.list_messages("s", "a")]
    assert numbers == [0, 0]

    second.sync_changes(two)
    assert seen(opening()) == ["Said elsewhere, at length.", "Said here."]
    two.messages[0]["content"][0]["text"] = "Said elsewhere …"
    second.sync_changes(two)

    assert seen(opening()) == ["Said elsewhere …", "Said here."]


# -- cancelled -------------------------------------------------------------------------------


class Slow(PerdureSessionRepository):
    """A repository whose disk is slow once."""

    slow = True

    def create_message(self, *args: Any, **kwargs: Any) -> None:
        if self.slow:
            self.slow = False
            time.sleep(0.6)
        super().create_message(*args, **kwargs)


async def cancelled_and_asked_again(store: perdure.SyncStore, opening: Opening) -> list[str]:
    manager = opening()
    manager.session_repository = Slow(store)
    one = agent(manager, "First.", "Second.")
    asking = asyncio.create_task(one.invoke_async("one"))
    await asyncio.sleep(0.1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await one.invoke_async("two")
    return texts(one.messages)


def test_a_message_whose_run_is_cancelled_is_stored_before_the_next(
    store: perdure.SyncStore, opening: Opening
) -> None:
    held = asyncio.run(cancelled_and_asked_again(store, opening))

    assert held == ["one", "two", "First."]
    assert seen(opening()) == held


def test_a_message_that_waits_for_a_thread_is_stored_though_its_run_is_cancelled(
    store: perdure.SyncStore, opening: Opening
) -> None:
    async def run() -> list[str]:
        # One thread, and it is busy: the write has not begun when its run is cancelled.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        busy = asyncio.create_task(asyncio.to_thread(time.sleep, 0.3))
        await asyncio.sleep(0)
        held = await cancelled_and_asked_again(store, opening)
        await busy
        return held

    assert asyncio.run(run()) == ["one", "two", "First."]
    assert seen(opening()) == ["one", "two", "First."]
