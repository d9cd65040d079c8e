"""A real runner over our services: what an agent does is there in the next process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("google.adk.sessions", reason="needs google-adk: see .ci/adapters")

from google.adk.tools.tool_context import ToolContext  # noqa: TC002 - ADK reads annotations
from google.genai import types

from perdure.adapters.adk import (
    PerdureArtifactService,
    PerdureMemoryService,
    PerdureSessionService,
)
from tests.adapters.adk.agents import remember, runner_of
from tests.adapters.adk.making import AT, ID, KEY, USER, WHERE, content, got, texts

pytestmark = pytest.mark.filterwarnings("default")


async def turn(runner: Any, text: str) -> list[Any]:
    """The events of a turn of the user."""
    return [
        one
        async for one in runner.run_async(user_id=USER, session_id=ID, new_message=content(text))
    ]


def test_a_conversation_goes_on_after_a_restart(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            await service.create_session(**AT)
            runner, _ = runner_of(
                service, ("remember", {"what": "tea"}), "Noted.", tools=[remember]
            )
            events = await turn(runner, "I like tea.")
            assert [one.author for one in events] == ["clerk"] * 3
            found = await got(service)
            assert texts(found) == ["I like tea.", "", "", "Noted."]
            assert found.state == {"own": "tea", "user:last": "tea"}

            runner, model = runner_of(service, "You said tea.")
            await turn(runner, "What do I like?")
            said = [part for one in model.seen[0] for part in one.parts]
            assert [one.text for one in said if one.text] == [
                "I like tea.", "Noted.", "What do I like?",
            ]  # fmt: skip
            [call] = [one.function_call for one in said if one.function_call]
            [answer] = [one.function_response for one in said if one.function_response]
            # ADK takes the ids that it makes itself away from what the model sees.
            assert (call.name, answer.response) == ("remember", {"result": "noted"})
            stored = await service.store.events.read(KEY)
            kinds = ["message", "tool_call", "tool_result", "message", "message", "message"]
            assert [one.kind for one in stored] == kinds
            assert stored[1].calls == stored[2].results != ()
            assert {one.run_id for one in stored[:4]} == {stored[0].run_id}

    asyncio.run(main())


async def keep(text: str, tool_context: ToolContext) -> dict[str, Any]:
    """Keep a text as a file."""
    version = await tool_context.save_artifact("note.txt", types.Part(text=text))
    return {"result": version}


async def recall(query: str, tool_context: ToolContext) -> dict[str, Any]:
    """Look something up in memory."""
    found = await tool_context.search_memory(query)
    return {"result": [one.content.parts[0].text for one in found.memories]}


def test_tools_reach_artifacts_and_memory(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            memory = PerdureMemoryService(service.store)
            artifacts = PerdureArtifactService(service.store)
            more = {"memory_service": memory, "artifact_service": artifacts}
            session = await service.create_session(**AT)
            answers = ("keep", {"text": "one"}), ("keep", {"text": "two"}), "Kept."
            runner, _ = runner_of(service, *answers, tools=[keep], **more)
            await turn(runner, "My duck is called Ada.")
            session = await got(service)
            await memory.add_session_to_memory(session)

            assert await artifacts.list_versions(**AT, filename="note.txt") == [0, 1]
            deltas = [one.actions.artifact_delta for one in session.events]
            assert [one for one in deltas if one] == [{"note.txt": 0}, {"note.txt": 1}]
            answers2 = ("recall", {"query": "duck"}), "Ada."
            runner, model = runner_of(service, *answers2, tools=[recall], **more)
            await turn(runner, "What is the name of my duck?")
            response = model.seen[-1][-1].parts[0].function_response.response
            assert response == {"result": ["My duck is called Ada."]}

    asyncio.run(main())


def test_a_rewind_of_the_runner_works(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            artifacts = PerdureArtifactService(service.store)
            await service.create_session(**AT, state={"step": 0})
            answers = "One.", ("remember", {"what": "x"}), ("keep", {"text": "late"}), "Two."
            runner, _ = runner_of(
                service, *answers, tools=[remember, keep], artifact_service=artifacts
            )
            await turn(runner, "first")
            events = await turn(runner, "second")
            assert (await got(service)).state["own"] == "x"
            run = events[0].invocation_id
            await runner.rewind_async(user_id=USER, session_id=ID, rewind_before_invocation_id=run)

            found = await got(service)
            assert found.state.get("own") is None
            assert found.events[-1].actions.rewind_before_invocation_id == run
            assert await artifacts.load_artifact(**AT, filename="note.txt") is None
            runner, model = runner_of(service, "Three.")
            await turn(runner, "third")
            said = [part.text for one in model.seen[0] for part in one.parts if part.text]
            assert said == ["first", "One.", "third"]

    asyncio.run(main())


def test_the_services_take_a_store_of_either_colour(url: str) -> None:
    import perdure  # noqa: PLC0415 - what the test is about

    with perdure.open_sync(url) as store:
        service = PerdureSessionService(store)

        async def main() -> None:
            await service.create_session(**AT, state={"k": 1})
            await service.close()
            assert [one.id for one in (await service.list_sessions(**WHERE)).sessions] == [ID]

        asyncio.run(main())
        # The store is the caller's: closing the service has left it open, and another loop will do.
        asyncio.run(main_again(service))
        assert store.sessions.get(KEY).event_count == 0
        assert store.state.merged(KEY) == {"k": 1}


async def main_again(service: PerdureSessionService) -> None:
    assert (await got(service)).state == {"k": 1}
