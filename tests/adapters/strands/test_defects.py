"""Where strands' own session managers are wrong: what they do, and what is right here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("strands", reason="needs strands-agents: see .ci/adapters")

from strands.agent.conversation_manager import SlidingWindowConversationManager
from strands.session import FileSessionManager, RepositorySessionManager
from strands.types.exceptions import ContextWindowOverflowException

from perdure.adapters.strands import PerdureSessionManager, PerdureSessionRepository
from tests.adapters.strands.making import agent, texts

pytestmark = pytest.mark.filterwarnings("default")

Opening = Callable[..., Any]


@pytest.fixture
def opening(url: str) -> Iterator[Opening]:
    """Managers of one store: each call is another process as far as they know."""
    repository = PerdureSessionRepository(url)
    yield lambda: PerdureSessionManager("s", repository.store)
    repository.close()


@pytest.fixture
def theirs(tmp_path: Path) -> Opening:
    return lambda: FileSessionManager("s", storage_dir=str(tmp_path / "theirs"))


def user(text: str) -> Any:
    return {"role": "user", "content": [{"text": text}]}


# -- two writers -----------------------------------------------------------------------------


def written_by_two(opening: Opening) -> list[str]:
    agent(opening())
    first, second = opening(), opening()
    one, two = agent(first), agent(second)
    for number in range(3):
        first.append_message(user(f"one {number}"), one)
        second.append_message(user(f"two {number}"), two)
    return texts(agent(opening()).messages)


def test_of_two_writers_of_a_session_neither_writes_over_the_other(opening: Opening) -> None:
    assert written_by_two(opening) == ["one 0", "two 0", "one 1", "two 1", "one 2", "two 2"]


def test_theirs_keeps_only_the_messages_of_the_last(theirs: Opening) -> None:
    assert written_by_two(theirs) == ["two 0", "two 1", "two 2"]


# -- the loop --------------------------------------------------------------------------------


class Slow(PerdureSessionRepository):
    """A repository on a slow disk."""

    def create_message(self, *args: Any, **kwargs: Any) -> None:
        time.sleep(0.3)
        super().create_message(*args, **kwargs)


async def longest_pause(made: Any) -> float:
    """The longest time, while the agent answers, in which nothing else ran in the loop."""
    longest, done = 0.0, asyncio.Event()

    async def tick() -> None:
        nonlocal longest
        while not done.is_set():
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - began)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    await made.invoke_async("Hi.")
    done.set()
    await ticking
    return longest


def test_the_loop_goes_on_while_a_message_is_stored(url: str) -> None:
    manager = PerdureSessionManager("s", url)
    slow = Slow(manager.session_repository.store)
    manager.session_repository = slow

    assert asyncio.run(longest_pause(agent(manager, "Hello."))) < 0.25
    assert texts(agent(PerdureSessionManager("s", slow.store)).messages) == ["Hi.", "Hello."]
    manager.close()


def test_theirs_holds_the_loop_up(url: str) -> None:
    repository = Slow(url)

    made = agent(RepositorySessionManager("s", repository), "Hello.")

    assert asyncio.run(longest_pause(made)) >= 0.3
    repository.close()


# -- what the conversation manager does ------------------------------------------------------


def shortened(opening: Opening) -> tuple[str, str]:
    """A long result as the agent sees it, before and after a restart."""
    result = {"toolUseId": "t", "status": "success", "content": [{"text": "x" * 5_000}]}
    messages: Any = [
        user("Look."),
        {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "t", "name": "look", "input": {}}}
        ]},
        {"role": "user", "content": [{"toolResult": result}]},
    ]  # fmt: skip
    window = SlidingWindowConversationManager(window_size=40)
    full = ContextWindowOverflowException("too long")
    one = agent(opening(), full, "I see.", messages=messages, conversation_manager=window)
    one("And?")
    two = agent(opening(), conversation_manager=SlidingWindowConversationManager(window_size=40))
    return _result(one), _result(two)


def _result(one: Any) -> str:
    [result] = [
        block["toolResult"]["content"][0]["text"]
        for message in one.messages
        for block in message["content"]
        if "toolResult" in block
    ]
    return str(result)


def test_a_result_that_was_cut_short_stays_so(opening: Opening) -> None:
    before, after = shortened(opening)

    assert len(before) < 5_000
    assert after == before
    manager = opening()
    events = manager.session_repository.store.events.read(manager.session_repository.key("s"))
    assert "x" * 5_000 in [event.text for event in events]


def test_theirs_is_as_long_as_ever_after_a_restart(theirs: Opening) -> None:
    before, after = shortened(theirs)

    assert len(before) < 5_000
    assert len(after) == 5_000


def pinned(opening: Opening) -> bool:
    one = agent(opening(), "Yes.", "Sure.")
    one("Never forget this.")
    one.messages[0].setdefault("metadata", {})["custom"] = {"pinned": True}
    one("And now?")
    first: Any = agent(opening()).messages[0]
    return bool(first.get("metadata", {}).get("custom", {}).get("pinned"))


def test_a_pin_is_there_after_a_restart(opening: Opening) -> None:
    assert pinned(opening)


def test_theirs_forgets_a_pin(theirs: Opening) -> None:
    assert not pinned(theirs)


# -- redaction -------------------------------------------------------------------------------


def redacted(opening: Opening) -> list[str]:
    answer = ("[the user's words are withheld]", "I cannot say that.")
    agent(opening(), answer)("my password is hunter2")
    return texts(agent(opening()).messages)


def test_what_a_guardrail_redacts_is_gone(opening: Opening) -> None:
    assert redacted(opening) == ["[the user's words are withheld]", "I cannot say that."]

    repository = opening().session_repository
    for event in repository.store.events.read(repository.key("s"), all_lines=True):
        assert "hunter2" not in str(event)
    for line in repository.store.export_user("", ""):
        assert "hunter2" not in line


def test_a_redaction_of_one_message_stored_twice_reaches_both(opening: Opening) -> None:
    manager = opening()
    one = agent(manager)
    said = user("secret")
    manager.append_message(said, one)
    manager.append_message(said, one)
    one.messages.append(said)

    said["content"] = [{"text": "[redacted]"}]
    manager.redact_latest_message(said, one)

    assert texts(agent(opening()).messages) == ["[redacted]", "[redacted]"]


# -- sessions that come to be twice ----------------------------------------------------------


def test_two_may_begin_a_session_at_once(url: str) -> None:
    repository = PerdureSessionRepository(url)

    async def begin() -> list[Any]:
        making = [asyncio.to_thread(PerdureSessionManager, "s", repository.store) for _ in range(8)]
        return await asyncio.gather(*making)

    assert {one.session.session_id for one in asyncio.run(begin())} == {"s"}
    repository.close()
