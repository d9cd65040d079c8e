"""What trpc-agent-py expects of a session service, on every engine."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("trpc_agent_sdk.sessions", reason="needs trpc-agent-py: see .ci/adapters")

from trpc_agent_sdk.sessions import BaseSessionService, Session
from trpc_agent_sdk.types import Content, Part, Ttl

import perdure
from perdure import SessionKey
from perdure.adapters.trpc import PerdureSessionService
from tests.adapters.trpc.making import KEY, WHOSE, began, config, found, said, texts

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.anyio]

Making = Callable[..., PerdureSessionService]


# -- create ----------------------------------------------------------------------------------


async def test_it_is_a_session_service(service: PerdureSessionService) -> None:
    assert isinstance(service, BaseSessionService)


async def test_a_new_session_has_its_names_and_nothing_else(service: PerdureSessionService) -> None:
    session = await service.create_session(**KEY)

    assert isinstance(session, Session)
    assert (session.app_name, session.user_id, session.id) == SessionKey("shop", "ada", "s")
    assert session.save_key == "shop/ada"
    assert session.conversation_count == 0
    assert session.events == session.historical_events == []
    assert session.last_update_time == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize("id", [None, "", "   "])
async def test_a_blank_id_is_made(service: PerdureSessionService, id: str | None) -> None:
    one = await service.create_session(**WHOSE, session_id=id)
    two = await service.create_session(**WHOSE, session_id=id)

    assert one.id.strip()
    assert one.id != two.id


async def test_blanks_around_an_id_do_not_count(service: PerdureSessionService) -> None:
    session = await service.create_session(**WHOSE, session_id="  s ")

    assert session.id == "s"
    assert await service.get_session(**KEY) is not None


async def test_state_goes_where_its_prefix_says(service: PerdureSessionService) -> None:
    given = {"own": 1, "user:name": "Ada", "app:open": True, "temp:draft": "x"}
    session = await service.create_session(**KEY, state=given)

    assert session.state == {"own": 1, "user:name": "Ada", "app:open": True}
    same_user = await service.create_session(**WHOSE)
    assert same_user.state == {"user:name": "Ada", "app:open": True}
    other_user = await service.create_session(app_name="shop", user_id="bob")
    assert other_user.state == {"app:open": True}


async def test_what_is_given_and_what_comes_back_are_copies(service: PerdureSessionService) -> None:
    given = {"list": [1]}
    session = await service.create_session(**KEY, state=given)
    given["list"].append(2)
    session.state["list"].append(3)

    again = await found(service)
    again.state["list"].append(4)

    assert (await found(service)).state == {"list": [1]}


async def test_an_id_that_is_there_is_no_error_and_loses_nothing(
    service: PerdureSessionService,
) -> None:
    await began(service, said("one"), state={"a": 1, "b": 1})

    again = await service.create_session(**KEY, state={"b": 2, "user:c": 3})

    assert texts(again.events) == ["one"]
    assert again.state == {"a": 1, "b": 2, "user:c": 3}
    assert (await found(service)).state == again.state


# -- get, list, delete -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [{"session_id": "other"}, {"user_id": "bob"}, {"app_name": "other"}, {"session_id": " "}],
)
async def test_an_unknown_session_is_none(service: PerdureSessionService, key: Any) -> None:
    await began(service)

    assert await service.get_session(**{**KEY, **key}) is None


async def test_a_session_comes_back_with_its_events_and_state(
    service: PerdureSessionService,
) -> None:
    session = await began(service, said("hi"), said("hello", "agent", state_delta={"n": 1}))

    again = await found(service)

    assert again.events == session.events
    assert again.state == session.state == {"n": 1}
    assert again.last_update_time == session.last_update_time


async def test_a_list_has_state_and_no_events(service: PerdureSessionService) -> None:
    await began(service, said("hi"), state={"own": 1, "app:open": True})
    await service.create_session(**WHOSE, session_id="t")
    await service.create_session(app_name="shop", user_id="bob", session_id="u")
    await service.create_session(app_name="other", user_id="ada", session_id="v")

    mine = (await service.list_sessions(**WHOSE)).sessions
    everyone = (await service.list_sessions(app_name="shop")).sessions

    assert [one.id for one in mine] == ["s", "t"]
    assert mine[0].state == {"own": 1, "app:open": True}
    assert mine[0].events == []
    assert [(one.user_id, one.id) for one in everyone] == [
        ("ada", "s"), ("ada", "t"), ("bob", "u")
    ]  # fmt: skip


async def test_a_list_of_nobody_is_empty(service: PerdureSessionService) -> None:
    assert (await service.list_sessions(app_name="nowhere")).sessions == []
    assert (await service.list_sessions(app_name="shop", user_id="nobody")).sessions == []


async def test_a_deleted_session_is_gone_and_may_be_made_anew(
    service: PerdureSessionService,
) -> None:
    await began(service, said("one"), state={"own": 1, "user:name": "Ada"})

    await service.delete_session(**KEY)
    await service.delete_session(**KEY)

    assert await service.get_session(**KEY) is None
    again = await began(service)
    assert (again.events, again.state) == ([], {"user:name": "Ada"})


@pytest.mark.parametrize("soft", [False, True])
async def test_a_delete_is_for_good_unless_it_is_to_be_soft(url: str, soft: bool) -> None:
    async with perdure.open(url) as store:
        service = PerdureSessionService(store, soft_delete=soft)
        await began(service, said("one"))
        await service.delete_session(**KEY)
        at = SessionKey("shop", "ada", "s")
        if soft:
            assert (await store.sessions.restore(at)).event_count == 1
        else:
            with pytest.raises(perdure.NotFoundError):
                await store.sessions.restore(at)


# -- append ----------------------------------------------------------------------------------


async def test_every_field_of_an_event_comes_back(service: PerdureSessionService) -> None:
    call = Part.from_function_call(name="f", args={"x": None, "deep": [1.5, {"y": "é🦜\0"}]})
    call.function_call.id = "c1"
    event = said(
        author="agent", content=Content(role="model", parts=[
            Part.from_text(text="hm"), call, Part.from_bytes(data=b"\x89PNG\xff", mime_type="a/b")
        ]),
        branch="root.agent", request_id="r", parent_invocation_id="p", tag="t", filter_key="k",
        requires_completion=True, version=3, visible=False, object="graph.node", model_flags=3,
        turn_complete=True, error_code="E", error_message="m" * 3_000, interrupted=True,
        custom_metadata={"a": [None, 1]}, long_running_tool_ids={"c1"}, response_id="x",
        timestamp=1_700_000_000.123_456_7, state_delta={"none": None, "n": 2**70},
    )  # fmt: skip
    event.actions.artifact_delta = {"file": 1}
    event.actions.transfer_to_agent = "other"
    expected = event.model_copy(deep=True)

    await began(service, event)

    assert (await found(service)).events == [expected]


async def test_a_partial_event_is_handed_back_and_not_stored(
    service: PerdureSessionService,
) -> None:
    session = await began(service)
    event = said("part", "agent", partial=True)

    assert await service.append_event(session, event) is event

    assert session.events == (await found(service)).events == []


async def test_a_delta_changes_the_state_at_once_and_for_good(
    service: PerdureSessionService,
) -> None:
    delta = {"own": 1, "user:name": "Ada", "app:open": None, "temp:draft": "x"}
    session = await began(service, said("hi", state_delta=delta))

    assert session.state == delta
    stored = {name: value for name, value in delta.items() if name != "temp:draft"}
    assert (await found(service)).state == stored
    assert session.events[0].actions.state_delta == stored


async def test_an_event_of_nothing_but_a_delta_is_one(service: PerdureSessionService) -> None:
    await began(service, said(state_delta={"n": 1}), said(author="agent"))

    assert [event.content for event in (await found(service)).events] == [None, None]


async def test_state_that_json_has_not_is_kept_as_text(service: PerdureSessionService) -> None:
    session = await began(service)

    await service.append_event(session, said(state_delta={"nan": math.nan, "set": {1}}))

    assert (await found(service)).state["nan"] == "nan"


async def test_an_append_to_a_session_that_is_not_there_is_a_warning(
    making: Making,
) -> None:
    service = making()
    session = await began(service, said("one"))
    await service.delete_session(**KEY)
    event = said("two", state_delta={"n": 1})

    assert await service.append_event(session, event) is event

    assert texts(session.events) == ["one"]
    assert session.state == {}
    assert await service.get_session(**KEY) is None
    with pytest.raises(perdure.NotFoundError):
        await making(strict=True).append_event(session, event)


async def test_the_count_of_conversations_is_kept(service: PerdureSessionService) -> None:
    session = await began(service, said("one"))
    session.conversation_count = 2
    await service.append_event(session, said("two"))

    assert (await found(service)).conversation_count == 2
    [listed] = (await service.list_sessions(**WHOSE)).sessions
    assert listed.conversation_count == 2


async def test_a_retry_of_an_append_stores_the_event_once(service: PerdureSessionService) -> None:
    session = await began(service)
    event = said("one")

    await service.append_event(session, event)
    await service.append_event(await found(service), event)

    assert texts((await found(service)).events) == ["one"]


async def test_a_session_is_as_it_was_when_an_append_fails(service: PerdureSessionService) -> None:
    session = await began(service, said("one", state_delta={"n": 1}))
    events = session.events

    with pytest.raises(perdure.InvalidError):
        await service.append_event(session, said("two", id="x" * 600, state_delta={"n": 2}))

    assert session.events is events
    assert texts(events) == ["one"]
    assert session.state == {"n": 1}


async def test_fifty_appends_at_once_are_all_there(service: PerdureSessionService) -> None:
    await began(service)
    sessions = [await found(service) for _ in range(5)]

    await asyncio.gather(*(service.append_event(sessions[n % 5], said(f"m{n}")) for n in range(50)))

    assert sorted(texts((await found(service)).events)) == sorted(f"m{n}" for n in range(50))


# -- time to live ----------------------------------------------------------------------------


async def test_with_a_ttl_a_session_expires(making: Making) -> None:
    service = making(session_config=config(ttl=Ttl(ttl_seconds=3600)))
    await began(service, said("one"))

    [listed] = [one async for one in service.store.sessions.iter("shop", "ada")]
    assert listed.expires_at is not None
    assert 3590 < (listed.expires_at - listed.updated_at).total_seconds() <= 3600
    assert await found(service)
    [plain] = [one async for one in making().store.sessions.iter("shop", "ada")]
    assert plain.version == listed.version  # a read is no write while most of the time is left


async def test_a_session_lives_as_long_as_it_is_read(url: str) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    async with perdure.open(url, clock=lambda: now) as store:
        service = PerdureSessionService(store, session_config=config(ttl=Ttl(ttl_seconds=3600)))
        await began(service, said("one"))
        for _ in range(4):
            now += timedelta(minutes=50)
            assert texts((await found(service)).events) == ["one"]

        now += timedelta(minutes=61)

        assert await service.get_session(**KEY) is None
        assert (await service.list_sessions(**WHOSE)).sessions == []
        assert (await began(service)).events == []


# -- with others -----------------------------------------------------------------------------


async def test_others_read_it_and_go_on_with_it(service: PerdureSessionService) -> None:
    call = Part.from_function_call(name="track", args={"order": 7})
    call.function_call.id = "c1"
    answer = Part.from_function_response(name="track", response={"place": "London"})
    answer.function_response.id = "c1"
    session = await began(
        service,
        said("Where is my parcel?"),
        said(author="agent", content=Content(role="model", parts=[call])),
        said(author="agent", content=Content(role="user", parts=[answer])),
        said("In London.", "agent"),
    )
    key = SessionKey("shop", "ada", "s")

    chat = await service.store.events.messages(key, "openai.chat")
    assert [one["role"] for one in chat] == ["user", "assistant", "tool", "assistant"]
    await service.store.events.append(key, {"role": "user", "content": "Thank you!"})
    again = await found(service)
    await service.append_event(again, said("You are welcome.", "agent"))

    assert texts((await found(service)).events)[-3:] == [
        "In London.", "Thank you!", "You are welcome."
    ]  # fmt: skip
    assert (await found(service)).events[-2].author == "user"
    assert len(session.events) == 4


async def test_a_result_that_another_wrote_is_the_agents_and_of_its_tool(
    service: PerdureSessionService,
) -> None:
    await began(service)
    key = SessionKey("shop", "ada", "s")
    call = {"id": "c1", "type": "function", "function": {"name": "track", "arguments": "{}"}}
    await service.store.events.append(
        key,
        {"role": "user", "content": "Where is my parcel?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "London"},
    )

    session = await found(service)
    await service.update_session(session)

    assert [one.author for one in session.events] == ["user", "assistant", "assistant"]
    [answer] = session.events[-1].get_function_responses()
    assert (answer.id, answer.name) == ("c1", "track")
    assert len(await service.store.events.read(key)) == 3


# -- what two readers change -----------------------------------------------------------------


async def test_an_update_leaves_alone_what_others_have_set_meanwhile(
    service: PerdureSessionService,
) -> None:
    session = await began(service, state={"theirs": 1, "ours": 1, "goes": 1})
    await service.append_event(session, said("hi", state_delta={"later": 1}))
    await service.update_session_state(session, {"direct": 1})
    other = await found(service)
    delta = {"theirs": 2, "new": 2, "later": 2, "direct": 2}
    await service.append_event(other, said("from elsewhere", state_delta=delta))

    session.state["ours"] = 3
    del session.state["goes"]
    await service.update_session(session)
    await service.update_session(session)

    assert (await found(service)).state == {**delta, "ours": 3}


async def test_a_change_inside_of_a_value_is_stored(service: PerdureSessionService) -> None:
    session = await began(service, state={"list": [1], "kept": {"a": 1}})
    session.state["list"].append(2)

    await service.update_session(session)

    assert (await found(service)).state == {"list": [1, 2], "kept": {"a": 1}}


async def test_the_delta_of_an_event_comes_back_whatever_its_id(
    service: PerdureSessionService,
) -> None:
    await began(service, said("hi", id="7#1", state_delta={"n": 1}))

    [event] = (await found(service)).events
    assert event.actions.state_delta == {"n": 1}


@pytest.mark.parametrize("moment", range(1, 5))
async def test_a_session_that_expires_while_it_is_read_is_none_or_whole(
    url: str, moment: int
) -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    left: int | None = None

    def clock() -> datetime:
        nonlocal left
        if left is None:
            return begun
        left -= 1
        return begun + timedelta(minutes=59 if left >= 0 else 61)

    async with perdure.open(url, clock=clock) as store:
        ttl = Ttl(enable=True, ttl_seconds=3600)
        service = PerdureSessionService(store, session_config=config(ttl=ttl))
        await began(service, said("hi"))
        left = moment
        found = await service.get_session(**KEY)
        assert found is None or texts(found.events) == ["hi"]
