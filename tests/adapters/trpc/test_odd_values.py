"""What trpc-agent takes and JSON does not: it is stored as text, and nothing is lost for it."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("trpc_agent_sdk.sessions", reason="needs trpc-agent-py: see .ci/adapters")

from perdure import SessionKey
from perdure.adapters.trpc import PerdureMemoryService, PerdureSessionService
from tests.adapters.trpc.making import KEY, began, found, said, texts

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.anyio]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a stream cut \ud83d", "a stream cut \ufffd"),
        ("\ude00 and \ud83d\ude00", "\ufffd and \U0001f600"),
        ("NUL \0", "NUL \0"),
    ],
)
async def test_text_that_was_cut_in_a_character_is_stored(
    service: PerdureSessionService, text: str, stored: str
) -> None:
    session = await began(service, said("one"))

    await service.append_event(session, said(text, author="agent", state_delta={"last": text}))

    there = await found(service)
    assert texts(there.events) == ["one", stored]
    assert there.state["last"] == stored


async def test_bytes_in_the_state_are_stored_as_text(service: PerdureSessionService) -> None:
    given = {"icon": b"\xff\x00", "deep": [{"icon": b"\xff"}], "n": 1}

    session = await began(service, said("one"))
    await service.append_event(session, said("two", state_delta=given))
    await service.update_session_state(session, {"other": b"\xfe"})

    state = (await found(service)).state
    assert state["n"] == 1
    assert all(isinstance(state[name], str) for name in ("icon", "other"))
    assert isinstance(state["deep"][0]["icon"], str)


@pytest.mark.parametrize("value", [math.nan, "cut \ud83d", {3}, b"\xff"])
async def test_an_update_stores_nothing_anew_that_was_stored_as_text(
    service: PerdureSessionService, value: Any
) -> None:
    session = await began(service, said("one", state_delta={"odd": value}))

    for _ in range(3):
        await service.update_session(session)

    key = SessionKey(KEY["app_name"], KEY["user_id"], KEY["session_id"])
    assert len(await service.store.events.read(key)) == 1
    assert texts((await found(service)).events) == ["one"]


async def test_what_was_said_is_remembered_whatever_its_letters_and_its_time(
    service: PerdureSessionService,
) -> None:
    memory = PerdureMemoryService(service.store, enabled=True)
    odd = (
        said("a mug, cut \ud83d"),
        said("a cup", timestamp=math.nan),
        said("a jug", timestamp=1e18),
    )
    session = await began(service, said("a pot"), *odd)

    await memory.store_session(session)

    for word in ("mug", "cup", "jug", "pot"):
        assert len((await memory.search_memory(session.save_key, word)).memories) == 1


@pytest.mark.parametrize("id", ["", " ", "a\0", "x" * 600])
async def test_what_cannot_be_an_id_is_the_id_of_no_session(
    service: PerdureSessionService, id: str
) -> None:
    named = {**KEY, "session_id": id}

    assert await service.get_session(**named) is None
    await service.delete_session(**named)
