"""Notifications shorten the wait of those who follow a session, and nothing depends on them."""

from __future__ import annotations

import asyncio
import threading

import pytest

import perdure
from perdure import SessionKey
from perdure.features import following

KEY = SessionKey("app", "user", "chat")


@pytest.fixture
def url(database: str) -> str:
    return database


@pytest.fixture
def only_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking comes too late for the test: what arrives was heard of."""
    monkeypatch.setattr(following, "_SHORTEST", 60.0)
    monkeypatch.setattr(following, "_LONGEST", 60.0)


async def first_of_a_tail(url: str, write: str) -> str:
    async with perdure.open(url) as reader, perdure.open(url) as writer:
        await writer.sessions.create(*KEY)
        events = reader.events.tail(KEY)
        waiting = asyncio.ensure_future(anext(events))
        # Until it has looked, found nothing, and listens.
        await asyncio.sleep(0.5)
        if write == "append":
            await writer.events.append(KEY, "news")
        else:
            async with writer.turn() as turn:
                turn.events.append(KEY, "news")
        found = await asyncio.wait_for(waiting, 20)
        await events.aclose()  # type: ignore[attr-defined]
        return str(getattr(found, "content", found))


@pytest.mark.usefixtures("only_hints")
@pytest.mark.parametrize("write", ["append", "turn"])
def test_who_waits_hears_of_what_another_store_has_written(url: str, write: str) -> None:
    assert asyncio.run(first_of_a_tail(url, write)) == "news"


@pytest.mark.usefixtures("only_hints")
def test_a_thread_that_waits_hears_of_it_too(url: str) -> None:
    with perdure.open_sync(url) as reader, perdure.open_sync(url) as writer:
        writer.sessions.create(*KEY)
        heard: list[object] = []
        thread = threading.Thread(target=lambda: heard.append(next(iter(reader.events.tail(KEY)))))
        thread.start()
        thread.join(0.5)
        assert not heard

        writer.events.append(KEY, "news")

        thread.join(20)
        assert [getattr(event, "content", None) for event in heard] == ["news"]


def test_without_a_session_of_its_own_it_looks(url: str) -> None:
    async def tail() -> str:
        async with perdure.open(url, prepared_statements=False) as store:
            await store.sessions.create(*KEY)
            events = store.events.tail(KEY)
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.1)
            await store.events.append(KEY, "news")
            found = await asyncio.wait_for(waiting, 20)
            await events.aclose()  # type: ignore[attr-defined]
            return str(getattr(found, "content", found))

    assert asyncio.run(tail()) == "news"
