"""What a stored event tells every reader, whatever format its content is in."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import (
    ConflictError,
    Event,
    EventError,
    InvalidError,
    NewEvent,
    NotFoundError,
    Opaque,
    SessionKey,
    Store,
)
from perdure.testing.databases import NewKey, OpenStore, Reopen

Seen = tuple[str, str, str, str, tuple[str, ...], tuple[str, ...]]


def seen(event: Event) -> Seen:
    """The projection: format, kind, role, text, calls, results."""
    return event.format, event.kind, event.role, event.text, event.calls, event.results


def chat(role: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


def chat_call(call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def block(role: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": [{"type": kind, **fields}]}


CHAT, RESPONSES, CLAUDE = "openai.chat", "openai.responses", "anthropic"
PROJECTIONS: list[tuple[Any, Seen]] = [
    (chat("user", "hi"), (CHAT, "message", "user", "hi", (), ())),
    (chat("system", "be"), (CHAT, "message", "system", "be", (), ())),
    (
        chat("assistant", "so", tool_calls=[chat_call("c1"), chat_call("c2")]),
        (CHAT, "tool_call", "assistant", 'so\nf({"a":1})\nf({"a":1})', ("c1", "c2"), ()),
    ),
    (chat("tool", "42", tool_call_id="c1"), (CHAT, "tool_result", "tool", "42", (), ("c1",))),
    (
        item("message", role="user", content=[{"type": "input_text", "text": "hi"}]),
        (RESPONSES, "message", "user", "hi", (), ()),
    ),
    (
        item("function_call", call_id="c1", name="f", arguments='{"a":1}'),
        (RESPONSES, "tool_call", "assistant", 'f({"a":1})', ("c1",), ()),
    ),
    (
        item("function_call_output", call_id="c1", output="42"),
        (RESPONSES, "tool_result", "tool", "42", (), ("c1",)),
    ),
    (
        item("reasoning", id="r", summary=[{"type": "summary_text", "text": "hm"}]),
        (RESPONSES, "thinking", "assistant", "hm", (), ()),
    ),
    (block("user", "text", text="hi"), (CLAUDE, "message", "user", "hi", (), ())),
    (
        block("assistant", "tool_use", id="c1", name="f", input={"a": 1}),
        (CLAUDE, "tool_call", "assistant", 'f({"a":1})', ("c1",), ()),
    ),
    (
        block("user", "tool_result", tool_use_id="c1", content="42"),
        (CLAUDE, "tool_result", "tool", "42", (), ("c1",)),
    ),
    (
        block("assistant", "thinking", thinking="hm", signature="s"),
        (CLAUDE, "thinking", "assistant", "hm", (), ()),
    ),
    ("hi", ("plain", "message", "user", "hi", (), ())),
    (NewEvent("hi", author="user"), ("plain", "message", "user", "hi", (), ())),
    (NewEvent("hi", author="planner"), ("plain", "message", "assistant", "hi", (), ())),
    (NewEvent("hi", author="system"), ("plain", "message", "system", "hi", (), ())),
    ({"unknown": "shape", "n": 1}, ("other", "other", "", "shape", (), ())),
    (NewEvent(42), ("other", "other", "", "", (), ())),
    (NewEvent({"any": "thing"}, format="mine"), ("mine", "other", "", "thing", (), ())),
    (NewEvent(chat("user", "hi"), format="mine"), ("mine", "other", "", "hi", (), ())),
    (NewEvent(Opaque("pickle", b"\0")), ("other", "other", "", "", (), ())),
    (NewEvent(Opaque("pickle", b"\0"), format="mine"), ("mine", "other", "", "", (), ())),
    (NewEvent(error="boom"), ("other", "error", "", "boom", (), ())),
    (NewEvent(error=EventError("boom", "E1")), ("other", "error", "", "boom", (), ())),
    (NewEvent(chat("user", "hi"), error="boom"), (CHAT, "message", "user", "hi", (), ())),
    (NewEvent(state_delta={"a": 1}), ("other", "state", "", "", (), ())),
    (NewEvent(usage={"tokens": 1}), ("other", "other", "", "", (), ())),
    ("nul \0 in it", ("plain", "message", "user", "nul  in it", (), ())),
]


async def test_an_event_tells_its_kind_role_text_and_calls(
    store: Store, key: SessionKey, reopen: Reopen
) -> None:
    # One by one: what an event tells depends on nothing that came before it.
    done = [(await store.events.append(key, given)).event for given, _ in PROJECTIONS]
    store = await reopen()

    events = await store.events.read(key)
    assert events == done
    for event, (given, projection) in zip(events, PROJECTIONS, strict=True):
        assert seen(event) == projection
        assert event.content == (given.content if isinstance(given, NewEvent) else given)


async def test_an_author_who_is_not_named_is_the_role(store: Store, key: SessionKey) -> None:
    given: list[Any] = [
        chat("assistant", "hi"), chat("tool", "42", tool_call_id="c"), "hi",
        NewEvent(chat("assistant", "hi"), author="planner"), NewEvent(error="boom"),
    ]  # fmt: skip

    done = await store.events.append(key, *given)

    assert [event.author for event in done] == ["assistant", "tool", "user", "planner", ""]


@pytest.mark.parametrize("wrong", ["", " ", "x" * 65, 1])
async def test_a_format_has_a_name_of_at_most_64_bytes(
    store: Store, key: SessionKey, wrong: Any
) -> None:
    with pytest.raises(InvalidError, match="format"):
        await store.events.append(key, NewEvent("hi", format=wrong))


async def test_a_redacted_event_tells_of_its_new_content(store: Store, key: SessionKey) -> None:
    call = chat("assistant", None, tool_calls=[chat_call("c1")])
    await store.events.append(key, NewEvent(call, id="e1"), NewEvent("secret", id="e2"))

    masked = {**call, "tool_calls": [{**chat_call("c1"), "function": {"name": "f"}}]}
    first = await store.events.redact(key, "e1", masked)
    second = await store.events.redact(key, "e2", Opaque("sealed", b"x"))

    assert seen(first) == (CHAT, "tool_call", "assistant", "f()", ("c1",), ())
    assert seen(second)[:2] == ("other", "other")
    assert second.text == ""
    assert await store.events.read(key) == [first, second]


# -- ids -------------------------------------------------------------------------------------


async def test_an_event_id_is_unique_in_its_session_only(
    store: Store, key: SessionKey, new_key: NewKey, open_store: OpenStore
) -> None:
    other_tenant = await open_store(tenant="acme")
    others = [await store.sessions.create("support", user, "chat") for user in ("bob", "")]
    keys = [key, await new_key("other"), *(session.key for session in others)]
    for n, one in enumerate(keys):
        await store.events.append(one, NewEvent(f"{n}", id="same"))

    assert [(await store.events.get(one, "same")).content for one in keys] == ["0", "1", "2", "3"]
    found = await store.events.locate("support", "same")
    assert found is not None
    assert found[1] == await store.events.get(found[0], "same")
    assert await store.events.locate("", "same") is None
    assert await other_tenant.events.locate("support", "same") is None


async def test_ids_that_the_store_makes_are_all_different_and_in_order(
    store: Store, key: SessionKey, new_key: NewKey
) -> None:
    other = await new_key("other")
    for _ in range(20):
        await store.events.append(key, "a", "b")
        await store.events.append(other, "c")

    ids = [event.id for event in await store.events.read(key)]
    assert ids == sorted(ids)
    assert len({*ids, *(event.id for event in await store.events.read(other))}) == 60


@pytest.mark.parametrize("wrong", ["", "  ", "a\0b", "\ud800", 7, "é" * 257])
async def test_an_event_id_is_a_text_of_at_most_512_bytes(
    store: Store, key: SessionKey, wrong: Any
) -> None:
    with pytest.raises(InvalidError, match="event id"):
        await store.events.append(key, NewEvent("hi", id=wrong))
    await store.events.append(key, NewEvent("hi", id="é" * 256))
    assert (await store.events.get(key, "é" * 256)).seq == 1


async def test_one_id_twice_in_a_call_is_refused(store: Store, key: SessionKey) -> None:
    events = [NewEvent("1", id="e"), NewEvent("2"), NewEvent("1", id="e")]

    for how in ("raise", "ignore"):
        with pytest.raises(InvalidError, match="'e'"):
            await store.events.append(key, *events, on_duplicate=how)
    with pytest.raises(InvalidError, match="'e'"):
        await store.events.replace_suffix(key, 0, events)
    with pytest.raises(InvalidError, match="on_duplicate"):
        await store.events.append(key, "3", on_duplicate="replace")
    assert await store.events.count(key) == 0


async def test_all_there_but_not_one_after_the_other_is_a_conflict_unless_ignored(
    store: Store, key: SessionKey
) -> None:
    a, b, c = (NewEvent(name, id=name) for name in "abc")
    await store.events.append(key, a, b, c)

    for batch in ([a, c], [b, a], [c, b, a]):
        with pytest.raises(ConflictError):
            await store.events.append(key, *batch)
        done = await store.events.append(key, *batch, on_duplicate="ignore", expected_version=1)
        assert ([event.id for event in done], done.duplicate) == ([e.id for e in batch], True)
    assert (await store.sessions.get(key)).version == 2


async def test_a_cursor_of_another_list_is_refused(
    store: Store, key: SessionKey, new_key: NewKey
) -> None:
    await new_key("other")
    await store.events.append(key, "1", "2")
    cursor = (await store.sessions.list(limit=1)).next_cursor
    assert cursor

    with pytest.raises(InvalidError, match="cursor"):
        await store.events.list(key, cursor=cursor)
    with pytest.raises(InvalidError, match="cursor"):
        await store.sessions.list(cursor=(await store.events.list(key, limit=1)).next_cursor)


# -- notes -----------------------------------------------------------------------------------


async def test_notes_stay_with_the_session_that_has_them(store: Store, key: SessionKey) -> None:
    await store.events.append(key, NewEvent("1", id="e1"), NewEvent("2", id="e2"))
    await store.events.annotate(key, "score", 1, event_id="e1")
    await store.events.annotate(key, "topic", "tests")
    fork = (await store.sessions.fork(key)).key

    await store.events.rewind(key, 0)
    assert [note.name for note in await store.events.annotations(key)] == ["score", "topic"]
    await store.sessions.delete(key)
    with pytest.raises(NotFoundError):
        await store.events.annotations(key)
    await store.sessions.restore(key)

    assert [note.value for note in await store.events.annotations(key, "e1")] == [1]
    assert list(await store.events.annotations(fork)) == []
