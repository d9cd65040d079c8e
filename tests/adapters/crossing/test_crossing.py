"""A session that one framework has written, and another one continues: every pair of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

for name in ("agents", "claude_agent_sdk", "google.adk", "langchain_core", "pydantic_ai"):
    pytest.importorskip(name, reason=f"needs {name}: see .ci/adapters")

import perdure
from tests.adapters.crossing.frameworks import (
    ANSWER,
    FRAMEWORKS,
    KEY,
    LOOKING,
    MORE,
    PLACE,
    QUESTION,
    TALK,
    THANKS,
    WELCOME,
    Framework,
)

PAGE = Path(__file__).parents[3] / "docs" / "crossing.md"
PAIRS = [(first, second) for first in FRAMEWORKS for second in FRAMEWORKS]
#: The same as OpenAI chat: what follows the calls, and who says it.
CHAT = [
    ("user", QUESTION),
    ("assistant", LOOKING),
    ("assistant", [("c1", "track", '{"order":7}')]),
    ("tool", PLACE),
    ("assistant", ANSWER),
    ("user", THANKS),
    ("assistant", WELCOME),
]


async def crossed(first: Framework, second: Framework, url: str) -> list[str]:
    """Written by the first, read and continued by the second, read by both and as chat: losses."""
    async with perdure.open(url) as store:
        await first.write(store)
        assert await second.read(store) == TALK
        await second.go_on(store)
        assert await second.read(store) == TALK + MORE
        assert await first.read(store) == TALK + MORE
        told = await store.events.messages(KEY, "openai.chat")
        assert spoken(told.items) == CHAT
        await first.go_on(store)
        assert await second.read(store) == TALK + MORE + MORE
        return told.loss


def spoken(messages: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """The words and calls of chat messages, one after the other."""
    found: list[tuple[str, Any]] = []
    for message in messages:
        content = message["content"]
        words = content if isinstance(content, str) else "".join(p["text"] for p in content or [])
        if words:
            found.append((message["role"], words))
        if calls := message.get("tool_calls"):
            made = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls]
            found.append((message["role"], made))
    return found


@pytest.mark.parametrize(
    ("first", "second"), PAIRS, ids=[f"{a.name}-{b.name}".replace(" ", "") for a, b in PAIRS]
)
def test_a_session_of_one_is_continued_by_the_other(
    first: Framework, second: Framework, url: str
) -> None:
    assert asyncio.run(crossed(first, second, url)) == []


def test_the_first_table_of_the_page_is_what_happens(tmp_path: Path) -> None:
    rows = [_row("written by", *(one.name for one in FRAMEWORKS), "as chat")]
    for number, first in enumerate(FRAMEWORKS):
        losses = [
            asyncio.run(crossed(first, second, f"sqlite:///{tmp_path}/{number}-{place}.db"))
            for place, second in enumerate(FRAMEWORKS)
        ]
        everything = [line for lost in losses for line in lost]
        cells = ["; ".join(lost) or "equal" for lost in [*losses, everything]]
        rows.append(_row(first.name, *cells))

    assert _table(rows) in PAGE.read_text(encoding="utf-8"), _table(rows)


def test_the_second_table_of_the_page_is_what_is_lost() -> None:
    async def lost(first: Framework) -> list[str]:
        async with perdure.open("memory:") as store:
            await first.write_more(store)
            targets = [*(one.format for one in FRAMEWORKS), "openai.chat"]
            return [_short(await store.events.messages(KEY, target), target) for target in targets]

    rows = [_row("written by", *(one.name for one in FRAMEWORKS), "as chat")]
    rows += [_row(first.name, *asyncio.run(lost(first))) for first in FRAMEWORKS]

    assert _table(rows) in PAGE.read_text(encoding="utf-8"), _table(rows)


def _short(told: perdure.Messages, target: str) -> str:
    lines = [line.partition(": ")[2] for line in told.loss]
    lines = [line.removesuffix(f" has no counterpart in {target}") for line in lines]
    return "; ".join(lines) or "nothing"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _table(rows: list[str]) -> str:
    head, *others = rows
    return "\n".join([head, "| --- " * (head.count("|") - 1) + "|", *others])
