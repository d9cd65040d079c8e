"""What users of the SDK's own sessions have met, and do not meet here."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("agents.memory", reason="needs openai-agents: see .ci/adapters")
pytest.importorskip("cryptography", reason="needs what encrypted sessions need")
pytest.importorskip("aiosqlite", reason="needs what sessions of SQLAlchemy need")

from agents import RunConfig, Runner
from agents.extensions.memory import (
    AdvancedSQLiteSession,
    EncryptedSession,
    SQLAlchemySession,
)
from agents.memory import OpenAIResponsesCompactionSession, SQLiteSession

import perdure
from perdure import CorruptError
from perdure.adapters.openai_agents import PerdureSession
from tests.adapters.openai_agents.making import agent, texts, user

pytestmark = pytest.mark.filterwarnings("default")
SUMMARY = {"type": "compaction", "id": "cmp_1", "encrypted_content": "summary"}


def alchemy(path: Path, id: str = "chat") -> Any:
    url = f"sqlite+aiosqlite:///{path}"
    return SQLAlchemySession.from_url(id, url=url, create_tables=True)


# -- order -----------------------------------------------------------------------------------


async def test_order_is_that_of_the_adds_whatever_the_clock_says(url: str) -> None:
    moments = iter(range(1000))

    def backwards() -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) - timedelta(hours=next(moments))

    async with perdure.open(url, clock=backwards) as store:
        session = PerdureSession("chat", store)
        for number in range(5):
            await session.add_items([user(f"{number}")])

        assert texts(await session.get_items()) == ["0", "1", "2", "3", "4"]
        assert texts(await session.get_items(2)) == ["3", "4"]
        assert await session.pop_item() == user("4")


async def test_theirs_is_ordered_by_a_clock_that_may_be_set_back(tmp_path: Path) -> None:
    theirs = alchemy(tmp_path / "theirs.db")
    await theirs.add_items([user("first")])
    await theirs.add_items([user("second")])
    with sqlite3.connect(tmp_path / "theirs.db") as connection:
        # What the second add has where the clock of its server is an hour behind.
        connection.execute(
            "UPDATE agent_messages SET created_at = datetime(created_at, '-1 hour') WHERE id = 2"
        )

    assert texts(await theirs.get_items()) == ["second", "first"]
    await theirs.engine.dispose()


# -- damage ----------------------------------------------------------------------------------


async def test_a_damaged_item_is_an_error_and_stays_to_be_mended(tmp_path: Path) -> None:
    import apsw  # noqa: PLC0415 - to do the damage

    path = str(tmp_path / "ours.db")
    with PerdureSession("chat", path) as session:
        await session.add_items([user("first"), user("second")])
    connection = apsw.Connection(path)
    connection.execute("UPDATE events SET content = '{x' WHERE seq = 2")
    with PerdureSession("chat", path) as session:
        for call in (session.get_items, session.pop_item):
            with pytest.raises(CorruptError, match="seq 2"):
                await call()
    connection.execute("UPDATE events SET content = '\"mended\"' WHERE seq = 2")
    connection.close()

    with PerdureSession("chat", path) as session:
        assert await session.get_items() == [user("first"), "mended"]


async def test_theirs_passes_over_a_damaged_item_and_a_pop_destroys_it(tmp_path: Path) -> None:
    theirs = SQLiteSession("chat", tmp_path / "theirs.db")
    await theirs.add_items([user("first"), user("second")])
    with sqlite3.connect(tmp_path / "theirs.db") as connection:
        connection.execute("UPDATE agent_messages SET message_data = '{x' WHERE id = 2")

    assert await theirs.get_items() == [user("first")]
    assert await theirs.pop_item() == user("first")
    with sqlite3.connect(tmp_path / "theirs.db") as connection:
        assert connection.execute("SELECT count(*) FROM agent_messages").fetchone() == (0,)
    theirs.close()


# -- the first write -------------------------------------------------------------------------


async def test_first_writes_at_the_same_moment_are_all_kept(url: str) -> None:
    """Issue 2722 of the SDK: the first concurrent access dropped writes."""
    async with perdure.open(url) as store:
        chats = [PerdureSession("chat", store) for _ in range(30)]
        await asyncio.gather(*[chat.add_items([user(f"{n}")]) for n, chat in enumerate(chats)])

        found = texts(await chats[0].get_items())
        assert sorted(found, key=int) == [f"{number}" for number in range(30)]


# -- compaction ------------------------------------------------------------------------------


async def compacted(session: Any, look: Callable[[], Any]) -> list[Any]:
    """What others see while a history is compacted by hand."""
    seen = []
    add = session.add_items

    async def looked(items: list[Any]) -> None:
        seen.append(await look())
        await add(items)

    async def compact(**_: Any) -> Any:
        return SimpleNamespace(output=[SUMMARY], usage=None)

    client: Any = SimpleNamespace(responses=SimpleNamespace(compact=compact))
    await session.add_items([user("first"), user("second")])
    session.add_items = looked
    wrapped = OpenAIResponsesCompactionSession(
        "chat", session, client=client, compaction_mode="input"
    )
    await wrapped.run_compaction({"force": True})
    return seen


async def test_a_compaction_shows_the_old_history_or_the_new_one_and_nothing_between(
    session: PerdureSession,
) -> None:
    between = await compacted(session, session.get_items)

    assert between == []
    assert await session.get_items() == [SUMMARY]
    raw = await session.store.events.read(session.key, all_lines=True)
    assert [event.text for event in raw][:2] == ["first", "second"]


async def test_theirs_has_no_history_for_a_moment_and_loses_it_if_it_dies_then(
    tmp_path: Path,
) -> None:
    theirs, other = (SQLiteSession("chat", tmp_path / "theirs.db") for _ in range(2))

    between = await compacted(theirs, other.get_items)

    assert between == [[]]
    assert await other.get_items() == [SUMMARY]
    theirs.close()
    other.close()


# -- branches --------------------------------------------------------------------------------


async def branched(make: Callable[[], Any]) -> list[Any]:
    """The items after a restart of a program that had gone to a branch."""
    first = make()
    await first.add_items([user("one"), user("two")])
    await first.create_branch_from_turn(2, "other")
    await first.add_items([user("instead")])
    first.close()
    again = make()
    found = await again.get_items()
    again.close()
    return texts(found)


async def test_the_branch_that_is_active_stays_so_after_a_restart(tmp_path: Path) -> None:
    def ours() -> PerdureSession:
        return PerdureSession("chat", tmp_path / "ours.db")

    assert await branched(ours) == ["one", "instead"]


async def test_theirs_is_on_main_again(tmp_path: Path) -> None:
    def theirs() -> Any:
        return AdvancedSQLiteSession(
            session_id="chat", db_path=tmp_path / "theirs.db", create_tables=True
        )

    assert await branched(theirs) == ["one", "two"]


# -- whose -----------------------------------------------------------------------------------


async def test_two_people_with_a_session_of_one_id_do_not_read_each_other(sessions: Any) -> None:
    await sessions.session("chat").add_items([user("ada's secret")])

    assert await sessions.session("chat", user="bob").get_items() == []


async def test_with_theirs_the_id_is_all_there_is(tmp_path: Path) -> None:
    ada, bob = (SQLiteSession("chat", tmp_path / "theirs.db") for _ in range(2))
    await ada.add_items([user("ada's secret")])

    assert await bob.get_items() == [user("ada's secret")]
    ada.close()
    bob.close()


# -- loops -----------------------------------------------------------------------------------


def twice(session: Any) -> list[Any]:
    """The items after two runs of asyncio."""
    for number in range(2):
        asyncio.run(session.add_items([user(f"{number}")]))
    return texts(asyncio.run(session.get_items()))


def test_one_object_may_be_used_in_one_loop_after_the_other(session: PerdureSession) -> None:
    assert twice(session) == ["0", "1"]


# -- encryption ------------------------------------------------------------------------------


def encrypted(session: Any, key: str = "right", **options: Any) -> Any:
    return EncryptedSession(session.session_id, session, encryption_key=key, **options)


async def test_their_encryption_works_over_ours(session: PerdureSession) -> None:
    secret = encrypted(session)
    await secret.add_items([user("secret one"), user("secret two")])

    assert await secret.get_items() == [user("secret one"), user("secret two")]
    assert await secret.get_items(1) == [user("secret two")]
    assert await secret.pop_item() == user("secret two")
    await secret.clear_session()
    assert await secret.get_items() == []


async def test_nothing_of_an_encrypted_session_is_readable_or_found(sessions: Any) -> None:
    session = sessions.session("chat")
    secret = encrypted(session)
    await Runner.run(agent("The password is swordfish."), "Tell me.", session=secret)

    events = await session.store.events.read(session.key)
    assert "swordfish" not in str([event.content for event in events])
    assert [event.text for event in events] == ["", ""]
    assert await sessions.search("swordfish") == []
    assert await sessions.search("gAAAAA") == []
    assert texts(await secret.get_items())[0] == "Tell me."


async def test_a_pop_with_the_wrong_key_can_be_taken_back(session: PerdureSession) -> None:
    await encrypted(session).add_items([user("first"), user("second")])
    assert await encrypted(session, "wrong").pop_item() is None
    assert await encrypted(session).get_items() == []

    [_, left] = await session.store.events.branches(session.key)
    await session.store.events.switch(session.key, left.name)

    assert texts(await encrypted(session).get_items()) == ["first", "second"]


async def test_over_theirs_it_destroys_what_it_cannot_read(tmp_path: Path) -> None:
    theirs = alchemy(tmp_path / "theirs.db")
    await encrypted(theirs).add_items([user("first"), user("second")])

    assert await encrypted(theirs, "wrong").pop_item() is None

    with sqlite3.connect(tmp_path / "theirs.db") as connection:
        assert connection.execute("SELECT count(*) FROM agent_messages").fetchone() == (0,)
    await theirs.engine.dispose()


@pytest.mark.parametrize("outer", [True, False])
async def test_encrypted_history_is_compacted_and_what_has_expired_goes(
    session: PerdureSession, outer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000]
    monkeypatch.setattr("cryptography.fernet.time.time", lambda: clock[0])
    asked = []

    async def compact(**told: Any) -> Any:
        asked.append(told)
        return SimpleNamespace(output=[], usage=None)

    client: Any = SimpleNamespace(responses=SimpleNamespace(compact=compact))
    wrapped: Any
    if outer:
        inner = OpenAIResponsesCompactionSession(session.session_id, session, client=client)
        wrapped = encrypted(inner, ttl=10)
    else:
        inner = encrypted(session, ttl=10)
        wrapped = OpenAIResponsesCompactionSession(session.session_id, inner, client=client)
    await wrapped.add_items([user("expired")] * 40)
    clock[0] += 11
    live = [
        {"role": "assistant" if number % 2 else "user", "content": f"live {number}"}
        for number in range(20)
    ]
    await wrapped.add_items(live)

    await Runner.run(
        agent("done"),
        "continue",
        session=wrapped,
        run_config=RunConfig(session_settings={"limit": 20}),
    )

    assert len(asked) == 1
    assert "expired" not in str(asked)
    assert len(asked[0]["input"]) == 22
    assert await session.get_items() == []


@pytest.mark.skipif(os.name == "nt", reason="paths with a drive are tested where there are none")
async def test_a_path_is_taken_as_their_session_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "a folder" / "chats.sqlite3"
    path.parent.mkdir()
    for place in (path, str(path)):
        with PerdureSession("chat", place) as session:
            await session.add_items([user("x")])

    with PerdureSession("chat", path) as session:
        assert len(await session.get_items()) == 2
