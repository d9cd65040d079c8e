"""One session for all: read as plain events and as chat, and written by others."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("agents.memory", reason="needs openai-agents: see .ci/adapters")

from agents import Runner
from agents.testing import function_call

from perdure import NewEvent, Opaque
from perdure.adapters.openai_agents import PerdureSession
from perdure.formats import convert
from tests.adapters.openai_agents.making import agent, called, output, said, texts, user
from tests.adapters.openai_agents.test_runner import track

pytestmark = pytest.mark.filterwarnings("default")

FORMATS = [
    "openai.chat", "openai.responses", "anthropic", "adk", "claude-code", "langchain", "pydantic",
    "strands",
]  # fmt: skip
CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "track", "arguments": "{}"}},
    {"id": "c2", "type": "function", "function": {"name": "track", "arguments": '{"a": 1}'}},
]
CHAT = [
    user("Where are they?"),
    {"role": "assistant", "content": "Let me see.", "tool_calls": CALLS},
    {"role": "tool", "tool_call_id": "c1", "content": "London"},
    {"role": "tool", "tool_call_id": "c2", "content": "Paris"},
    {"role": "assistant", "content": "In London and Paris."},
]


async def test_a_run_is_read_as_plain_events_and_as_chat(session: PerdureSession) -> None:
    call = function_call("track", {"order": 7}, call_id="c1")
    helper = agent([call], "It is in London.", tools=[track])
    await Runner.run(helper, "Where is it?", session=session)

    events = await session.store.events.read(session.key)
    assert [(event.kind, event.role, event.text) for event in events] == [
        ("message", "user", "Where is it?"),
        ("tool_call", "assistant", 'track({"order":7})'),
        ("tool_result", "tool", "Order 7 is in London."),
        ("message", "assistant", "It is in London."),
    ]
    assert [event.format for event in events] == ["openai.responses"] * 4
    assert (events[1].calls, events[2].results) == (("c1",), ("c1",))

    chat = await session.store.events.messages(session.key, "openai.chat")
    [asked, calling, answer, told] = chat.items
    assert (asked["content"], told["content"]) == ("Where is it?", "It is in London.")
    assert calling["tool_calls"][0]["function"] == {"name": "track", "arguments": '{"order":7}'}
    assert answer == {
        "role": "tool",
        "tool_call_id": "c1",
        "content": "Order 7 is in London.",
    }


async def test_a_chat_of_others_is_continued(session: PerdureSession) -> None:
    await session.describe(title="from elsewhere")
    await session.store.events.append(session.key, *CHAT)

    items = await session.get_items()
    assert items[0] == user("Where are they?")
    assert [item.get("type", item.get("role")) for item in items] == [
        "user",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "assistant",
    ]
    assert [item["call_id"] for item in items[2:6]] == ["c1", "c2", "c1", "c2"]

    helper = agent("You are welcome.")
    await Runner.run(helper, "Thanks.", session=session)
    assert len(helper.model.calls[0].input) == 8
    assert (await session.get_items())[:7] == items


@pytest.mark.parametrize("limit", range(9))
async def test_a_limit_counts_items_whatever_events_they_are_of(
    session: PerdureSession, limit: int
) -> None:
    await session.describe(title="from elsewhere")
    note = NewEvent(None, state_delta={"step": 1})
    await session.store.events.append(session.key, *CHAT, note, note, note)
    everything = await session.get_items()

    assert await session.get_items(limit) == everything[max(0, 7 - limit) :]


async def test_items_of_others_are_popped_one_by_one(session: PerdureSession) -> None:
    await session.describe(title="from elsewhere")
    note = NewEvent(None, state_delta={"step": 1})
    await session.store.events.append(session.key, *CHAT, note)
    await session.add_items([user("Thanks.")])
    everything = await session.get_items()

    popped = []
    while (item := await session.pop_item()) is not None:
        popped.append(item)
        assert await session.get_items() == everything[: -len(popped)]

    assert popped == everything[::-1]
    assert await session.get_items() == []


async def test_what_stays_of_an_event_of_others_keeps_its_state(session: PerdureSession) -> None:
    await session.describe(title="from elsewhere")
    asked, calls = CHAT[:2]
    events = [asked, NewEvent(calls, state_delta={"step": "called"})]
    await session.store.events.append(session.key, *events)
    everything = await session.get_items()

    assert await session.pop_item() == everything[-1]

    assert await session.get_items() == everything[:-1]
    assert await session.store.state.merged(session.key) == {"step": "called"}


async def test_a_suffix_may_begin_within_an_event_of_others(session: PerdureSession) -> None:
    await session.describe(title="from elsewhere")
    await session.store.events.append(session.key, *CHAT)
    everything = await session.get_items()
    seen = await session._get_compaction_snapshot(5)
    assert seen is not None
    assert (seen.items, seen.complete) == (everything[2:], False)

    assert await seen.replace_suffix(1, [user("summary")]) is True

    assert await session.get_items() == [*everything[:3], user("summary")]


async def test_bytes_of_others_are_no_items_and_stay(session: PerdureSession) -> None:
    await session.add_items([user("one")])
    picture = Opaque("image/png", b"\x89PNG")
    await session.store.events.append(session.key, NewEvent(picture, author="camera"))
    await session.add_items([user("two")])

    assert texts(await session.get_items()) == ["one", "two"]
    assert await session.get_items(limit=2) == [user("one"), user("two")]
    events = await session.store.events.read(session.key)
    assert events[1].content == picture


async def test_turns_and_branches_go_by_messages_of_others_too(session: PerdureSession) -> None:
    await session.describe(title="from elsewhere")
    await session.store.events.append(session.key, *CHAT)
    await session.add_items([user("Thanks."), said("Bye.")])

    turns = await session.get_conversation_turns()
    assert [turn["content"] for turn in turns] == ["Where are they?", "Thanks."]
    await session.create_branch_from_turn(2, "other")
    assert len(await session.get_items()) == 7


async def test_a_window_for_a_model_keeps_calls_with_their_results(
    session: PerdureSession,
) -> None:
    await session.add_items([user("a"), said("b"), user("Where?"), called("c1"), output("c1")])

    window = await session.store.events.window(session.key, 1)

    assert texts([event.content for event in window]) == ["Where?", "track", "London"]


@pytest.mark.parametrize("spoken", FORMATS)
async def test_a_conversation_in_any_format_is_continued(
    session: PerdureSession, spoken: str
) -> None:
    """What others store, in the shape in which they store it."""
    messages, _ = convert([("openai.chat", message, "") for message in CHAT], spoken)
    await session.describe(title="from elsewhere")
    events = [NewEvent(message, format=spoken) for message in messages]
    await session.store.events.append(session.key, *events)

    items = await session.get_items()
    calls = [item for item in items if item.get("type") == "function_call"]
    answers = [item for item in items if item.get("type") == "function_call_output"]
    assert [json.loads(call["arguments"]) for call in calls] == [{}, {"a": 1}]
    assert [call["call_id"] for call in calls] == ["c1", "c2"]
    assert [(one["call_id"], one["output"]) for one in answers] == [
        ("c1", "London"),
        ("c2", "Paris"),
    ]
    assert "In London and Paris." in str(items[-1])

    helper = agent("You are welcome.")
    await Runner.run(helper, "Thanks.", session=session)
    assert len(helper.model.calls[0].input) == len(items) + 1
    assert await session.get_items(len(items) + 2) == await session.get_items()
    assert await session.pop_item() is not None
    assert await session.pop_item() == user("Thanks.")
    assert await session.pop_item() == items[-1]
    assert await session.get_items() == items[:-1]
