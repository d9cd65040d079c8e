"""The contract of ADK's memory services, restated from its documentation and its source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("google.adk.sessions", reason="needs google-adk: see .ci/adapters")

from google.adk.memory.memory_entry import MemoryEntry
from google.adk.sessions import Session
from google.genai import types

from perdure.adapters.adk import PerdureMemoryService
from tests.adapters.adk.making import APP, USER, WHERE, content, event

pytestmark = pytest.mark.filterwarnings("default")

Body = Callable[[PerdureMemoryService], Coroutine[Any, Any, None]]
Case = Callable[[Body], None]


@pytest.fixture
def case(url: str) -> Case:
    """Runs the body of a case with a service over an empty store."""

    def run(body: Body) -> None:
        async def main() -> None:
            async with PerdureMemoryService(url) as service:
                await body(service)

        asyncio.run(main())

    return run


def session(*said: str, name: str = "s1", user: str = USER) -> Session:
    events = [event(text, id=f"{name}-{n}", timestamp=100.0 + n) for n, text in enumerate(said)]
    return Session(app_name=APP, user_id=user, id=name, events=events)


async def found(service: PerdureMemoryService, query: str, user: str = USER) -> list[str]:
    """What a search finds, as texts."""
    told = await service.search_memory(app_name=APP, user_id=user, query=query)
    return [
        " ".join(part.text for part in one.content.parts or [] if part.text)
        for one in told.memories
    ]


def test_what_a_session_said_is_found(case: Case) -> None:
    async def body(service: PerdureMemoryService) -> None:
        await service.add_session_to_memory(session("I like tea.", "Do you like ducks?"))

        [one] = (await service.search_memory(**WHERE, query="TEA or juice")).memories
        assert one.content == content("I like tea.")
        assert one.author == "user"
        assert one.timestamp == "1970-01-01T00:01:40+00:00"
        assert one.id
        assert await found(service, "like") != []
        assert await found(service, "coffee") == []
        assert await found(service, "") == []

    case(body)


def test_a_session_may_be_added_again_and_again(case: Case) -> None:
    async def body(service: PerdureMemoryService) -> None:
        for said in (["tea"], ["tea", "tea time"], ["tea", "tea time"]):
            await service.add_session_to_memory(session(*said))

        assert sorted(await found(service, "tea")) == ["tea", "tea time"]

    case(body)


def test_the_same_words_said_twice_are_two_memories(case: Case) -> None:
    async def body(service: PerdureMemoryService) -> None:
        await service.add_session_to_memory(session("tea, please", "tea, please"))
        await service.add_session_to_memory(session("tea, please", name="s2"))

        assert await found(service, "tea") == ["tea, please"] * 3

    case(body)


def test_memories_are_a_users(case: Case) -> None:
    async def body(service: PerdureMemoryService) -> None:
        await service.add_session_to_memory(session("tea of ada"))
        await service.add_session_to_memory(session("tea of bob", user="bob"))

        assert await found(service, "tea") == ["tea of ada"]
        assert await found(service, "tea", "bob") == ["tea of bob"]
        assert (await service.search_memory(app_name="x", user_id=USER, query="tea")).memories == []

    case(body)


def test_a_delta_of_events_is_added_to_what_is_there(case: Case) -> None:
    async def body(service: PerdureMemoryService) -> None:
        whole = session("tea", "more tea")
        await service.add_session_to_memory(whole)
        more = [whole.events[1], event("last tea", id="s1-9")]
        for _ in range(2):
            await service.add_events_to_memory(
                **WHERE, events=more, session_id="s1", custom_metadata={"from": "turn", "n": 1}
            )
        await service.add_events_to_memory(**WHERE, events=[event("loose tea", id="x")])

        assert sorted(await found(service, "tea")) == ["last tea", "loose tea", "more tea", "tea"]
        told = (await service.search_memory(**WHERE, query="last")).memories
        assert told[0].custom_metadata == {"from": "turn", "n": 1}

    case(body)


def test_what_was_deleted_does_not_come_back_with_its_session(case: Case) -> None:
    async def body(service: PerdureMemoryService) -> None:
        whole = session("tea", "more tea")
        await service.add_session_to_memory(whole)
        [doomed] = (await service.search_memory(**WHERE, query="more")).memories
        await service.delete_memory(app_name=APP, user_id="bob", memory_id=doomed.id)
        assert await found(service, "more") == ["more tea"]

        await service.delete_memory(**WHERE, memory_id=doomed.id)
        await service.add_session_to_memory(whole)
        await service.add_events_to_memory(**WHERE, events=whole.events, session_id="s1")
        assert await found(service, "tea") == ["tea"]
        for nothing in (None, "", "  ", "mem_unknown"):
            await service.delete_memory(**WHERE, memory_id=nothing)

    case(body)


def test_events_that_say_nothing_are_no_memories(case: Case) -> None:
    async def body(service: PerdureMemoryService) -> None:
        blob = types.Part(inline_data=types.Blob(data=b"\xff", mime_type="image/png"))
        silent = [
            event(None, delta={"k": 1}),
            event("   "),
            event(None, content=types.Content(role="user", parts=[])),
            event(None, content=types.Content(role="user", parts=[blob])),
        ]
        await service.add_events_to_memory(**WHERE, events=silent, session_id="s1")

        assert await service.store.memory.count(APP, USER) == 0

    case(body)


def test_a_content_of_several_parts_comes_back_whole(case: Case) -> None:
    async def body(service: PerdureMemoryService) -> None:
        parts = [
            types.Part(text="my duck"),
            types.Part(inline_data=types.Blob(data=b"\xff\xfe?", mime_type="image/png")),
            types.Part(text="is yellow\0"),
        ]
        said = types.Content(role="model", parts=parts)
        await service.add_events_to_memory(**WHERE, events=[event(None, content=said)])

        [one] = (await service.search_memory(**WHERE, query="duck yellow")).memories
        assert one.content == said

    case(body)


def test_at_most_ten_are_found_the_best_one_first(case: Case) -> None:
    async def body(service: PerdureMemoryService) -> None:
        await service.add_session_to_memory(
            session(*(f"tea number {n}" for n in range(15)), "green tea with honey")
        )

        told = await found(service, "green tea honey")
        assert len(told) == 10
        assert told[0] == "green tea with honey"

    case(body)


def test_entries_can_be_added_as_they_are(case: Case) -> None:
    async def body(service: PerdureMemoryService) -> None:
        entries = [
            MemoryEntry(content=content("likes tea"), author="profile"),
            MemoryEntry(id="m1", content=content("has a duck"), timestamp="2026-01-02T03:04:05"),
            MemoryEntry(content=types.Content(parts=[])),
        ]
        for _ in range(2):
            await service.add_memory(**WHERE, memories=entries, custom_metadata={"via": "form"})

        [tea] = (await service.search_memory(**WHERE, query="tea")).memories
        assert (tea.author, tea.custom_metadata) == ("profile", {"via": "form"})
        [duck] = (await service.search_memory(**WHERE, query="duck")).memories
        assert duck.timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).isoformat()
        assert await service.store.memory.count(APP, USER) == 2
        broken = MemoryEntry(content=content("x"), timestamp="tomorrow")
        with pytest.raises(ValueError, match="ISO 8601"):
            await service.add_memory(**WHERE, memories=[broken])

    case(body)


def test_words_of_other_scripts_are_found(case: Case) -> None:
    async def body(service: PerdureMemoryService) -> None:
        await service.add_session_to_memory(session("私はPythonを使う", "Мне нравится чай"))

        assert await found(service, "Python") == ["私はPythonを使う"]
        assert await found(service, "ЧАЙ") == ["Мне нравится чай"]

    case(body)


def test_a_long_session_is_remembered_whole(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.adapters.adk.memory._BATCH", 7)

    async def body(service: PerdureMemoryService) -> None:
        await service.add_session_to_memory(session(*(f"line {n}" for n in range(30))))
        assert await service.store.memory.count(APP, USER) == 30

    case(body)
