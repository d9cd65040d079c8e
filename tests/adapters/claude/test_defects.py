"""Where the SDK's own store, or one that people copy, is wrong: shown there, and right here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="needs claude-agent-sdk: see .ci/adapters")

from claude_agent_sdk import InMemorySessionStore, fold_session_summary

from perdure.adapters.claude import PerdureSessionStore
from perdure.testing.postgres import empty_schema
from tests.adapters.claude.making import PROJECT, key, line


def theirs() -> Any:
    return InMemorySessionStore()


def ours() -> Any:
    return PerdureSessionStore("memory:")


async def sent_twice(store: Any) -> int:
    """How many entries there are after the retry of a batch."""
    batch = [line(), line()]
    await store.append(key(), batch)
    await store.append(key(), batch)
    return len(await store.load(key()))


def test_a_retry_doubles_their_entries() -> None:
    assert asyncio.run(sent_twice(theirs())) == 4


def test_a_retry_doubles_nothing_here() -> None:
    assert asyncio.run(sent_twice(ours())) == 2


async def old_title_again(store: Any) -> str:
    """The title that is listed after an old batch has come again."""
    old, new = [line(customTitle="old")], [line(customTitle="new")]
    for batch in (old, new, old):
        await store.append(key(), batch)
    [summary] = await store.list_session_summaries(PROJECT)
    return str(summary["data"]["custom_title"])


def test_a_retry_brings_their_old_title_back() -> None:
    assert asyncio.run(old_title_again(theirs())) == "old"


def test_a_retry_leaves_the_title_here() -> None:
    assert asyncio.run(old_title_again(ours())) == "new"


async def mixed_up(store: Any) -> Any:
    """What a key gives to which nothing was written."""
    await store.append(key("c", project="a/b"), [line("of another project")])
    return await store.load(key("b", "c", project="a"))


def test_a_slash_mixes_their_keys_up() -> None:
    assert asyncio.run(mixed_up(theirs())) is not None


def test_a_slash_mixes_no_keys_up_here() -> None:
    assert asyncio.run(mixed_up(ours())) is None


async def listed_with_a_slash(store: Any) -> list[str]:
    """The sessions of a project that has one, its id with a slash."""
    await store.append(key("s/1"), [line()])
    return [one["session_id"] for one in await store.list_sessions(PROJECT)]


def test_a_session_with_a_slash_is_not_in_their_list() -> None:
    assert asyncio.run(listed_with_a_slash(theirs())) == []


def test_a_session_with_a_slash_is_in_the_list_here() -> None:
    assert asyncio.run(listed_with_a_slash(ours())) == ["s/1"]


async def changed_from_outside(store: Any) -> Any:
    """What is stored after the caller has gone on with what it gave and what it got."""
    entry = line("as it was")
    await store.append(key(), [entry])
    entry["message"]["content"] = "changed after the append"
    (await store.load(key()))[0]["type"] = "changed after the load"
    [stored] = await store.load(key())
    return stored["message"]["content"], stored["type"]


def test_their_entries_change_with_the_callers() -> None:
    found = asyncio.run(changed_from_outside(theirs()))

    assert found == ("changed after the append", "changed after the load")


def test_an_entry_here_stays_as_it_was_appended() -> None:
    assert asyncio.run(changed_from_outside(ours())) == ("as it was", "user")


def test_a_jsonb_column_refuses_what_a_tool_may_have_read() -> None:
    asyncpg = pytest.importorskip("asyncpg")

    async def store_nul(address: str) -> None:
        connection = await asyncpg.connect(address.partition("?")[0])
        try:
            await connection.fetchval("SELECT $1::jsonb", '{"text": "a\\u0000b"}')
        finally:
            await connection.close()

    with (
        empty_schema("postgres") as address,
        pytest.raises(asyncpg.PostgresError, match="unsupported Unicode escape"),
    ):
        asyncio.run(store_nul(address))


async def raced(folds: Any) -> Any:
    """The title in the summary after two wrote at once, and that of the entries."""
    before = fold_session_summary(None, key(), [line("Hi")])
    one, other = ([line(customTitle="A")], [line(cwd="/srv/ada")])
    # A store that reads, folds and writes: both read what was there before either wrote.
    written = [folds(before, key(), batch) for batch in (one, other)]
    return written[-1]["data"].get("custom_title")


def test_a_summary_that_is_read_folded_and_written_loses_what_came_between() -> None:
    assert asyncio.run(raced(fold_session_summary)) is None


def test_a_summary_here_loses_nothing_to_a_race(tmp_path: Path) -> None:
    async def run() -> None:
        stores = [PerdureSessionStore(f"sqlite:///{tmp_path}/s.db") for _ in range(2)]
        await stores[0].append(key(), [line("Hi")])
        await asyncio.gather(
            stores[0].append(key(), [line(customTitle="A")]),
            stores[1].append(key(), [line(aiTitle="B")]),
        )
        [told] = await stores[0].list_session_summaries(PROJECT)
        assert (told["data"]["custom_title"], told["data"]["ai_title"]) == ("A", "B")
        for store in stores:
            await store.close()

    asyncio.run(run())
