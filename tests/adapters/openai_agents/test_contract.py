"""The contract of the SDK's `Session`, from its documentation, source and published tests."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents.memory", reason="needs openai-agents: see .ci/adapters")

from agents import Session, SessionSettings
from agents.memory import SessionABC
from agents.memory.session import is_openai_responses_compaction_aware_session

import perdure
from perdure import CorruptError, InvalidError, SessionKey
from perdure.adapters.openai_agents import PerdureSession, SessionClosedError
from tests.adapters.openai_agents.making import called, output, said, texts, user

pytestmark = pytest.mark.filterwarnings("default")

TURN = [user("Where is it?"), called("c1"), output("c1"), said("In London.")]


def numbered(n: int, start: int = 0) -> list[Any]:
    return [user(f"message {number}") for number in range(start, start + n)]


# -- shape -----------------------------------------------------------------------------------


async def test_it_is_a_session_by_protocol_and_not_by_their_base_class(session: Any) -> None:
    assert isinstance(session, Session)
    assert not isinstance(session, SessionABC)
    assert session.session_id == "order-7"
    assert not is_openai_responses_compaction_aware_session(session)


async def test_a_session_that_nobody_wrote_to_is_empty_and_is_not_made_by_reading(
    session: Any,
) -> None:
    assert await session.get_items() == []
    assert await session.get_items(limit=3) == []
    assert await session.pop_item() is None
    await session.clear_session()
    await session.add_items([])

    assert await session.info() is None


# -- items -----------------------------------------------------------------------------------


async def test_items_come_back_equal_and_in_their_order(session: Any) -> None:
    await session.add_items(TURN)

    assert await session.get_items() == TURN


async def test_items_of_several_calls_stand_one_behind_the_other(session: Any) -> None:
    for item in TURN:
        await session.add_items([item])

    assert await session.get_items() == TURN


async def test_what_is_added_is_not_changed_and_what_is_read_is_a_copy(session: Any) -> None:
    item = {"role": "user", "content": [{"type": "input_text", "text": "Hello."}]}
    given = [item]
    await session.add_items(given)
    assert given == [{"role": "user", "content": [{"type": "input_text", "text": "Hello."}]}]

    item["content"] = "changed"
    found = await session.get_items()
    found[0]["content"] = "changed too"
    assert (await session.get_items())[0]["content"] == [{"type": "input_text", "text": "Hello."}]


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": "easy input"},
        {"role": "developer", "content": "Be brief.", "type": "message"},
        {"role": "system", "content": ""},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"q": "x"}},
        {"type": "mcp_approval_request", "id": "mcpr_1", "name": "n", "arguments": "{}"},
        {"type": "item_reference", "id": "msg_1"},
        {
            "role": "user",
            "content": [{"type": "input_image", "image_url": "data:image/png;base64,"}],
        },
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"type": "a_type_of_tomorrow", "nested": {"deep": [1, None, True, {}]}},
        {"of": "no known shape"},
        {"role": "user", "content": "日本語 🎉 Ünïcödé \u0000 \\u0041"},
        {"role": "user", "content": "'; DROP TABLE agent_messages; --", "x": '"quoted"'},
        {"role": "user", "content": "numbers", "n": [2**70, -0.0, 1e-9, 1.0]},
        {"role": "user", "content": "x" * 1_000_000},
    ],
)
async def test_any_item_comes_back_as_it_was(session: Any, item: Any) -> None:
    await session.add_items([item])

    assert await session.get_items() == [item]
    assert await session.pop_item() == item


@pytest.mark.parametrize(
    "item",
    [
        {"role": "assistant", "content": "half an emoji: \ud83c"},
        {"role": "user", "content": "no number", "score": math.inf},
        {"role": "user", "content": "deep", "x": eval("[" * 90 + "]" * 90)},
        {"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": "gAAAAAB"},
    ],
)
async def test_what_json_of_python_holds_is_stored_though_perdure_would_refuse_it(
    session: Any, item: Any
) -> None:
    await session.add_items([user("before"), item])

    assert await session.get_items() == [user("before"), item]
    assert await session.pop_item() == item


async def test_a_key_that_is_a_number_becomes_text_as_with_theirs(session: Any) -> None:
    await session.add_items([{"role": "user", "content": "x", "votes": {1: "yes"}}])

    assert await session.get_items() == [{"role": "user", "content": "x", "votes": {"1": "yes"}}]


async def test_if_one_item_cannot_be_stored_none_is_and_the_session_goes_on(session: Any) -> None:
    await session.add_items([user("first")])

    with pytest.raises(InvalidError):
        await session.add_items([user("second"), {"role": "user", "content": object()}])

    assert await session.get_items() == [user("first")]
    await session.add_items([user("third")])
    assert texts(await session.get_items()) == ["first", "third"]


async def test_the_id_of_an_item_may_repeat(session: Any) -> None:
    same = [said("one", "fake_id"), said("two", "fake_id"), said("two", "fake_id")]
    await session.add_items(same)
    await session.add_items(same)

    assert await session.get_items() == same * 2


async def test_more_items_than_the_store_takes_in_one_append(sessions: Any) -> None:
    session = sessions.session("long")
    items = numbered(10_001)

    await session.add_items(items)

    assert await session.get_items() == items


async def test_a_generator_of_items_is_taken_once(session: Any) -> None:
    await session.add_items(item for item in TURN)

    assert await session.get_items() == TURN


# -- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "found"),
    [(None, 6), (2, 2), (6, 6), (99, 6), (1, 1), (0, 0), (-1, 6), (2**31 - 1, 6)],
)
async def test_a_limit_gives_the_last_items_in_their_order(
    session: Any, limit: int | None, found: int
) -> None:
    items = numbered(6)
    await session.add_items(items)

    assert await session.get_items(limit=limit) == items[6 - found :]
    assert await session.get_items(limit) == items[6 - found :]


@pytest.mark.parametrize(
    ("settings", "limit", "found"),
    [
        ({"limit": 2}, None, 2),
        ({"limit": 2}, 4, 4),
        ({"limit": 2}, 0, 0),
        ({"limit": 0}, None, 0),
        ({"limit": -1}, None, 6),
        ({"limit": None}, None, 6),
        ({}, None, 6),
        (None, None, 6),
    ],
)
@pytest.mark.parametrize("typed", [True, False])
async def test_without_a_limit_that_of_the_settings_counts(
    sessions: Any, settings: Any, limit: int | None, found: int, typed: bool
) -> None:
    if typed and settings is not None:
        settings = SessionSettings(**settings)
    session = PerdureSession("s", sessions.store, session_settings=settings)
    items = numbered(6)
    await session.add_items(items)

    assert await session.get_items(limit) == items[6 - found :]


async def test_settings_are_there_unless_given_and_may_be_changed(session: Any) -> None:
    assert session.session_settings == SessionSettings()
    await session.add_items(numbered(4))

    session.session_settings = SessionSettings(limit=1)
    assert texts(await session.get_items()) == ["message 3"]
    session.session_settings = None
    assert len(await session.get_items()) == 4


async def test_settings_with_an_unknown_field_are_refused(sessions: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        PerdureSession("s", sessions.store, session_settings={"limits": 3})


# -- pop -------------------------------------------------------------------------------------


async def test_pop_takes_the_newest_item_off_until_there_is_none(session: Any) -> None:
    await session.add_items(TURN)

    popped = [await session.pop_item() for _ in range(5)]

    assert popped == [*TURN[::-1], None]
    assert await session.get_items() == []


async def test_after_a_pop_the_next_item_stands_where_the_popped_one_did(session: Any) -> None:
    await session.add_items(numbered(3))
    await session.pop_item()
    await session.add_items([user("instead")])

    assert texts(await session.get_items()) == ["message 0", "message 1", "instead"]


async def test_of_many_pops_at_once_each_gets_another_item(session: Any) -> None:
    items = numbered(30)
    await session.add_items(items)

    popped = await asyncio.gather(*[session.pop_item() for _ in range(40)])

    found = sorted(texts([item for item in popped if item is not None]))
    assert found == sorted(texts(items))
    assert popped.count(None) == 10


async def test_pops_among_adds_lose_and_double_nothing(session: Any) -> None:
    adds = [session.add_items([user(f"message {n}")]) for n in range(40)]

    done = await asyncio.gather(*adds, *[session.pop_item() for _ in range(20)])

    popped = [item for item in done if item is not None]
    left = await session.get_items()
    assert sorted(texts([*popped, *left])) == sorted(f"message {n}" for n in range(40))


async def test_pops_reach_their_own_session_only(sessions: Any) -> None:
    one, other = sessions.session("one"), sessions.session("other")
    await one.add_items([user("in one")])
    await other.add_items([user("in other")])

    assert await one.pop_item() == user("in one")
    assert await one.pop_item() is None
    assert await other.get_items() == [user("in other")]


# -- clear -----------------------------------------------------------------------------------


async def test_a_cleared_session_is_empty_and_can_be_used_again(session: Any) -> None:
    await session.add_items(TURN)
    await session.clear_session()
    assert await session.get_items() == []

    await session.clear_session()
    await session.add_items([user("anew")])
    assert await session.get_items() == [user("anew")]


async def test_clearing_removes_for_good_what_was_popped_too(sessions: Any) -> None:
    session = sessions.session("s")
    await session.add_items([user("secret one"), user("secret two")])
    await session.pop_item()

    await session.clear_session()

    assert await sessions.store.events.read(session.key, all_lines=True) == []
    assert await sessions.search("secret") == []


async def test_clearing_leaves_other_sessions_alone(sessions: Any) -> None:
    one, other = sessions.session("one"), sessions.session("other")
    await one.add_items([user("in one")])
    await other.add_items([user("in other")])

    await one.clear_session()

    assert await other.get_items() == [user("in other")]


# -- whose -----------------------------------------------------------------------------------


async def test_sessions_of_one_id_and_other_users_are_apart(sessions: Any) -> None:
    ada, bob = sessions.session("chat"), sessions.session("chat", user="bob")
    await ada.add_items([user("from ada")])
    await bob.add_items([user("from bob")])

    assert await ada.get_items() == [user("from ada")]
    assert await bob.get_items() == [user("from bob")]


async def test_two_objects_of_one_session_see_the_same(sessions: Any) -> None:
    first, second = sessions.session("chat"), sessions.session("chat")
    await first.add_items([user("one")])
    await second.add_items([user("two")])
    assert texts(await first.get_items()) == ["one", "two"]

    assert await first.pop_item() == user("two")
    assert texts(await second.get_items()) == ["one"]


async def test_a_session_that_was_deleted_elsewhere_begins_anew(sessions: Any) -> None:
    session = sessions.session("chat")
    await session.add_items([user("old")])
    await sessions.delete("chat")
    assert await session.get_items() == []

    await session.add_items([user("new")])
    assert await session.get_items() == [user("new")]


# -- opening and closing ---------------------------------------------------------------------


async def test_what_was_added_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "chats.db"
    with PerdureSession("chat", path) as session:
        await session.add_items(TURN)
    async with PerdureSession("chat", f"sqlite:///{path}") as session:
        assert await session.get_items() == TURN


async def test_without_a_place_it_is_in_memory_and_apart() -> None:
    with PerdureSession("chat") as one, PerdureSession("chat", ":memory:") as other:
        await one.add_items([user("x")])
        assert await other.get_items() == []


CLOSED: dict[str, Any] = {
    "get_items": lambda session: session.get_items(),
    "add_items": lambda session: session.add_items([user("x")]),
    "add nothing": lambda session: session.add_items([]),
    "pop_item": lambda session: session.pop_item(),
    "clear_session": lambda session: session.clear_session(),
    "list_branches": lambda session: session.list_branches(),
    "describe": lambda session: session.describe(title="x"),
    "snapshot": lambda session: session._get_compaction_snapshot(3),
    "replace": lambda session: session._atomic_replace_items([]),
}


@pytest.mark.parametrize("call", CLOSED)
async def test_a_closed_session_refuses_everything(sessions: Any, call: str) -> None:
    session = sessions.session("chat")
    await session.add_items([user("x")])
    session.close()
    session.close()

    with pytest.raises(SessionClosedError, match=r"'chat'.*is closed") as refused:
        await CLOSED[call](session)

    assert isinstance(refused.value, RuntimeError)
    assert isinstance(refused.value, perdure.ClosedError)


async def test_a_session_leaves_a_store_open_that_it_was_given(sessions: Any) -> None:
    sessions.session("one").close()
    await sessions.session("other").aclose()

    await sessions.session("three").add_items([user("x")])


@pytest.mark.parametrize("items", [[], [user("x")]])
async def test_a_session_whose_store_was_closed_refuses_also_nothing(
    url: str, items: list[Any]
) -> None:
    store = perdure.open(url)
    session = PerdureSession("chat", store)
    await session.add_items([user("x")])
    await store.close()

    with pytest.raises(perdure.ClosedError):
        await session.add_items(items)


async def test_a_blocking_store_will_do(url: str) -> None:
    with perdure.open_sync(url) as store:
        session = PerdureSession("chat", store, app="shop", user="ada")
        await session.add_items(TURN)

        found = store.events.read(SessionKey("shop", "ada", "chat"))
        assert [event.content for event in found] == TURN


# -- damage ----------------------------------------------------------------------------------


async def test_a_damaged_item_is_told_of_and_never_passed_over(tmp_path: Path) -> None:
    import apsw  # noqa: PLC0415 - to do the damage

    path = tmp_path / "chats.db"
    with PerdureSession("chat", path) as session:
        await session.add_items(numbered(3))
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE events SET content = '{not JSON' WHERE seq = 3")
    connection.close()

    with PerdureSession("chat", path) as session:
        with pytest.raises(CorruptError, match="seq 3"):
            await session.get_items()
        with pytest.raises(CorruptError, match="seq 3"):
            await session.get_items(limit=1)
        for _ in range(2):
            with pytest.raises(CorruptError, match="seq 3"):
                await session.pop_item()
