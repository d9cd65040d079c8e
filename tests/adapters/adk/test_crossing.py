"""One session, written by several frameworks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("google.adk.sessions", reason="needs google-adk: see .ci/adapters")

from google.genai import types

import perdure
from perdure import NewEvent
from perdure.adapters.adk import PerdureSessionService
from tests.adapters.adk.agents import runner_of
from tests.adapters.adk.making import AT, ID, KEY, USER, content, event, got, texts

pytestmark = pytest.mark.filterwarnings("default")
CHAT: list[dict[str, Any]] = [
    {"role": "user", "content": "Where is my parcel?"},
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "track", "arguments": '{"order":7}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "London"},
    {"role": "assistant", "content": "In London."},
]


def test_what_adk_wrote_is_read_as_chat(url: str) -> None:
    async def main() -> list[Any]:
        async with PerdureSessionService(url) as service:
            session = await service.create_session(**AT)
            call = types.FunctionCall(id="c1", name="track", args={"order": 7})
            answer = types.FunctionResponse(id="c1", name="track", response={"result": "London"})
            parts = [types.Part(text="I look."), types.Part(function_call=call)]
            back = [types.Part(function_response=answer)]
            for said in (
                event("Where is my parcel?"),
                event(None, "clerk", content=types.Content(role="model", parts=parts)),
                event(None, "clerk", content=types.Content(role="user", parts=back)),
                event(None, "clerk", delta={"place": "London"}),
                event("In London.", "clerk"),
            ):
                await service.append_event(session, said)
            told = await service.store.events.messages(KEY, "openai.chat")
            assert told.loss == []
            return told.items

    named = [CHAT[0], CHAT[1], {**CHAT[2], "name": "track"}, CHAT[3]]
    assert asyncio.run(main()) == named


def test_what_another_wrote_is_read_and_continued_by_adk(url: str) -> None:
    async def main() -> None:
        async with perdure.open(url) as store:
            await store.sessions.create(*KEY)
            service = PerdureSessionService(store, agent="clerk")
            for one in CHAT:
                await store.events.append(KEY, NewEvent(one, run_id="run-1"))
            await store.events.append(KEY, NewEvent(state_delta={"place": "London", "gone": 1}))
            await store.events.append(KEY, NewEvent(error="too slow"))

            found = await got(service)
            assert texts(found) == ["Where is my parcel?", "I look.", "", "In London.", "", ""]
            authors = [one.author for one in found.events]
            assert authors == ["user", "clerk", "clerk", "clerk", "user", "user"]
            [call] = found.events[1].get_function_calls()
            [answer] = found.events[2].get_function_responses()
            assert (call.id, call.name, call.args) == ("c1", "track", {"order": 7})
            assert (answer.id, answer.name, answer.response) == (
                "c1",
                "track",
                {"result": "London"},
            )
            assert found.state == {"place": "London", "gone": 1}
            assert found.events[4].actions.state_delta == {"place": "London", "gone": 1}
            assert found.events[5].error_message == "too slow"

            runner, model = runner_of(service, "It is still there.")
            turn = runner.run_async(user_id=USER, session_id=ID, new_message=content("And now?"))
            assert [one.author async for one in turn] == ["clerk"]
            roles = [one.role for one in model.seen[0]]
            assert roles == ["user", "model", "user", "model", "user"]
            told = await store.events.messages(KEY, "openai.chat")
            assert told.items[-2:] == [
                {"role": "user", "content": "And now?"},
                {"role": "assistant", "content": "It is still there."},
            ]

    asyncio.run(main())


def test_without_an_agent_the_stored_author_speaks(url: str) -> None:
    async def main() -> None:
        async with perdure.open(url) as store:
            await store.sessions.create(*KEY)
            await store.events.append(KEY, NewEvent("Hello.", author="greeter"), CHAT[3])
            await store.events.append(KEY, NewEvent(perdure.Opaque("x", b"x"), author="camera"))

            found = await got(PerdureSessionService(store))
            assert [one.author for one in found.events] == ["greeter", "assistant", "user"]
            assert [one.id for one in found.events] == [
                one.id for one in await store.events.read(KEY)
            ]

    asyncio.run(main())


def test_a_redacted_event_stays_an_event(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            session = await service.create_session(**AT)
            said = event("secret", "clerk", delta={"k": 1}, branch="a.b")
            await service.append_event(session, said)
            await service.store.events.redact(KEY, said.id)

            found = await got(service)
            [one] = found.events
            assert texts(found) == ["[redacted]"]
            assert (one.author, one.branch, one.timestamp) == ("clerk", "a.b", said.timestamp)
            assert one.actions.state_delta == {"k": 1}
            await service.append_event(found, event("next"))

    asyncio.run(main())


def test_one_message_that_says_several_things_is_several_events(url: str) -> None:
    both = {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "ok"},
            {"type": "text", "text": "and now?"},
        ],
    }

    async def main() -> None:
        async with perdure.open(url) as store:
            await store.sessions.create(*KEY)
            stored = (await store.events.append(KEY, NewEvent(both, state_delta={"k": 1}))).event
            found = await got(PerdureSessionService(store))

            assert [one.id for one in found.events] == [stored.id, f"{stored.id}#2"]
            assert [one.actions.state_delta for one in found.events] == [{"k": 1}, {}]

    asyncio.run(main())
