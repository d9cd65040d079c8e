"""Tool confirmations over the inbox: asked for in one process, answered in another, resumed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("google.adk.sessions", reason="needs google-adk: see .ci/adapters")

from google.adk.tools.function_tool import FunctionTool
from google.genai import types

import perdure
from perdure import (
    ApprovalPendingError,
    ApprovalUsedError,
    ConflictError,
    NewApproval,
    SessionKey,
)
from perdure.adapters.adk import PerdureArtifactService, PerdureSessionService, ask, resume
from tests.adapters.adk import agents
from tests.adapters.adk.agents import CONFIRMED, book_leave, runner_of
from tests.adapters.adk.making import APP, AT, ID, USER, content, got
from tests.engines.processes import in_a_process, meet, ran, side_by_side

pytestmark = pytest.mark.filterwarnings("default")
OF: dict[str, Any] = {"app": APP, "user": USER, "session": ID}
MAIL = ("send_mail", {"to": "bob"})
LEAVE = ("book_leave", {"days": 3})
TO_EVE = ("send_mail", {"to": "eve"})


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    agents.CALLED.clear()


async def turn(service: Any, message: Any, *answers: Any, tools: Any = (CONFIRMED,)) -> list[Any]:
    """The events of a turn, of a runner that knows nothing but what is stored."""
    runner, _ = runner_of(service, *answers, tools=tools)
    told = content(message) if isinstance(message, str) else message
    run = runner.run_async(user_id=USER, session_id=ID, new_message=told)
    return [one async for one in run]


async def paused(service: Any, *calls: Any, tools: Any = (CONFIRMED,)) -> list[Any]:
    await service.create_session(**AT)
    return await turn(service, "Do it.", list(calls) or [MAIL], tools=tools)


def responses(events: list[Any], name: str) -> list[Any]:
    return [
        one.response
        for event in events
        for one in event.get_function_responses()
        if one.name == name
    ]


def test_what_was_approved_runs_once(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            events = await paused(service)
            [one] = await ask(service.store, events, **OF)
            assert (one.tool_name, one.args, one.status) == ("send_mail", {"to": "bob"}, "pending")
            assert (one.kind, one.agent, one.created_by) == ("tool", "clerk", USER)
            assert one.run_id == events[0].invocation_id
            assert "send_mail" in one.question
            await service.store.approvals.approve(one.id, by=USER)

            done = await turn(service, await resume(service.store, **OF), "Sent.")
            assert agents.CALLED == [{"to": "bob", "text": "Hello."}]
            assert responses(done, "send_mail") == [{"result": "sent to bob"}]
            with pytest.raises(ConflictError, match="no tool call"):
                await resume(service.store, **OF)

    asyncio.run(main())


def test_asking_again_gives_the_same_rows(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            events = await paused(service, MAIL, ("send_mail", {"to": "carol"}))
            first = await ask(service.store, events, **OF)
            again = await ask(service.store, await got(service), **OF)

            assert [one.args["to"] for one in first] == ["bob", "carol"]
            assert [one.id for one in again] == [one.id for one in first]
            await service.store.approvals.approve(first[0].id, by=USER)
            [known, _] = await ask(service.store, events, **OF)
            assert known.status == "approved"
            with pytest.raises(ApprovalPendingError, match=first[1].id) as caught:
                await resume(service.store, **OF)
            assert caught.value.approval_id == first[1].id
            await service.store.approvals.reject(first[1].id, by=USER)
            done = await turn(service, await resume(service.store, **OF), "Sent one.")
            assert agents.CALLED == [{"to": "bob", "text": "Hello."}]
            assert {"error": "This tool call is rejected."} in responses(done, "send_mail")
            assert await ask(service.store, await got(service), **OF) == []

    asyncio.run(main())


@pytest.mark.parametrize("way", ["rejected", "cancelled", "expired", "used"])
def test_anything_but_a_yes_is_a_no(url: str, way: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            events = await paused(service)
            ttl = timedelta(milliseconds=30) if way == "expired" else None
            [one] = await ask(service.store, events, **OF, ttl=ttl)
            approvals = service.store.approvals
            if way == "rejected":
                await approvals.reject(one.id, by=USER, feedback="Not to bob.")
            elif way == "cancelled":
                await approvals.cancel(one.id)
            elif way == "expired":
                await asyncio.sleep(0.05)
            else:
                await approvals.approve(one.id, by=USER)
                assert await approvals.consume(one.id, one.args)
                with pytest.raises(ApprovalUsedError, match=one.id):
                    await resume(service.store, **OF)

            message = await resume(service.store, **OF, used="deny")
            response = message.parts[0].function_response
            feedback = {"hint": "Not to bob."} if way == "rejected" else {}
            assert response.response == {"confirmed": False, **feedback}
            done = await turn(service, message, "I did not.")
            assert responses(done, "send_mail") == [{"error": "This tool call is rejected."}]
            assert agents.CALLED == []

    asyncio.run(main())


def test_an_answer_that_was_lost_before_adk_got_it_is_not_given_twice(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            [one] = await ask(service.store, await paused(service), **OF)
            await service.store.approvals.approve(one.id, by=USER)
            confirmed = [
                message.parts[0].function_response.response["confirmed"]
                for message in [await resume(service.store, **OF, used="deny") for _ in range(3)]
            ]
            assert confirmed == [True, False, False]

    asyncio.run(main())


def test_edited_arguments_are_the_payload_that_was_asked_for(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            tools = [FunctionTool(book_leave)]
            [one] = await ask(service.store, await paused(service, LEAVE, tools=tools), **OF)
            assert (one.question, one.payload) == ("3 days?", {"granted": 0})
            await service.store.approvals.approve(
                one.id, by=USER, edited_args={"granted": 2}, feedback="Two will do."
            )

            done = await turn(service, await resume(service.store, **OF), "Booked.", tools=tools)
            assert agents.CALLED == [{"days": 3, "confirmed": True, "payload": {"granted": 2}}]
            expected = {"granted": {"granted": 2}, "said": "Two will do."}
            assert responses(done, "book_leave") == [expected]

    asyncio.run(main())


def test_edited_arguments_that_adk_cannot_use_are_a_no(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            [one] = await ask(service.store, await paused(service), **OF)
            await service.store.approvals.approve(one.id, by=USER, edited_args={"to": "eve"})

            done = await turn(service, await resume(service.store, **OF), "I did not.")
            assert responses(done, "send_mail") == [{"error": "This tool call is rejected."}]
            assert agents.CALLED == []
            assert (await service.store.approvals.get(one.id)).status == "approved"

    asyncio.run(main())


def test_sessions_may_be_kept_elsewhere(url: str) -> None:
    from google.adk.sessions import InMemorySessionService  # noqa: PLC0415 - only here

    async def main() -> None:
        theirs = InMemorySessionService()
        async with perdure.open(url) as store:
            [one] = await ask(store, await paused(theirs), **OF)
            assert (one.session, one.thread_id, one.user) == (None, ID, USER)
            await store.approvals.approve(one.id, by=USER)
            await turn(theirs, await resume(store, **OF), "Sent.")

            assert agents.CALLED == [{"to": "bob", "text": "Hello."}]
            with pytest.raises(ConflictError):
                await resume(store, **OF)

    asyncio.run(main())


@pytest.mark.parametrize("saved", ["before it is asked", "before it is answered"])
def test_sessions_kept_elsewhere_may_have_their_artifacts_here(url: str, saved: str) -> None:
    from google.adk.sessions import InMemorySessionService  # noqa: PLC0415 - only here

    async def main() -> None:
        theirs = InMemorySessionService()
        async with perdure.open(url) as store:
            service = PerdureArtifactService(store)
            file: dict[str, Any] = {"filename": "notes", "artifact": types.Part(text="Hello.")}
            where: dict[str, Any] = {"app_name": APP, "user_id": USER, "session_id": ID}
            events = await paused(theirs)
            if saved == "before it is asked":
                await service.save_artifact(**where, **file)
            [one] = await ask(store, events, **OF)
            await service.save_artifact(**where, **file)
            await store.approvals.approve(one.id, by=USER)
            await turn(theirs, await resume(store, **OF), "Sent.")
            assert agents.CALLED == [{"to": "bob", "text": "Hello."}]
            with pytest.raises(ConflictError):
                await resume(store, **OF)

            [two] = await ask(store, await turn(theirs, "Again.", [MAIL]), **OF)
            await store.approvals.approve(two.id, by=USER)
            message = await resume(store, **OF)
            assert [one.function_response.response for one in message.parts] == [
                {"confirmed": True}
            ]

    asyncio.run(main())


def test_a_no_to_a_session_kept_elsewhere_is_handed_over_once(url: str) -> None:
    from google.adk.sessions import InMemorySessionService  # noqa: PLC0415 - only here

    async def main() -> None:
        theirs = InMemorySessionService()
        async with perdure.open(url) as store:
            [one] = await ask(store, await paused(theirs), **OF)
            await store.approvals.reject(one.id, by=USER)
            await turn(theirs, await resume(store, await got(theirs), **OF), "I did not.")
            with pytest.raises(ConflictError, match="no tool call"):
                await resume(store, await got(theirs), **OF)

            await turn(theirs, "Again.", [MAIL])
            [two] = await ask(store, await got(theirs), **OF)
            await store.approvals.approve(two.id, by=USER)
            message = await resume(store, await got(theirs), **OF)
            assert [one.function_response.id for one in message.parts] == [two.tool_call_id]
            await turn(theirs, message, "Sent.")
            assert agents.CALLED == [{"to": "bob", "text": "Hello."}]

    asyncio.run(main())


def test_what_was_rewound_waits_no_more(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            [old] = await ask(service.store, await paused(service), **OF)
            await service.store.events.rewind(SessionKey(APP, USER, ID), 1)
            [new] = await ask(service.store, await turn(service, "Do it.", [TO_EVE]), **OF)
            await service.store.approvals.approve(new.id, by=USER)

            message = await resume(service.store, **OF)

            assert [one.function_response.id for one in message.parts] == [new.tool_call_id]
            assert (await service.store.approvals.get(old.id)).status == "pending"

    asyncio.run(main())


def test_what_adk_itself_has_rewound_waits_no_more(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            first = await paused(service)
            [old] = await ask(service.store, first, **OF)
            runner, _ = runner_of(service, tools=[CONFIRMED])
            at = {"user_id": USER, "session_id": ID}
            await runner.rewind_async(**at, rewind_before_invocation_id=first[0].invocation_id)

            assert await ask(service.store, await got(service), **OF) == []
            with pytest.raises(ConflictError, match="no tool call"):
                await resume(service.store, **OF)
            [new] = await ask(service.store, await turn(service, "Do it.", [TO_EVE]), **OF)
            for one in (old, new):
                await service.store.approvals.approve(one.id, by=USER)
            await turn(service, await resume(service.store, **OF), "Sent.")

            # ADK refuses a message with an answer to what was rewound.
            assert agents.CALLED == [{"to": "eve", "text": "Hello."}]
            assert (await service.store.approvals.get(old.id)).status == "approved"

    asyncio.run(main())


@pytest.mark.parametrize("first", ["older", "newer"])
@pytest.mark.parametrize("told", [True, False])
def test_two_turns_that_wait_go_on_one_after_the_other(url: str, first: str, told: bool) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            await paused(service)
            await turn(service, "And that.", [TO_EVE])
            older, newer = await ask(service.store, await got(service), **OF)
            begun = older if first == "older" else newer
            await service.store.approvals.approve(begun.id, by=USER)

            async def go_on() -> None:
                seen = await got(service) if told else None
                await turn(service, await resume(service.store, seen, **OF), "Sent.")

            await go_on()
            # ADK takes no message that answers two turns.
            assert [one["to"] for one in agents.CALLED] == [begun.args["to"]]
            with pytest.raises(ApprovalPendingError):
                await go_on()
            other = newer if first == "older" else older
            await service.store.approvals.approve(other.id, by=USER)
            await go_on()
            assert [one["to"] for one in agents.CALLED] == [begun.args["to"], other.args["to"]]
            with pytest.raises(ConflictError, match="no tool call"):
                await resume(service.store, **OF)

    asyncio.run(main())


def test_turns_that_are_answered_together_are_used_one_by_one(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            await paused(service)
            await turn(service, "And that.", [TO_EVE])
            asked = await ask(service.store, await got(service), **OF)
            for one in asked:
                await service.store.approvals.approve(one.id, by=USER)

            await turn(service, await resume(service.store, **OF), "Sent.")
            left = [(await service.store.approvals.get(one.id)).status for one in asked]
            assert left == ["consumed", "approved"]
            await turn(service, await resume(service.store, **OF), "Sent.")

            assert [one["to"] for one in agents.CALLED] == ["bob", "eve"]

    asyncio.run(main())


def test_what_was_approved_runs_where_the_store_keeps_its_arguments_veiled(url: str) -> None:
    def veiled(new: Any) -> Any:
        return replace(new, args={"to": "***"}) if isinstance(new, NewApproval) else new

    async def main() -> None:
        async with perdure.open(url, on_write=veiled) as store:
            service = PerdureSessionService(store)
            [one] = await ask(store, await paused(service), **OF)
            assert one.args == {"to": "***"}
            await store.approvals.approve(one.id, by=USER)
            await turn(service, await resume(store, **OF), "Sent.")
            assert agents.CALLED == [{"to": "bob", "text": "Hello."}]

    asyncio.run(main())


def test_the_agent_that_asks_may_not_answer(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            [one] = await ask(service.store, await paused(service), **OF)
            with pytest.raises(perdure.DeniedError):
                await service.store.approvals.approve(one.id, by="clerk")

    asyncio.run(main())


_ASK = """
import asyncio, sys
from perdure.adapters.adk import PerdureSessionService, ask
from tests.adapters.adk.test_approvals import OF, paused

async def main(url):
    async with PerdureSessionService(url) as service:
        events = await paused(service)
    for _ in range(2):
        [one] = await ask(url, events, **OF)
    print(one.id)

asyncio.run(main(sys.argv[1]))
"""
_ANSWER = """
import sys
import perdure
with perdure.open_sync(sys.argv[1]) as store:
    [one] = store.approvals.list(app="shop", status="pending").items
    print(store.approvals.approve(one.id, by="ada").status)
"""
_RESUME = """
import asyncio, sys
from perdure.adapters.adk import PerdureSessionService, resume
from tests.adapters.adk import agents
from tests.adapters.adk.test_approvals import OF, turn

async def main(url):
    message = await resume(url, **OF)
    async with PerdureSessionService(url) as service:
        await turn(service, message, "Sent.")
    print(agents.CALLED)

asyncio.run(main(sys.argv[1]))
"""


def test_asked_answered_and_resumed_in_three_processes(shared_url: str) -> None:
    [asked] = ran(_ASK, shared_url)
    assert asked.startswith("apr_")
    assert ran(_ANSWER, shared_url) == ["approved"]
    assert ran(_RESUME, shared_url) == ["[{'to': 'bob', 'text': 'Hello.'}]"]
    with perdure.open_sync(shared_url) as store:
        assert store.approvals.get(asked).status == "consumed"


def pause(url: str) -> None:
    async def main() -> None:
        async with PerdureSessionService(url) as service:
            for one in await ask(service.store, await paused(service, MAIL, TO_EVE), **OF):
                await service.store.approvals.approve(one.id, by=USER)

    asyncio.run(main())


def race(url: str) -> list[Any]:
    async def main() -> None:
        message = None
        async with PerdureSessionService(url) as service:
            meet()
            with suppress(ApprovalUsedError):
                message = await resume(service.store, **OF)
            meet()
            if message is not None:
                await turn(service, message, "Sent.")

    asyncio.run(main())
    return agents.CALLED


def test_of_two_processes_that_resume_one_goes_on_and_the_other_is_told_so(
    shared_url: str,
) -> None:
    in_a_process(pause, shared_url)

    called = side_by_side(race, [(shared_url,)] * 2)

    assert sorted(map(len, called)) == [0, 2]
