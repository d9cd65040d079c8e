"""What trpc-agent-py shows of a session: windows, summaries, updates; on every engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("trpc_agent_sdk.sessions", reason="needs trpc-agent-py: see .ci/adapters")

from trpc_agent_sdk.types import Content, Part

import perdure
from perdure import SessionKey
from perdure.adapters.trpc import PerdureSessionService
from tests.adapters.trpc.making import KEY, began, config, found, manager, said, texts

if TYPE_CHECKING:
    from trpc_agent_sdk.events import Event

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.anyio]

Making = Callable[..., PerdureSessionService]


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
