"""Where trpc-agent's own services are wrong: what they do, and what is right here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trpc_agent_sdk.sessions", reason="needs trpc-agent-py: see .ci/adapters")

from trpc_agent_sdk.memory import SqlMemoryService
from trpc_agent_sdk.sessions import InMemorySessionService, SqlSessionService

import perdure
from perdure import SessionKey
from perdure.adapters.trpc import PerdureMemoryService, PerdureSessionService
from tests.adapters.trpc.making import config, manager, said, texts

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.anyio]
KEY: dict[str, Any] = {"app_name": "shop", "user_id": "ada", "session_id": "s"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(url: str) -> AsyncIterator[perdure.Store]:
    async with perdure.open(url) as opened:
        yield opened


@pytest.fixture
async def sql(tmp_path: Path) -> AsyncIterator[SqlSessionService]:
    service = SqlSessionService(db_url=f"sqlite:///{tmp_path}/theirs.db", session_config=config())
    yield service
    await service.close()


# -- (a) the order of events -----------------------------------------------------------------


async def at_once(service: Any) -> list[str]:
    session = await service.create_session(**KEY)
    for number in range(6):
        await service.append_event(session, said(f"m{number}", timestamp=1_700_000_000.0))
    return texts((await service.get_session(**KEY)).events)


async def test_events_of_one_time_come_as_they_were_stored(store: perdure.Store) -> None:
    assert await at_once(PerdureSessionService(store)) == ["m0", "m1", "m2", "m3", "m4", "m5"]


async def test_theirs_turns_events_of_one_time_round(sql: SqlSessionService) -> None:
    assert await at_once(sql) == ["m5", "m4", "m3", "m2", "m1", "m0"]


# -- (b) an id that is there -----------------------------------------------------------------


async def made_twice(service: Any) -> tuple[list[str], Any]:
    session = await service.create_session(**KEY, state={"a": 1})
    await service.append_event(session, said("one"))
    await service.create_session(**KEY, state={"b": 2})
    again = await service.get_session(**KEY)
    return texts(again.events), again.state


async def test_a_session_made_twice_keeps_what_it_had(store: perdure.Store) -> None:
    assert await made_twice(PerdureSessionService(store)) == (["one"], {"a": 1, "b": 2})


async def test_theirs_in_memory_wipes_it() -> None:
    assert await made_twice(InMemorySessionService()) == ([], {"b": 2})


# -- (c) a session that was deleted ----------------------------------------------------------


async def late(service: Any) -> Any:
    session = await service.create_session(**KEY)
    await service.delete_session(**KEY)
    await service.append_event(session, said("late"))
    return session


async def test_an_append_that_cannot_be_stored_can_be_an_error(store: perdure.Store) -> None:
    with pytest.raises(perdure.NotFoundError):
        await late(PerdureSessionService(store, strict=True))


async def test_theirs_drops_it_and_shows_it_in_the_session(sql: SqlSessionService) -> None:
    assert texts((await late(sql)).events) == ["late"]
    assert await sql.get_session(**KEY) is None


# -- (d) the most events ---------------------------------------------------------------------


async def too_many(service: Any) -> tuple[list[str], list[str]]:
    session = await service.create_session(**KEY)
    for number in range(4):
        await service.append_event(session, said(f"m{number}"))
    again = await service.get_session(**KEY)
    return texts(again.events), texts(again.historical_events)


def limited() -> Any:
    return config(max_events=2, store_historical_events=True)


async def test_what_falls_out_of_the_window_is_out_after_a_read(store: perdure.Store) -> None:
    service = PerdureSessionService(store, session_config=limited())

    assert await too_many(service) == (["m2", "m3"], ["m0", "m1"])


async def test_theirs_in_memory_has_them_all_again_and_no_history() -> None:
    service = InMemorySessionService(session_config=limited())

    assert await too_many(service) == (["m0", "m1", "m2", "m3"], [])


# -- (e) all memories ------------------------------------------------------------------------


async def all_of_it(memory: Any, service: Any) -> int:
    session = await service.create_session(**KEY)
    await service.append_event(session, said("green tea"))
    await memory.store_session(session)
    return len((await memory.search_memory("shop/ada", "tea", limit=0)).memories)


async def test_a_limit_of_zero_gives_all(store: perdure.Store) -> None:
    assert await all_of_it(PerdureMemoryService(store), PerdureSessionService(store)) == 1


async def test_theirs_gives_nothing(tmp_path: Path) -> None:
    memory = SqlMemoryService(db_url=f"sqlite:///{tmp_path}/memory.db", enabled=True)

    assert await all_of_it(memory, InMemorySessionService()) == 0
    await memory.close()


# -- (f) what follows a summary --------------------------------------------------------------


async def summed_up(service: Any) -> list[str]:
    session = await service.create_session(**KEY)
    for number in range(2):
        await service.append_event(session, said(f"m{number}"))
    await service.summarizer_manager.create_session_summary(session, force=True)
    await service.append_event(session, said("after"))
    return texts((await service.get_session(**KEY)).events)


HEAD = "Previous conversation summary: s: m0 | m1"


async def test_what_follows_a_summary_is_there_once(store: perdure.Store) -> None:
    service = PerdureSessionService(store, summarizer_manager=manager())

    assert await summed_up(service) == [HEAD, "after"]


async def test_theirs_in_memory_has_it_twice() -> None:
    service = InMemorySessionService(summarizer_manager=manager())

    assert await summed_up(service) == [HEAD, "after", "after"]


# -- who else writes -------------------------------------------------------------------------


async def compacted_beside_a_writer(service: Any) -> list[str]:
    session = await service.create_session(**KEY)
    for number in range(2):
        await service.append_event(session, said(f"m{number}"))
    other = await service.get_session(**KEY)
    await service.append_event(other, said("from elsewhere", timestamp=2_000_000_000.0))
    session.compact_events(said("sum"), session.events[0].id, compaction_id="c")
    await service.update_session(session)
    return texts((await service.get_session(**KEY)).events)


async def test_an_update_does_not_remove_what_it_has_not_seen(store: perdure.Store) -> None:
    assert await compacted_beside_a_writer(PerdureSessionService(store)) == [
        "sum", "m1", "from elsewhere"
    ]  # fmt: skip


async def test_theirs_removes_what_another_has_appended(sql: SqlSessionService) -> None:
    assert "from elsewhere" not in await compacted_beside_a_writer(sql)


async def test_a_read_is_no_write(store: perdure.Store) -> None:
    service = PerdureSessionService(store)
    session = await service.create_session(**KEY)
    await service.append_event(session, said("one"))
    before = await store.sessions.get(SessionKey("shop", "ada", "s"))

    await service.get_session(**KEY)
    await service.list_sessions(app_name="shop")

    assert await store.sessions.get(SessionKey("shop", "ada", "s")) == before


# -- times -----------------------------------------------------------------------------------


async def of_the_past(service: Any) -> list[str]:
    """What is seen in the session that was appended to."""
    session = await service.create_session(**KEY)
    for number in range(3):
        await service.append_event(session, said(f"m{number}", timestamp=1_000.0 + number))
    return texts(session.events)


async def test_a_time_of_the_past_makes_no_session_stale(store: perdure.Store) -> None:
    assert await of_the_past(PerdureSessionService(store)) == ["m0", "m1", "m2"]


async def test_theirs_takes_the_session_for_stale_and_does_not_show_the_event(
    sql: SqlSessionService,
) -> None:
    assert await of_the_past(sql) == ["m0", "m1"]
