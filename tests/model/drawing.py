"""What the comparison appends: few ids, few contents, so that they meet often."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from perdure import DELETE, NewEvent, SessionKey
from perdure.testing import FixedClock
from tests.model.talk import Shown

A = SessionKey("app", "ann", "s1")
B = SessionKey("app", "ann", "s2")
C = SessionKey("app", "bo", "s1")
START = FixedClock().now


def _call(*ids: str) -> dict[str, Any]:
    function = {"name": "look", "arguments": "{}"}
    calls = [{"id": call_id, "type": "function", "function": function} for call_id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": f"seen {call_id}"}


CONTENTS: list[tuple[Any, Shown]] = [
    ({"role": "user", "content": "hello"}, Shown("message", "user", "hello")),
    ({"role": "user", "content": "and now?"}, Shown("message", "user", "and now?")),
    ({"role": "assistant", "content": "yes"}, Shown("message", "assistant", "yes")),
    (_call("c"), Shown("tool_call", "assistant", "look({})", ("c",))),
    (_call("c", "d"), Shown("tool_call", "assistant", "look({})\nlook({})", ("c", "d"))),
    (_result("c"), Shown("tool_result", "tool", "seen c", (), ("c",))),
    (_result("d"), Shown("tool_result", "tool", "seen d", (), ("d",))),
]


def shown(given: NewEvent) -> Shown:
    """The projection of the contents above, of texts and of events without content."""
    if isinstance(given.content, str):
        # Every author but these is an agent; a text that nobody signed is the user's.
        role = given.author if given.author in {"user", "tool", "assistant"} else "assistant"
        return Shown("message", role if given.author else "user", given.content)
    if given.content is None:
        return Shown("error", "", str(given.error)) if given.error else Shown("state", "")
    return next(seen for content, seen in CONTENTS if content == given.content)


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """The usual value three times out of four."""
    return st.sampled_from([*[usual] * 3 * len(others), *others])


keys = mostly(A, B, C)
NOWHERE = 15
places = st.integers(0, NOWHERE)
"""Which of the things that are there, round and round; or one that is not."""
names = st.sampled_from(["x", "y"])
settable = st.sampled_from([0, 1, None, {"deep": [1]}, "text", DELETE])
deltas = st.dictionaries(
    st.sampled_from(["x", "y", "app:x", "user:x", "temp:x"]), settable, max_size=3
)
contents = st.sampled_from([content for content, _ in CONTENTS] + ["words", "more words"])
offsets = mostly(None, 0, -1)
"""None: blind; else how far the expected version is off."""
messages = st.builds(NewEvent, contents, state_delta=mostly(None, {"x": 1}, {"x": DELETE}))


@st.composite
def events(draw: st.DrawFn) -> NewEvent:
    """An event with any of its fields, and sometimes without content."""
    days = draw(mostly(None, -2, 1))
    event = NewEvent(
        draw(contents),
        id=draw(st.none() | st.sampled_from(["e1", "e2", "e3", "e4"])),
        author=draw(mostly("", "agent")),
        run_id=draw(st.sampled_from(["", "r1", "r2"])),
        branch=draw(mostly("", "main")),
        state_delta=draw(st.none() | deltas),
        timestamp=None if days is None else START + timedelta(days=days),
        partial=draw(mostly(False, True)),
    )
    bare = draw(mostly("", "state", "error"))
    if bare == "state":
        return replace(event, content=None, state_delta={"x": draw(settable)})
    return replace(event, content=None, error="it broke") if bare == "error" else event
