"""Agents of strands in a store: killed and resumed, several in a session, with other frameworks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("strands", reason="needs strands-agents: see .ci/adapters")

from strands import tool
from strands.agent.conversation_manager import SummarizingConversationManager
from strands.multiagent import GraphBuilder

import perdure
from perdure import NewEvent, SessionKey
from perdure.adapters.strands import PerdureSessionManager
from tests.adapters.strands.making import agent, call, texts
from tests.engines.processes import python, ran

pytestmark = pytest.mark.filterwarnings("default")
ROOT = Path(__file__).parents[3]
KEY = SessionKey("shop", "ada", "s")


@pytest.fixture
def store(url: str) -> Iterator[perdure.SyncStore]:
    with perdure.open_sync(url) as opened:
        yield opened


def managed(store: perdure.SyncStore, id: str = "s") -> PerdureSessionManager:
    return PerdureSessionManager(id, store, app="shop", user="ada")


# -- killed and resumed ----------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from strands import tool
from perdure.adapters.strands import PerdureSessionManager
from tests.adapters.strands.making import agent, call

@tool
def pay(amount: int) -> str:
    "Pays."
    os.kill(os.getpid(), signal.SIGKILL)

manager = PerdureSessionManager("s", sys.argv[1], app="shop", user="ada")
agent(manager, call("pay", amount=40), tools=[pay], state={"step": "paying"})("Pay Bob 40.")
"""
_RESUMED = """
import sys
from perdure.adapters.strands import PerdureSessionManager
from tests.adapters.strands.making import agent, texts

manager = PerdureSessionManager("s", sys.argv[1], app="shop", user="ada")
made = agent(manager, "I was interrupted: it may not have been paid.")
print(made.state.get("step"))
print([list(block)[0] for message in made.messages for block in message["content"]])
made("Well?")
print(texts(made.messages)[-1])
manager.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is of POSIX")
def test_an_agent_that_was_killed_in_a_tool_goes_on_in_another_process(shared_url: str) -> None:
    with python(_KILLED, shared_url) as killed:
        killed.wait(60)
    assert killed.returncode == -9

    state, seen, said = ran(_RESUMED, shared_url)

    assert state == "paying"
    assert seen == "['text', 'toolUse']"
    assert said == "I was interrupted: it may not have been paid."
    with perdure.open_sync(shared_url) as store:
        kinds = [event.kind for event in store.events.read(KEY)]
    assert kinds[:2] == ["message", "tool_call"]
    assert kinds[-1] == "message"


def test_the_state_of_an_agent_goes_back_with_the_session(store: perdure.SyncStore) -> None:
    one = agent(managed(store), "1", "2", state={"n": 0})
    one("one")
    seq = store.sessions.get(KEY).head_seq
    one.state.set("n", 1)
    one("two")

    store.events.rewind(KEY, seq)

    again = agent(managed(store))
    assert texts(again.messages) == ["one", "1"]
    assert again.state.get("n") == 0


def test_a_fork_has_its_own_future(store: perdure.SyncStore) -> None:
    agent(managed(store), "1")("one")
    store.sessions.fork(KEY, id="fork")

    agent(managed(store, "fork"), "2")("two")

    assert texts(agent(managed(store, "fork")).messages) == ["one", "1", "two", "2"]
    assert texts(agent(managed(store)).messages) == ["one", "1"]


def test_a_summary_stays_and_the_messages_behind_it_are_kept(store: perdure.SyncStore) -> None:
    def made(*answers: str) -> Any:
        manager = SummarizingConversationManager(
            summary_ratio=0.5, preserve_recent_messages=2,
            summarization_agent=agent(None, "They counted.", agent_id="summariser"),
        )  # fmt: skip
        return agent(managed(store), *answers, conversation_manager=manager)

    one = made("1", "2", "3")
    for word in ("one", "two", "three"):
        one(word)
    one.conversation_manager.reduce_context(one)
    managed_by = one._session_manager
    managed_by.sync_agent(one)

    assert texts(made().messages) == texts(one.messages)
    assert "They counted." in texts(one.messages)
    assert store.events.count(KEY) == 6


def test_a_graph_goes_on_where_it_was(store: perdure.SyncStore) -> None:
    def graph(manager: Any) -> Any:
        builder = GraphBuilder()
        builder.add_node(agent(None, "from a", agent_id="a", name="a"), "a")
        builder.add_node(agent(None, "from b", agent_id="b", name="b"), "b")
        builder.add_edge("a", "b")
        builder.set_graph_id("g")
        builder.set_session_manager(manager)
        return builder.build()

    done = graph(managed(store))("Go.")

    assert str(done.status.value) == "completed"
    told = managed(store).session_repository.read_multi_agent("s", "g")
    assert told is not None
    assert sorted(told["completed_nodes"]) == ["a", "b"]
    graph(managed(store))


# -- with others -----------------------------------------------------------------------------


def test_what_strands_wrote_reads_as_a_chat(store: perdure.SyncStore) -> None:
    @tool
    def weather(city: str) -> str:
        """Tell the weather."""
        return f"cold in {city}"

    agent(managed(store), call("weather", city="Oslo"), "It is cold.", tools=[weather])("Weather?")

    chat = store.events.messages(KEY, "openai.chat")
    assert [one["role"] for one in chat] == ["user", "assistant", "tool", "assistant"]
    assert chat.items[1]["tool_calls"][0]["function"]["name"] == "weather"
    assert chat.items[2] == {
        "role": "tool", "tool_call_id": "call-weather", "content": "cold in Oslo"
    }  # fmt: skip
    assert [event.author for event in store.events.read(KEY)] == ["user", "a", "tool", "a"]


def test_strands_goes_on_with_what_others_wrote_and_others_with_it(
    store: perdure.SyncStore,
) -> None:
    function = {"name": "track", "arguments": '{"order": 7}'}
    store.sessions.create(*KEY)
    store.events.append(
        KEY,
        {"role": "user", "content": "Where is my parcel?"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": function}
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "London"},
        {"role": "assistant", "content": "It is in London."},
    )  # fmt: skip

    one = agent(managed(store), "Tomorrow.")
    assert [next(iter(block)) for said in one.messages for block in said["content"]] == [
        "text", "toolUse", "toolResult", "text"
    ]  # fmt: skip
    assert one.messages[1]["content"][0]["toolUse"]["input"] == {"order": 7}
    one("When is it here?")
    store.events.append(KEY, NewEvent({"role": "user", "content": "Thank you!"}))

    assert texts(agent(managed(store)).messages)[-3:] == [
        "When is it here?", "Tomorrow.", "Thank you!"
    ]  # fmt: skip
    chat = store.events.messages(KEY, "openai.chat")
    assert [one["content"] for one in chat][-3:] == ["When is it here?", "Tomorrow.", "Thank you!"]


def test_what_others_wrote_can_be_redacted_by_its_number(store: perdure.SyncStore) -> None:
    store.sessions.create(*KEY)
    store.events.append(KEY, {"role": "user", "content": "secret"})
    manager = managed(store)
    one = agent(manager)

    manager.redact_latest_message({"role": "user", "content": [{"text": "[redacted]"}]}, one)

    assert texts(agent(managed(store)).messages) == ["[redacted]"]
    assert store.events.read(KEY)[0].text == "[redacted]"


def test_the_example_begins_and_goes_on_in_another_process(tmp_path: Path) -> None:
    script = (ROOT / "examples" / "strands_session.py").read_text(encoding="utf-8")
    path = str(tmp_path / "agents.db")

    assert ran(script, path) == ["asked: track", "It is in London."]
    assert ran(script, path, "Thank you.") == ["You are welcome. (4 messages before)"]
