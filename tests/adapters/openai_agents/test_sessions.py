"""What the protocol of sessions has no word for: titles, lists, search, erasure."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("agents.memory", reason="needs openai-agents: see .ci/adapters")

import perdure
from perdure.adapters.openai_agents import PerdureSessions
from tests.adapters.openai_agents.making import user

pytestmark = pytest.mark.filterwarnings("default")


async def test_a_session_has_a_title_and_metadata_and_is_listed_and_found(sessions: Any) -> None:
    first = sessions.session("one", title="A mug", metadata={"order": 7})
    await first.add_items([user("The handle broke off.")])
    await sessions.session("two").add_items([user("Where is my teapot?")])
    await sessions.session("three", user="bob").add_items([user("My handle, too.")])
    await first.describe(title="A broken mug", tags=["refund"], metadata={"sum": 12})

    page = await sessions.list()
    assert [found.id for found in page.items] == ["one", "two"]
    assert [found.title for found in (await sessions.list(text="mug")).items] == ["A broken mug"]
    assert [one.id for one in (await sessions.list(metadata={"order": 7})).items] == ["one"]
    told = await first.info()
    assert (told.title, told.tags, told.metadata) == (
        "A broken mug",
        ("refund",),
        {"order": 7, "sum": 12},
    )
    assert told.event_count == 1

    [hit] = await sessions.search("handle")
    assert hit.session.id == "one"
    assert [found.session.id for found in await first.search("handle")] == ["one"]
    assert await first.search("teapot") == []


async def test_a_session_may_be_described_before_anything_is_said(session: Any) -> None:
    await session.describe(title="Soon")
    await session.add_items([user("now")])

    assert ((await session.info()).title, await session.get_items()) == ("Soon", [user("now")])


async def test_before_anything_is_said_there_is_nothing_to_be_found(session: Any) -> None:
    assert await session.search("handle") == []
    assert await session.find_turns_by_content("handle") == []
    assert await session.info() is None


async def test_a_cleared_session_keeps_its_description(session: Any) -> None:
    await session.describe(title="A mug", metadata={"order": 7})
    await session.add_items([user("x")])

    await session.clear_session()

    told = await session.info()
    assert (told.title, told.metadata, told.event_count) == ("A mug", {"order": 7}, 0)


async def test_sessions_come_in_pages(sessions: Any) -> None:
    for number in range(5):
        await sessions.session(f"s{number}").add_items([user("x")])

    page = await sessions.list(limit=3, order="id")
    rest = await sessions.list(limit=3, order="id", cursor=page.next_cursor)

    assert [one.id for one in [*page.items, *rest.items]] == ["s0", "s1", "s2", "s3", "s4"]
    assert rest.next_cursor is None


async def test_erasing_the_person_removes_their_sessions(sessions: Any) -> None:
    session = sessions.session("chat")
    await session.add_items([user("secret")])

    await sessions.store.erase_user("shop", "ada")

    assert await session.get_items() == []
    assert (await sessions.list()).items == []


@pytest.mark.parametrize("soft", [False, True])
async def test_a_delete_is_for_good_unless_it_is_to_be_soft(url: str, soft: bool) -> None:
    async with perdure.open(url) as store:
        sessions = PerdureSessions(store, app="shop", user="ada", soft_delete=soft)
        chat = sessions.session("chat")
        await chat.add_items([user("x")])
        assert await sessions.delete("chat") is True
        if soft:
            await store.sessions.restore(chat.key)
            assert await chat.get_items() == [user("x")]
        else:
            with pytest.raises(perdure.NotFoundError):
                await store.sessions.restore(chat.key)
