"""The SDK's compaction over our sessions: suffixes and whole histories, replaced atomically."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("agents.memory", reason="needs openai-agents: see .ci/adapters")

from agents import RunConfig, Runner
from agents.memory import OpenAIResponsesCompactionSession, SQLiteSession

from perdure import NewEvent
from perdure.adapters.openai_agents import PerdureSession
from tests.adapters.openai_agents.making import agent, said, texts, user

pytestmark = pytest.mark.filterwarnings("default")

SUMMARY = {"type": "compaction", "id": "cmp_1", "encrypted_content": "summary"}


def compacting(session: Any, *output: Any, **options: Any) -> Any:
    """Their wrapper, with a client that answers so, or does what it is given first."""
    before = options.pop("before", None)
    asked: list[Any] = []

    async def compact(**told: Any) -> Any:
        asked.append(told)
        if before is not None:
            await before()
        return SimpleNamespace(output=list(output), usage=None)

    client: Any = SimpleNamespace(responses=SimpleNamespace(compact=compact))
    wrapped = OpenAIResponsesCompactionSession(
        session.session_id, session, client=client, compaction_mode="input",
        should_trigger_compaction=options.pop("due", lambda _: True), **options,
    )  # fmt: skip
    return wrapped, asked


async def run(session: Any, *, streamed: bool = False, limit: int | None = None) -> None:
    config = RunConfig(session_settings={"limit": limit} if limit else None)
    helper = agent("done")
    if not streamed:
        await Runner.run(helper, "continue", session=session, run_config=config)
        return
    result = Runner.run_streamed(helper, "continue", session=session, run_config=config)
    async for _ in result.stream_events():
        pass


def old(n: int = 4) -> list[Any]:
    return [user(f"old {number}") for number in range(n)]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_run_that_saw_part_of_the_history_compacts_that_part(
    session: PerdureSession, streamed: bool
) -> None:
    await session.add_items(old())
    wrapped, asked = compacting(session, SUMMARY)

    await run(wrapped, streamed=streamed, limit=1)

    assert await session.get_items() == [*old(3), SUMMARY]
    assert texts(asked[0]["input"])[:2] == ["old 3", "continue"]


async def test_a_run_that_saw_everything_compacts_everything(session: PerdureSession) -> None:
    await session.add_items(old())
    wrapped, _ = compacting(session, SUMMARY)

    await run(wrapped)

    assert await session.get_items() == [SUMMARY]


async def test_what_was_compacted_can_still_be_read_in_the_store(session: PerdureSession) -> None:
    await session.add_items(old())
    wrapped, _ = compacting(session, SUMMARY)

    await run(wrapped)

    kept = await session.store.events.read(session.key, all_lines=True)
    assert [event.text for event in kept if event.role == "user"] == [
        *[f"old {number}" for number in range(4)],
        "continue",
    ]


async def test_what_another_adds_meanwhile_makes_the_compaction_stand_back(
    session: PerdureSession,
) -> None:
    await session.add_items(old())
    newer = user("newer")
    wrapped, _ = compacting(session, SUMMARY, before=lambda: session.add_items([newer]))

    await run(wrapped, limit=1)

    found = await session.get_items()
    assert found[:4] == old()
    assert (found[4], found[-1]) == (user("continue"), newer)
    assert SUMMARY not in found


async def test_a_title_given_meanwhile_does_not(session: PerdureSession) -> None:
    await session.add_items(old())
    wrapped, _ = compacting(session, SUMMARY, before=lambda: session.describe(title="new"))

    await run(wrapped)

    assert await session.get_items() == [SUMMARY]


@pytest.mark.parametrize("complete", [True, False])
async def test_a_failing_compaction_leaves_the_history(
    session: PerdureSession, complete: bool
) -> None:
    await session.add_items(old())
    unstorable = {"type": "compaction", "id": "cmp", "encrypted_content": object()}
    wrapped, _ = compacting(session, unstorable)

    with pytest.raises(Exception, match="encrypted_content"):
        await run(wrapped, limit=None if complete else 1)

    assert texts(await session.get_items())[:5] == [*texts(old()), "continue"]


async def test_a_compaction_by_hand_replaces_everything(session: PerdureSession) -> None:
    await session.add_items([*old(), said("an answer")])
    wrapped, asked = compacting(session, SUMMARY)

    await wrapped.run_compaction({"force": True})

    assert await session.get_items() == [SUMMARY]
    assert len(asked[0]["input"]) == 5


async def test_what_the_hook_declines_is_not_compacted(session: PerdureSession) -> None:
    await session.add_items(old())
    wrapped, asked = compacting(session, SUMMARY, due=lambda _: False)

    await run(wrapped)

    assert asked == []
    assert len(await session.get_items()) == 6


async def test_a_cancelled_replacement_has_ended_before_the_next_add(
    session: PerdureSession,
) -> None:
    await session.add_items(old())
    seen = await session._get_compaction_snapshot(10)
    assert seen is not None
    task: asyncio.Task[bool] = asyncio.create_task(seen.replace_suffix(2, [SUMMARY]))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await session.add_items([user("newer")])
    assert await session.get_items() in (
        [*old(2), SUMMARY, user("newer")],
        [*old(), user("newer")],
    )


# -- the hook itself -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "complete"), [(1, False), (3, False), (4, True), (5, True), (100, True)]
)
async def test_a_snapshot_knows_whether_it_is_everything(
    session: PerdureSession, limit: int, complete: bool
) -> None:
    await session.add_items(old())

    seen = await session._get_compaction_snapshot(limit)

    assert seen is not None
    assert (seen.items, seen.complete) == (old()[-limit:], complete)


async def test_of_nothing_nothing_is_replaced(session: PerdureSession) -> None:
    seen = await session._get_compaction_snapshot(3)
    assert seen is not None
    assert (seen.items, seen.complete) == ([], True)
    assert await seen.replace_suffix(0, [SUMMARY]) is False
    assert await session.get_items() == []


async def test_a_snapshot_replaces_once(session: PerdureSession) -> None:
    await session.add_items(old())
    seen = await session._get_compaction_snapshot(3)
    assert seen is not None

    assert await seen.replace_suffix(1, [SUMMARY]) is True
    assert await seen.replace_suffix(1, [user("again")]) is False
    assert await session.get_items() == [*old(2), SUMMARY]


async def test_an_equal_item_put_in_the_place_of_another_is_another(
    session: PerdureSession,
) -> None:
    await session.add_items(old())
    seen = await session._get_compaction_snapshot(2)
    assert seen is not None
    popped = await session.pop_item()
    await session.add_items([popped])

    assert await seen.replace_suffix(0, [SUMMARY]) is False


async def test_what_may_go_before_the_suffix_goes_with_it(session: PerdureSession) -> None:
    await session.add_items([*old(700), user("live 1"), user("live 2")])

    def expired(item: Any) -> bool:
        return bool(item["content"].startswith("old"))

    seen = await session._get_compaction_snapshot(1, prune_prefix=expired)
    assert seen is not None
    assert await seen.replace_suffix(0, [SUMMARY]) is True

    assert await session.get_items() == [user("live 1"), SUMMARY]


async def test_a_prefix_stays_from_the_first_item_on_that_may_not_go(
    session: PerdureSession,
) -> None:
    await session.add_items([user("old 0"), user("live"), user("old 1"), user("end")])

    seen = await session._get_compaction_snapshot(
        1, prune_prefix=lambda item: bool(item["content"].startswith("old"))
    )
    assert seen is not None
    assert await seen.replace_suffix(0, []) is True

    assert texts(await session.get_items()) == ["live", "old 1"]


async def test_everything_may_go(session: PerdureSession) -> None:
    await session.add_items(old())
    seen = await session._get_compaction_snapshot(1, prune_prefix=lambda _: True)
    assert seen is not None

    assert await seen.replace_suffix(0, []) is True

    assert await session.get_items() == []
    await session.add_items([user("anew")])
    assert await session.get_items() == [user("anew")]


async def test_all_items_are_replaced_in_one_transaction(session: PerdureSession) -> None:
    assert await session._atomic_replace_items([user("first")]) is True
    await session.add_items(old())

    assert await session._atomic_replace_items([SUMMARY, user("kept")]) is True
    assert await session.get_items() == [SUMMARY, user("kept")]

    assert await session._atomic_replace_items([]) is True
    assert await session.get_items() == []


async def test_what_json_of_python_holds_may_be_the_replacement(session: PerdureSession) -> None:
    odd = {"role": "assistant", "content": "half an emoji: \ud83c"}
    await session._atomic_replace_items([user("first"), odd])
    assert await session.get_items() == [user("first"), odd]

    seen = await session._get_compaction_snapshot(1)
    assert seen is not None
    assert await seen.replace_suffix(0, [odd, odd]) is True
    assert await session.get_items() == [user("first"), odd, odd]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_compaction_leaves_the_state_of_the_session_as_it_is(
    session: PerdureSession, whole: bool
) -> None:
    state = session.store.state
    await session.add_items(old())
    await state.set(session.key, {"cart": 1, "gone": 1})
    # As another framework does it, with an event.
    await session.store.events.append(session.key, NewEvent(None, state_delta={"step": "asked"}))
    await session.add_items([user("More.")])
    await state.set(session.key, {"cart": 2})
    await state.delete(session.key, "gone")
    wrapped, _ = compacting(session, SUMMARY)

    if whole:
        await wrapped.run_compaction({"force": True})
    else:
        await run(wrapped, limit=2)

    assert (await session.get_items())[-1] == SUMMARY
    assert await state.merged(session.key) == {"cart": 2, "step": "asked"}


class Shouting(PerdureSession):
    """Changes what is read: the hooks would go past that."""

    async def get_items(self, limit: int | None = None, **told: Any) -> list[Any]:  # type: ignore[override]
        """All of it, loudly."""
        return [
            {**item, "content": item["content"].upper()}
            for item in await super().get_items(limit, **told)
        ]


async def test_a_subclass_that_changes_items_is_not_replaced_behind_its_back(
    sessions: Any,
) -> None:
    session = Shouting("chat", sessions.store)
    await session.add_items(old(1))

    assert await session._get_compaction_snapshot(3) is None
    assert await session._atomic_replace_items([SUMMARY]) is False
    assert texts(await session.get_items()) == ["OLD 0"]


async def test_theirs_and_ours_compact_to_the_same(session: PerdureSession) -> None:
    theirs = SQLiteSession("theirs")
    found = []
    for one in (session, theirs):
        await one.add_items(old())
        wrapped, _ = compacting(one, SUMMARY, said("tail"))
        await run(wrapped, limit=2)
        found.append(await one.get_items())

    assert found[0] == found[1]
