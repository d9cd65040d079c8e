"""What trpc-agent-py expects of a session service, on every engine."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("trpc_agent_sdk.sessions", reason="needs trpc-agent-py: see .ci/adapters")

from trpc_agent_sdk.sessions import BaseSessionService, Session
from trpc_agent_sdk.types import Content, Part, Ttl

import perdure
from perdure import SessionKey
from perdure.adapters.trpc import PerdureSessionService
from tests.adapters.trpc.making import config, manager, said, texts

if TYPE_CHECKING:
    from trpc_agent_sdk.events import Event

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.anyio]

KEY: dict[str, Any] = {"app_name": "shop", "user_id": "ada", "session_id": "s"}
WHOSE: dict[str, Any] = {"app_name": "shop", "user_id": "ada"}
Making = Callable[..., PerdureSessionService]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def making(url: str) -> AsyncIterator[Making]:
    """Services of one store."""
    async with perdure.open(url) as store:
        yield lambda **options: PerdureSessionService(store, **options)


@pytest.fixture
def service(making: Making) -> PerdureSessionService:
    return making()


async def began(service: PerdureSessionService, *events: Event, **options: Any) -> Any:
    session = await service.create_session(**KEY, **options)
    for event in events:
        await service.append_event(session, event)
    return session


async def found(service: PerdureSessionService) -> Any:
    session = await service.get_session(**KEY)
    assert session is not None
    return session


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


# -- windows ---------------------------------------------------------------------------------


def turns(count: int) -> list[Event]:
    """So many turns of a user and an agent."""
    return [said(f"{who[0]}{n}", who) for n in range(count) for who in ("user", "agent")]


async def test_recent_events_begin_at_one_of_the_user(making: Making) -> None:
    await began(making(), *turns(4))

    session = await found(making(session_config=config(num_recent_events=3)))

    assert texts(session.events) == ["u3", "a3"]
    assert session.historical_events == []
    assert len((await found(making())).events) == 8


async def test_when_nothing_recent_is_the_users_the_last_of_the_user_stays(making: Making) -> None:
    await began(making(), said("u"), said("a", "agent"), said("b", "agent"))

    assert texts((await found(making(session_config=config(num_recent_events=2)))).events) == ["u"]


@pytest.mark.parametrize("keeps", [True, False])
async def test_more_than_the_most_events_fall_out_of_the_window(
    making: Making, keeps: bool
) -> None:
    service = making(session_config=config(max_events=4, store_historical_events=keeps))

    session = await began(service, *turns(4))

    assert texts(session.events) == ["u2", "a2", "u3", "a3"]
    again = await found(service)
    assert texts(again.events) == texts(session.events)
    fallen = ["u0", "a0", "u1", "a1"] if keeps else []
    assert texts(again.historical_events) == texts(session.historical_events) == fallen
    store = service.store
    assert await store.events.count(SessionKey("shop", "ada", "s")) == 8


async def test_old_events_are_not_seen_and_an_anchor_stays(making: Making) -> None:
    now = time.time()
    service = making(session_config=config(event_ttl_seconds=100))
    old = [said("u", timestamp=now - 500), said("a", "agent", timestamp=now - 400)]
    await began(making(), *old)
    assert texts((await found(service)).events) == ["u"]

    await making().append_event(await found(making()), said("new", timestamp=now))

    assert texts((await found(service)).events) == ["new"]
    assert texts((await found(making())).events) == ["u", "a", "new"]


async def test_an_old_event_that_falls_with_an_append_is_historical(making: Making) -> None:
    now = time.time()
    service = making(session_config=config(event_ttl_seconds=100, store_historical_events=True))
    plain = await began(making(), said("u", timestamp=now - 500))

    await service.append_event(plain, said("a", "agent", timestamp=now))

    again = await found(service)
    assert (texts(again.events), texts(again.historical_events)) == (["u"], ["a"])
    await service.append_event(again, said("v", timestamp=now))
    again = await found(service)
    assert (texts(again.events), texts(again.historical_events)) == (["v"], ["a", "u"])


# -- the whole session -----------------------------------------------------------------------


async def test_a_summary_takes_the_place_of_what_it_was_made_of(making: Making) -> None:
    service = making(summarizer_manager=manager(keep_recent_count=2))
    session = await began(service, *turns(3))
    session.conversation_count = 3

    await service.create_session_summary(session)
    await service.summarizer_manager.create_session_summary(session, force=True)

    head = "Previous conversation summary: s: u0 | a0 | u1 | a1"
    again = await found(service)
    assert texts(again.events) == [head, "u2", "a2"]
    assert texts(again.historical_events) == ["u0", "a0", "u1", "a1"]
    assert again.events[0].is_summary_event()
    assert again.conversation_count == 0
    assert await service.get_session_summary(again) == "s: u0 | a0 | u1 | a1"
    # After a restart nothing is left but what is stored.
    assert await making().get_session_summary(await found(making())) == head


async def test_summary_after_summary_and_events_between_keep_their_order(making: Making) -> None:
    service = making(summarizer_manager=manager(keep_recent_count=2))
    session = await began(service, *turns(2))
    for number in range(3):
        await service.summarizer_manager.create_session_summary(session, force=True)
        await service.append_event(session, said(f"more {number}"))
        await service.append_event(session, said(f"yes {number}", "agent"))
        again = await found(service)
        assert texts(again.events) == texts(session.events)
        assert texts(again.historical_events) == texts(session.historical_events)
        session = again
    assert texts(session.events)[1:] == ["more 1", "yes 1", "more 2", "yes 2"]


async def test_compacting_is_stored_and_a_retry_changes_nothing(
    service: PerdureSessionService,
) -> None:
    events = turns(2)
    session = await began(service, *events)
    for summary in (said("sum", "system"), said("again", "system")):
        session.compact_events(summary, events[1].id, compaction_id="c1")
        await service.update_session(session)
        session = await found(service)

    assert texts(session.events) == ["sum", "u1", "a1"]
    assert texts(session.historical_events) == ["u0", "a0"]
    assert session.events[0].custom_metadata["session_compaction_id"] == "c1"


async def test_an_event_that_was_changed_is_stored_as_it_is_now(
    service: PerdureSessionService,
) -> None:
    session = await began(service, *turns(2))
    session.events[1].content = Content(role="model", parts=[Part.from_text(text="[cut]")])
    session.events[3].set_model_visible(False)

    await service.update_session(session)
    await service.append_event(session, said("more"))

    again = await found(service)
    assert texts(again.events) == ["u0", "[cut]", "u1", "a1", "more"]
    assert [event.id for event in again.events] == [event.id for event in session.events]
    assert [event.is_model_visible() for event in again.events] == [True, True, True, False, True]


async def test_an_update_makes_the_state_what_it_is_in_the_session(
    service: PerdureSessionService,
) -> None:
    session = await began(service, state={"stays": 1, "goes": 1, "user:name": "Ada"})
    session.state = {"stays": 1, "new": [1], "temp:x": 1, "user:name": "Bob"}

    await service.update_session(session)

    assert (await found(service)).state == {"stays": 1, "new": [1], "user:name": "Ada"}


async def test_what_others_append_meanwhile_stays_after_an_update(
    service: PerdureSessionService,
) -> None:
    session = await began(service, *turns(2))
    other = await found(service)
    await service.append_event(other, said("from elsewhere"))

    session.compact_events(said("sum", "system"), session.events[1].id, compaction_id="c")
    await service.update_session(session)

    assert texts((await found(service)).events) == ["sum", "u1", "a1", "from elsewhere"]


async def test_an_update_of_nothing_is_a_warning(making: Making) -> None:
    service = making()
    session = await began(service)
    await service.delete_session(**KEY)

    await service.update_session(session)
    await service.update_session_state(session, {"n": 1})

    assert await service.get_session(**KEY) is None
    with pytest.raises(perdure.NotFoundError):
        await making(strict=True).update_session(session)


async def test_a_delta_of_state_leaves_the_events_alone(service: PerdureSessionService) -> None:
    session = await began(service, *turns(1))
    other = await found(service)
    await service.append_event(other, said("more"))

    await service.update_session_state(session, {"n": 1, "user:m": 2, "temp:t": 3})

    assert session.state["n"] == 1
    again = await found(service)
    assert again.state == {"n": 1, "user:m": 2}
    assert texts(again.events) == ["u0", "a0", "more"]


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
