"""Several processes index, search and redact the same conversation at the same moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

import perdure
from perdure import NewEvent, SessionKey
from tests.engines.processes import meet, side_by_side
from tests.postgres.servers import drop_database, fetch, fresh_database, server

KEY = SessionKey("app", "user", "chat")
PROCESSES = 4
EVENTS = 12

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    url = f"sqlite:///{tmp_path}/store.db"
    if request.param == "postgres":
        url = fresh_database(server())
    with perdure.open_sync(url) as store:
        store.sessions.create(*KEY)
    yield url
    if request.param == "postgres":
        drop_database(url)


def talk(url: str, name: str) -> list[str]:
    """Say, find, redact, and find no more; what went wrong."""
    wrong = []
    with perdure.open_sync(url) as store:
        meet()
        for number in range(EVENTS):
            word, event_id = f"secret{name}x{number}", f"{name} {number}"
            store.events.append(KEY, NewEvent(f"{word} parcel", id=event_id))
            found = [hit.key for hit in store.search("app", "user", word)]
            if found[:1] != [event_id]:
                wrong.append(f"{event_id} is not found: {found}")
            store.events.redact(KEY, event_id, f"withheld parcel {number}")
            if store.search("app", "user", word):
                wrong.append(f"{event_id} is found when it is redacted")
    return wrong


def rows(url: str, text: str) -> list[tuple[Any, ...]]:
    if url.startswith("sqlite"):
        connection = apsw.Connection(url.removeprefix("sqlite:///"))
        return connection.execute(text).fetchall()
    return [tuple(row) for row in fetch(url, text)]


def test_every_write_is_found_once_and_no_redacted_word_stays(url: str) -> None:
    wrong = side_by_side(talk, [(url, f"p{n}") for n in range(PROCESSES)])

    assert wrong == [[]] * PROCESSES
    with perdure.open_sync(url) as store:
        hits = store.search("app", "user", "parcel", limit=1000)
    assert len({hit.key for hit in hits}) == len(hits) == PROCESSES * EVENTS
    [(documents,)] = rows(url, "SELECT SUM(documents) FROM search_blocks")
    assert documents == PROCESSES * EVENTS
    kept = [words for (words,) in rows(url, "SELECT words FROM search_blocks")]
    assert [words for words in kept if "secret" in words] == []
