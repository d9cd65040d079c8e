"""What the SDK's documentation says of a session store beyond its kit, and its own functions."""

from __future__ import annotations

import asyncio
import copy
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="needs claude-agent-sdk: see .ci/adapters")

import claude_agent_sdk as sdk
from claude_agent_sdk import ClaudeAgentOptions, project_key_for_directory
from claude_agent_sdk._internal.session_resume import materialize_resume_session
from claude_agent_sdk._internal.transcript_mirror_batcher import TranscriptMirrorBatcher

import perdure
from perdure.adapters.claude import PerdureSessionStore
from tests.adapters.claude.making import PROJECT, key, line


@asynccontextmanager
async def stored(url: str = "memory:", **options: Any) -> AsyncIterator[PerdureSessionStore]:
    async with PerdureSessionStore(url, **options) as store:
        yield store


def folded(entries: list[Any]) -> Any:
    """What the SDK makes of all entries at once."""
    return sdk.fold_session_summary(None, key(), entries)["data"]


async def summary(store: PerdureSessionStore, session: str = "s") -> Any:
    """What the store has kept of the session."""
    found = {one["session_id"]: one for one in await store.list_session_summaries(PROJECT)}
    return found[session]["data"]


def test_entries_come_back_equal_whatever_they_hold(url: str) -> None:
    entries = [
        line("NUL \0, emoji 🐈, half a pair \ud83d"),
        line(deep={"a": [1, 2**70, -0.0, 1e-9, None, True, {}]}),
        line(nested=json.loads("[" * 300 + "]" * 300)),
        {"type": "tag", "tag": ""},
    ]
    given = copy.deepcopy(entries)

    async def run() -> None:
        async with stored(url) as store:
            await store.append(key(), entries)
            assert await store.load(key()) == given
            await store.append(key(subpath="a"), entries)
            assert await store.load(key(subpath="a")) == given

    asyncio.run(run())
    assert entries == given


def test_a_batch_that_is_sent_again_is_stored_once(url: str) -> None:
    batch = [line("a"), line("b", customTitle="B"), line("c")]

    async def run() -> None:
        async with stored(url) as store:
            for place in (key(), key(subpath="subagents/agent-1")):
                await store.append(place, batch)
                await store.append(place, batch)
                assert await store.load(place) == batch

    asyncio.run(run())


def test_of_a_batch_that_was_stored_in_part_the_rest_is_added(url: str) -> None:
    first, second, third = line("a"), line("b", customTitle="B"), line("c")

    async def run() -> None:
        async with stored(url) as store:
            for place in (key(), key(subpath="subagents/agent-1")):
                await store.append(place, [first, second])
                await store.append(place, [second, third, third])
                assert await store.load(place) == [first, second, third]
            assert await summary(store) == folded([first, second, third])

    asyncio.run(run())


def test_another_store_object_knows_what_is_stored(url: str) -> None:
    async def run() -> None:
        opened = await perdure.open(url)
        one, other = PerdureSessionStore(opened), PerdureSessionStore(opened)
        batches = [[line("a", customTitle="A")], [line("b")], [line("c", customTitle="C")]]
        await one.append(key(), batches[0])
        await other.append(key(), batches[1])
        await one.append(key(), batches[2])
        await other.append(key(), batches[0])
        entries = [entry for batch in batches for entry in batch]
        assert await one.load(key()) == entries
        # An old title that comes again does not come back.
        assert await summary(other) == folded(entries)
        await opened.close()

    asyncio.run(run())


def test_entries_without_a_uuid_are_always_new() -> None:
    title = {"type": "custom-title", "customTitle": "Cats"}

    async def run() -> None:
        async with stored() as store:
            await store.append(key(), [title])
            await store.append(key(), [title])
            assert await store.load(key()) == [title, title]

    asyncio.run(run())


@pytest.mark.parametrize("id", ["", " ", 7, None, "a\0", "x" * 600, "\ud83d"])
def test_what_cannot_be_an_id_makes_an_entry_no_worse(id: Any) -> None:
    entry = {"type": "user", "uuid": id}

    async def run() -> None:
        async with stored() as store:
            await store.append(key(), [entry])
            await store.append(key(), [entry])
            assert await store.load(key()) == [entry, entry]

    asyncio.run(run())


def test_calls_on_one_transcript_are_stored_in_the_order_they_were_made(url: str) -> None:
    batches = [[line(str(number))] for number in range(12)]

    async def run() -> None:
        async with stored(url) as store:
            for place in (key(), key(subpath="a")):
                await asyncio.gather(*(store.append(place, batch) for batch in batches))
                assert await store.load(place) == [batch[0] for batch in batches]

    asyncio.run(run())


def test_a_summary_is_that_of_all_entries_whoever_appends_them(url: str) -> None:
    async def run() -> None:
        opened = await perdure.open(url)
        stores = [PerdureSessionStore(opened) for _ in range(4)]
        await asyncio.gather(
            *(
                store.append(key(), [line(f"{number} {turn}", customTitle=f"{number} {turn}")])
                for number, store in enumerate(stores)
                for turn in range(6)
            )
        )
        entries = await stores[0].load(key())
        assert entries is not None
        assert len(entries) == 24
        assert await summary(stores[1]) == folded(entries)
        await opened.close()

    asyncio.run(run())


def test_the_summary_is_of_the_same_moment_as_the_session(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            for session in ("a", "b"):
                await store.append(key(session), [line()])
            await store.append(key("a", "subagents/agent-1"), [line(customTitle="no")])
            listed = {one["session_id"]: one["mtime"] for one in await store.list_sessions(PROJECT)}
            told = await store.list_session_summaries(PROJECT)
            assert {one["session_id"]: one["mtime"] for one in told} == listed
            now = datetime.now(UTC).timestamp() * 1000
            assert all(now - 60_000 < mtime <= now for mtime in listed.values())

    asyncio.run(run())


def test_a_summary_with_half_a_surrogate_pair_is_kept() -> None:
    async def run() -> None:
        async with stored() as store:
            await store.append(key(), [line(customTitle="cut \ud83d")])
            await store.append(key(), [line("next")])
            assert (await summary(store))["custom_title"] == "cut \ud83d"

    asyncio.run(run())


def test_no_two_keys_are_kept_in_one_place(url: str) -> None:
    keys = [
        key("s"), key("s", "a"), key("s", "a/b"), key("s/a"), key("s/a", "b"), key("s%2Fa"),
        key("s%2Fa", "b"), key("s", "%2Fa"), key("S"), key("s", project=PROJECT + "/s"),
        key("s", "a", project=PROJECT.upper()),
    ]  # fmt: skip

    async def run() -> None:
        async with stored(url) as store:
            assert len({store.session_key(one) for one in keys}) == len(keys)
            for number, one in enumerate(keys):
                await store.append(one, [{"type": "x", "n": number}])
            for number, one in enumerate(keys):
                assert await store.load(one) == [{"type": "x", "n": number}]
            listed = [one["session_id"] for one in await store.list_sessions(PROJECT)]
            assert listed == ["s", "s/a", "s%2Fa", "S"]
            assert await store.list_subkeys(key("s")) == ["a", "a/b", "%2Fa"]

    asyncio.run(run())


def test_an_empty_subpath_is_refused() -> None:
    async def run() -> None:
        async with stored() as store:
            with pytest.raises(perdure.InvalidError, match="subpath"):
                await store.append(key(subpath=""), [line()])

    asyncio.run(run())


def test_a_subagent_may_be_there_before_the_main_transcript(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            await store.append(key(subpath="subagents/agent-1"), [line()])
            assert await store.load(key()) is None
            assert await store.list_sessions(PROJECT) == []
            assert await store.list_session_summaries(PROJECT) == []
            assert await store.list_subkeys(key()) == ["subagents/agent-1"]
            await store.delete(key())
            assert await store.load(key(subpath="subagents/agent-1")) is None

    asyncio.run(run())


def test_what_was_deleted_begins_anew(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            old, new = line(customTitle="old"), line()
            sub = key(subpath="subagents/agent-1")
            for place in (key(), sub):
                await store.append(place, [old])
            await store.delete(key())
            for place in (key(), sub):
                assert await store.load(place) is None
                await store.append(place, [new, old])
                assert await store.load(place) == [new, old]
            assert await summary(store) == folded([new, old])

    asyncio.run(run())


def test_a_delete_by_another_object_is_noticed(url: str) -> None:
    async def run() -> None:
        opened = await perdure.open(url)
        one, other = PerdureSessionStore(opened), PerdureSessionStore(opened)
        await one.append(key(), [line(customTitle="old")])
        await other.delete(key())
        entry = line()
        await one.append(key(), [entry])
        assert await other.load(key()) == [entry]
        assert await summary(one) == folded([entry])
        await opened.close()

    asyncio.run(run())


def test_a_large_batch_is_one_version_of_the_session() -> None:
    async def run() -> None:
        async with stored() as store:
            batch = [line(str(number)) for number in range(3_000)]
            await store.append(key(), batch)
            assert await store.load(key()) == batch
            events = await store.store.events.read(store.session_key(key()))
            assert {event.version for event in events} == {2}

    asyncio.run(run())


def test_more_than_the_store_takes_at_once_is_stored_all_the_same() -> None:
    async def run() -> None:
        async with stored() as store:
            batch = [{"type": "x", "n": number} for number in range(10_001)]
            await store.append(key(), batch)
            assert await store.load(key()) == batch

    asyncio.run(run())


def test_an_entry_that_is_too_large_is_an_error_and_nothing_is_stored() -> None:
    async def run() -> None:
        async with stored() as store:
            with pytest.raises(perdure.TooLargeError):
                await store.append(key(), [line(), line("x" * 17_000_000)])
            assert await store.load(key()) is None

    asyncio.run(run())


def test_a_line_is_an_event_to_everybody_else(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            block = {"type": "tool_use", "id": "c", "name": "Read", "input": {"file": "a"}}
            await store.append(key(), [line("Hi"), line([block], "assistant")])
            events = await store.store.events.read(store.session_key(key()))
            assert [(one.format, one.kind, one.role, one.text) for one in events] == [
                ("claude-code", "message", "user", "Hi"),
                ("claude-code", "tool_call", "assistant", 'Read({"file":"a"})'),
            ]
            assert events[0].timestamp.year == 2026
            chat = await store.store.events.messages(store.session_key(key()))
            assert [one["role"] for one in chat] == ["user", "assistant"]

    asyncio.run(run())


def test_a_session_of_another_framework_is_continued(url: str) -> None:
    async def run() -> None:
        async with stored(url) as store:
            at = store.session_key(key())
            await store.store.sessions.create(*at)
            call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            await store.store.events.append(
                at,
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": "7"},
            )
            first = await store.load(key())
            assert first is not None
            assert [one["message"]["content"] for one in first] == [
                [{"type": "text", "text": "Hi"}],
                [{"type": "tool_use", "id": "c", "name": "f", "input": {}}],
                [{"type": "tool_result", "tool_use_id": "c", "content": "7"}],
            ]
            mine = line("And now?", parentUuid=first[-1]["uuid"])
            await store.append(key(), [mine])
            assert await store.load(key()) == [*first, mine]
            parents = [one["parentUuid"] for one in first]
            assert parents == [None, *(one["uuid"] for one in first[:-1])]
            assert [one["session_id"] for one in await store.list_sessions(PROJECT)] == ["s"]

    asyncio.run(run())


def test_a_conversation_of_pydantic_ai_is_continued() -> None:
    prompt = {"part_kind": "user-prompt", "content": "Hi"}
    call = {"part_kind": "tool-call", "tool_name": "f", "args": '{"n": 1}', "tool_call_id": "k"}
    messages = [
        {"kind": "request", "parts": [prompt]},
        {"kind": "response", "parts": [call]},
    ]

    async def run() -> None:
        async with stored() as store:
            at = store.session_key(key())
            await store.store.sessions.create(*at)
            await store.store.events.append(at, *messages)
            entries = await store.load(key())
            assert entries is not None
            assert [one["message"]["content"] for one in entries] == [
                [{"type": "text", "text": "Hi"}],
                [{"type": "tool_use", "id": "k", "name": "f", "input": {"n": 1}}],
            ]

    asyncio.run(run())


def test_erasing_the_owner_removes_the_transcripts(url: str) -> None:
    async def run() -> None:
        async with stored(url, owner=lambda project: (f"claude/{project}", "ada")) as store:
            await store.append(key(), [line()])
            await store.append(key(subpath="a"), [line()])
            receipt = await store.store.erase_user(f"claude/{PROJECT}", "ada")
            assert receipt.removed["sessions"] == 2
            assert await store.load(key()) is None

    asyncio.run(run())


def test_with_a_ttl_a_transcript_expires() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    async def run() -> None:
        nonlocal now
        opened = await perdure.open("memory:", clock=lambda: now)
        store = PerdureSessionStore(opened, ttl=timedelta(days=30))
        await store.append(key(), [line()])
        await store.append(key(subpath="a"), [line()])
        now += timedelta(days=29)
        assert await store.load(key()) is not None
        now += timedelta(days=2)
        assert await store.load(key()) is None
        assert await store.list_subkeys(key()) == []
        await opened.close()

    asyncio.run(run())


def test_closing_closes_only_what_was_opened_here() -> None:
    async def run() -> None:
        opened = await perdure.open("memory:")
        async with PerdureSessionStore(opened) as store:
            await store.append(key(), [line()])
        assert await store.load(key()) is not None
        await opened.close()
        async with PerdureSessionStore("memory:") as own:
            await own.append(key(), [line()])
        with pytest.raises(perdure.ClosedError):
            await own.load(key())

    asyncio.run(run())


# -- the SDK's own functions ---------------------------------------------------------------------


def session_lines(session: str) -> list[dict[str, Any]]:
    """A turn as Claude Code writes it."""
    asked = line("Where is my parcel?", sessionId=session, cwd="/srv/ada/shop")
    answer = [{"type": "text", "text": "In London."}]
    return [asked, line(answer, "assistant", sessionId=session, parentUuid=asked["uuid"])]


def test_the_sdk_lists_renames_tags_forks_and_deletes(url: str, tmp_path: Path) -> None:
    here = str(tmp_path)
    project = project_key_for_directory(here)
    session = str(uuid.uuid4())
    at = key(session, project=project)

    async def run() -> None:
        async with stored(url) as store:
            await store.append(at, session_lines(session))
            await store.append({**at, "subpath": "subagents/agent-1"}, session_lines(session))
            await sdk.rename_session_via_store(store, session, "Parcels", here)
            await sdk.tag_session_via_store(store, session, "urgent", here)
            [info] = await sdk.list_sessions_from_store(store, here)
            assert (info.session_id, info.summary, info.tag) == (session, "Parcels", "urgent")
            assert info.first_prompt == "Where is my parcel?"
            fork = await sdk.fork_session_via_store(store, session, here)
            said = await sdk.get_session_messages_from_store(store, fork.session_id, here)
            assert [one.type for one in said] == ["user", "assistant"]
            assert await sdk.list_subagents_from_store(store, session, here) == ["1"]
            await sdk.delete_session_via_store(store, session, here)
            left = await sdk.list_sessions_from_store(store, here)
            assert [one.session_id for one in left] == [fork.session_id]

    asyncio.run(run())


def test_the_sdk_resumes_from_the_store(url: str, tmp_path: Path) -> None:
    project = project_key_for_directory(str(tmp_path))
    sessions = [str(uuid.uuid4()) for _ in range(2)]

    async def run() -> None:
        async with stored(url) as store:
            for session in sessions:
                await store.append(key(session, project=project), session_lines(session))
                await asyncio.sleep(0.002)
            sub = key(sessions[1], "subagents/agent-1", project)
            await store.append(sub, session_lines(sessions[1]))
            options = ClaudeAgentOptions(
                session_store=store, cwd=str(tmp_path), continue_conversation=True
            )
            found = await materialize_resume_session(options)
            assert found is not None
            assert found.resume_session_id == sessions[1]
            folder = found.config_dir / "projects" / project
            text = (folder / f"{sessions[1]}.jsonl").read_text()
            assert [json.loads(one) for one in text.splitlines()] == await store.load(
                key(sessions[1], project=project)
            )
            assert (folder / sessions[1] / "subagents" / "agent-1.jsonl").is_file()
            await found.cleanup()

    asyncio.run(run())


def test_what_the_sdk_mirrors_arrives_in_order(url: str, tmp_path: Path) -> None:
    session = str(uuid.uuid4())
    file = tmp_path / PROJECT / f"{session}.jsonl"
    lines = [line(str(number)) for number in range(40)]
    errors: list[Any] = []

    async def failed(key: Any, message: str) -> None:
        errors.append((key, message))

    async def run() -> None:
        async with stored(url) as store:
            mirror = TranscriptMirrorBatcher(
                store, str(tmp_path), failed, max_pending_entries=0, max_pending_bytes=0
            )
            for one in lines:
                mirror.enqueue(str(file), [one])
                await asyncio.sleep(0)
            await mirror.close()
            assert await store.load(key(session)) == lines
            assert errors == []

    asyncio.run(run())


@pytest.mark.parametrize("moment", range(1, 6))
def test_an_append_is_stored_at_whatever_moment_the_transcript_expires(
    url: str, moment: int
) -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    left = None

    def clock() -> datetime:
        nonlocal left
        if left is None:
            return begun
        left -= 1
        return begun + timedelta(minutes=59 if left >= 0 else 61)

    async def run() -> None:
        nonlocal left
        async with perdure.open(url, clock=clock) as store:
            hour = timedelta(hours=1)
            await PerdureSessionStore(store, ttl=hour).append(key(), [line("old")])
            left = moment
            other, new = PerdureSessionStore(store, ttl=hour), line("new")
            await other.append(key(), [new])
            loaded = await other.load(key())
            assert loaded is not None
            assert loaded[-1] == new

    asyncio.run(run())
