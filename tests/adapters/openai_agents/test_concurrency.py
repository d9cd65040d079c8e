"""Tasks, threads and loops, and writes whose task is cancelled."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

pytest.importorskip("agents.memory", reason="needs openai-agents: see .ci/adapters")

from perdure import InvalidError
from perdure.adapters.openai_agents import PerdureSession
from tests.adapters.openai_agents.making import texts, user

pytestmark = pytest.mark.filterwarnings("default")


def numbered(n: int) -> list[Any]:
    return [user(f"message {number}") for number in range(n)]


def test_one_object_serves_several_runs_of_asyncio(url: str) -> None:
    with PerdureSession("chat", url) as session:
        for number in range(3):
            asyncio.run(session.add_items([user(f"message {number}")]))
        assert asyncio.run(session.get_items()) == numbered(3)
        assert asyncio.run(session.pop_item()) == user("message 2")


def test_one_object_serves_several_threads_each_with_its_loop(url: str) -> None:
    async def added(session: PerdureSession, name: int) -> None:
        for number in range(10):
            await session.add_items([user(f"{name} {number}")])

    with PerdureSession("chat", url) as session:
        work = [
            threading.Thread(target=lambda name=name: asyncio.run(added(session, name)))
            for name in range(6)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        found = texts(asyncio.run(session.get_items()))

    for name in range(6):
        own = [text for text in found if text.startswith(f"{name} ")]
        assert own == [f"{name} {number}" for number in range(10)]


async def test_the_items_of_one_call_stay_together_among_many(session: Any) -> None:
    batches = [[user(f"{name} {number}") for number in range(5)] for name in range(40)]

    await asyncio.gather(*[session.add_items(batch) for batch in batches])

    found = await session.get_items()
    assert sorted(texts(found)) == sorted(texts([item for batch in batches for item in batch]))
    assert [found[n : n + 5] in batches for n in range(0, 200, 5)] == [True] * 40


@pytest.mark.parametrize("call", ["add", "pop", "clear", "branch", "replace"])
async def test_a_write_whose_task_is_cancelled_has_ended_when_the_task_has(
    session: Any, call: str
) -> None:
    await session.add_items(numbered(2))
    calls: dict[str, Any] = {
        "add": lambda: session.add_items([user("late")]),
        "pop": session.pop_item,
        "clear": session.clear_session,
        "branch": lambda: session.create_branch_from_turn(2),
        "replace": lambda: session._atomic_replace_items([user("late")]),
    }
    task = asyncio.create_task(calls[call]())
    await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        await task

    after = texts(await session.get_items())
    assert after == texts(await session.get_items())
    done = {
        "add": ["message 0", "message 1", "late"],
        "pop": ["message 0"],
        "clear": [],
        "branch": ["message 0"],
        "replace": ["late"],
    }
    # It had been handed over when it was cancelled, so it was done.
    assert after == done[call]


async def test_the_first_write_of_a_session_is_made_whole_though_its_task_is_cancelled(
    session: Any,
) -> None:
    async def add() -> None:
        for item in numbered(10_000):
            await session.add_items([item])

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(add(), 0.0001)

    found = texts(await session.get_items())
    assert found
    assert found == texts(numbered(len(found)))


async def test_who_is_cancelled_before_the_write_has_begun_writes_nothing(session: Any) -> None:
    task = asyncio.create_task(session.add_items([user("never")]))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await session.get_items() == []


async def test_a_failure_after_a_cancellation_is_not_told_of_twice(session: Any) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    task = asyncio.create_task(session.add_items([{"role": "user", "content": object()}]))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises((asyncio.CancelledError, InvalidError)):
        await task

    await asyncio.sleep(0.01)
    assert told == []
